"""The pattern in refusals: what recipients of one sender get who are refused one after the other.

Kept in the sender's row, because a lane's turn may be over before the third of them was tried.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from ...backends import Outcome, Receipt, Scope

FROM_ACCOUNT = 2  # recipients in a row that get what sounds like the account or the server
SAME_WORDS = 3  # that get the same words
OWN_MAILBOX = (
    10  # that are told about a mailbox of theirs: an old list may well begin with so many dead addresses
)
EMAIL_ITSELF = 10  # that are refused the email itself, where the campaign has others
UNKNOWN = 10  # without a mailbox, before others from anywhere in the lists are tried
UNKNOWN_ANYWHERE = 20  # without a mailbox, those included: then a person decides
MOST_KEPT = 40
MOST_ASKED = 20
UNKNOWN_KIND = "unknown"

_STOPPING = (Outcome.unauthorised.value, Outcome.exhausted.value)  # the first word of such a kind
_ADDRESS = re.compile(r"[^\s<>,;:\"'()\[\]]+@[^\s<>,;:\"'()\[\]]+")
_NUMBERED = re.compile(r"\S*\d\S*")
_MAILBOX = re.compile(
    r"^\d{3}[ -][45]\.(1\.(1|2|3|6|10)|2\.[12])\b"
    r"|unknown|no such|does ?n.t exist|not found|full\b|over ?quota|quota exceeded",
    re.IGNORECASE,
)
_OURS = re.compile(
    r"\bpolic(y|ies)\b|\bsend(er|ing)\b|\bsend ?as|\bfrom (address|header)|\byour\b|try (again )?later"
    r"|\bspam|reputation|(black|block|deny) ?list",
    re.IGNORECASE,
)
_NO_MAILBOX = re.compile(  # RFC 3463, section 3.2: bad mailbox, host, syntax; RFC 7505: null MX
    r"^\d{3}[ -]5\.1\.(1|2|3|10)\b.*(unknown|no such|not found|(not|n.t) exist|nonexist|invalid|\bbad\b"
    r"|null mx|not accept|no (mailbox|mx)\b)"
    r"|no such (user|recipient|mailbox|address|account|person)|unknown (user|recipient|mailbox|address)"
    r"|(user|recipient|mailbox|address|account)\b.{0,40}(unknown|not found|(not|n.t) exist)"
    r"|invalid (recipient|mailbox)|no mailbox here",
    re.IGNORECASE,
)
_GREYLISTED = re.compile(r"gr[ae]y.?list", re.IGNORECASE)


@dataclass
class RefusalPattern:
    """What a sender's recipients were refused since somebody was accepted."""

    seen: list[tuple[int, str]] = field(default_factory=list)  # delivery and kind of answer
    held: list[str] = field(default_factory=list)  # kinds of answer that were found to be about us
    last: int | None = None  # the campaign whose recipient was refused last
    asked: list[int] = field(default_factory=list)  # campaigns about whose recipients a person has decided

    @classmethod
    def of(cls, kept: Any) -> "RefusalPattern":
        """Read the value of ``Sender.refusals``."""
        kept = kept or {}
        return cls(
            [(int(each), str(kind)) for each, kind in kept.get("seen", ())],
            list(kept.get("held", ())),
            kept.get("last"),
            list(kept.get("asked", ())),
        )

    def kept(self) -> dict[str, Any] | None:
        """Return the value for ``Sender.refusals``."""
        found: dict[str, Any] = {
            "seen": [list(each) for each in self.seen[-MOST_KEPT:]],
            "held": self.held[-MOST_KEPT:],
            "last": self.last,
            "asked": self.asked[-MOST_ASKED:],
        }
        return {name: value for name, value in found.items() if value} or None

    @property
    def is_open(self) -> bool:
        """Whether somebody was refused since a recipient was accepted."""
        return bool(self.seen or self.held)

    @property
    def needs_sample(self) -> bool:
        """Whether recipients from anywhere are tried, one by one, to find out who the refusals are about."""
        return bool(self.held) or self.number(UNKNOWN_KIND) >= UNKNOWN

    def end(self) -> None:
        """Forget the refusals: a recipient was accepted."""
        self.seen, self.held, self.last = [], [], None

    def add(self, delivery_id: int, kind: str) -> int:
        """Note one more refusal; return how many different recipients were refused so by now."""
        if (delivery_id, kind) not in self.seen:
            self.seen.append((delivery_id, kind))
        return self.number(kind)

    def number(self, kind: str) -> int:
        """Return how many different recipients were refused so."""
        return sum(each == kind for _id, each in self.seen)

    def stopping(self) -> int:
        """Return how many different recipients got an answer, in any words, that may stop the sender."""
        return len({each for each, kind in self.seen if kind.split(" ", 1)[0] in _STOPPING})

    def take(self, kind: str) -> list[int]:
        """Forget this kind of answer; return whom it was given to."""
        ids = [each for each, found in self.seen if found == kind]
        self.seen = [each for each in self.seen if each[1] != kind]
        return ids

    def hold(self, kind: str) -> list[int]:
        """Take this kind of answer for one about us from now on; return whom it was given to."""
        if kind not in self.held:
            self.held.append(kind)
        return self.take(kind)


def refusal_kind(receipt: Receipt, address: str, campaign_id: int) -> str:
    """Return what answers to different recipients have in common when they say the same."""
    if is_about_email(receipt):
        return f"email {campaign_id}"
    if is_unknown(receipt):
        return UNKNOWN_KIND
    return f"{receipt.outcome} {_common(receipt.reply, address)}"


def refusals_needed(receipt: Receipt, address: str) -> int:
    """Return how many recipients in a row have to get this answer until it is taken for one about us."""
    if is_about_email(receipt):
        return SAME_WORDS
    if sounds_like_account(receipt):
        return FROM_ACCOUNT
    if is_unknown(receipt):
        return UNKNOWN
    named = address.lower() in receipt.reply.lower()
    return OWN_MAILBOX if named and _MAILBOX.search(receipt.reply) else SAME_WORDS


def may_be_about_account(receipt: Receipt) -> bool:
    """Whether the words of a refusal may be about the sender or the email, and no mailbox is named."""
    return is_about_email(receipt) or bool(_OURS.search(receipt.reply) and not _MAILBOX.search(receipt.reply))


def is_unknown(receipt: Receipt) -> bool:
    """Whether the answer is that there is no such mailbox or host: by definition about the address."""
    about_recipient = receipt.outcome is Outcome.refused and receipt.scope is Scope.recipient
    return about_recipient and bool(_NO_MAILBOX.search(receipt.reply)) and not _OURS.search(receipt.reply)


def is_compared(answer: Receipt) -> bool:
    """Whether an answer is one to be compared with what others get."""
    if answer.outcome in (Outcome.accepted, Outcome.in_doubt) or (
        sounds_like_account(answer) and answer.sure
    ):
        return False
    return not _GREYLISTED.search(answer.reply)  # each recipient has to come again, and is accepted then


def is_about_email(receipt: Receipt) -> bool:
    """Whether the email, or the domain it is from, was refused."""
    return receipt.outcome is Outcome.refused and receipt.scope in (Scope.message, Scope.domain)


def sounds_like_account(receipt: Receipt) -> bool:
    """Whether the words are about the account, the server or the line."""
    return receipt.scope in (Scope.account, Scope.connection)


def _common(reply: str, address: str) -> str:
    """The words of a reply without what differs from recipient to recipient: addresses, names, numbers."""
    local, _at, domain = address.lower().rpartition("@")
    text = _ADDRESS.sub("@", reply.lower())
    for part in (local, domain):
        if len(part) > 1:
            text = re.sub(rf"(?<![\w.]){re.escape(part)}(?![\w])", "@", text)
    code, _blank, rest = text.partition(" ")
    status = re.match(r"[45]\.\d+\.\d+\b", rest)
    start = status.group() if status else ""
    return " ".join([code, start, *_NUMBERED.sub("#", rest[len(start) :]).split()])[:120]
