"""Consecutive refusals of one sender's recipients, and which of them mean the same.

Stored in the sender's row, because a lane's turn may end before enough recipients were tried.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...backends import Outcome, Receipt, Scope

# How many consecutive recipients must get the same kind of reply until it is not about each of them.
FROM_ACCOUNT = 2  # of replies that seem to be about the account or the server
SAME_WORDS = 3  # of replies with the same wording
OWN_MAILBOX = 10  # of replies that name the recipient's mailbox: an old list may start with dead addresses
EMAIL_ITSELF = 10  # of replies about the email, where the campaign has other recipients
UNKNOWN = 10  # of "no such mailbox": then recipients from anywhere in the lists are tried
UNKNOWN_ANYWHERE = 20  # of "no such mailbox", those included: then a user decides
RATE_LIMITED = 3  # of "too fast" within ``RATE_LIMITED_WITHIN``, even if others are accepted in between
RATE_LIMITED_WITHIN = 300  # seconds

MOST_KEPT = 40  # stored replies and kinds
MOST_DECIDED = 20  # stored campaigns
UNKNOWN_KIND = "unknown"

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
    """Refusals of a sender's recipients since the last accepted email."""

    seen: list[tuple[int, str]] = field(default_factory=list)  # delivery id and kind of reply
    # Subscribers of these deliveries: one who is in several campaigns counts once.
    subscribers: dict[int, int] = field(default_factory=dict)
    # Kinds of replies that were attributed to the sender or the email.
    not_about_recipients: list[str] = field(default_factory=list)
    last_campaign: int | None = None  # the campaign whose recipient was refused last
    # Campaigns whose refused recipients were put before a user.
    decided: list[int] = field(default_factory=list)
    # The deliveries that got a reply attributed to the sender, its server or the email.
    attributed: list[int] = field(default_factory=list)
    alone: bool = False  # when the last of them got it, no other recipient was waiting
    # The rest because of the only one of them was cut short, since another recipient waited.
    woken: bool = False
    # Deliveries attributed before an email was accepted: the same again is about them.
    outvoted: list[int] = field(default_factory=list)
    # Recipients who were refused because of a rate, and when (Unix time). Kept while others are accepted.
    rate_limited: list[tuple[int, int]] = field(default_factory=list)
    doubts: int = 0  # connections in a row that broke with emails in doubt

    @classmethod
    def from_json(cls, stored: Any) -> "RefusalPattern":
        """Read the value of ``Sender.refusals``."""
        stored = stored or {}
        return cls(
            [(int(delivery_id), str(kind)) for delivery_id, kind in stored.get("seen", ())],
            {int(delivery_id): int(who) for delivery_id, who in stored.get("who", ())},
            list(stored.get("held", ())),
            stored.get("last"),
            list(stored.get("asked", ())),
            list(stored.get("attributed", ())),
            bool(stored.get("alone")),
            bool(stored.get("woken")),
            list(stored.get("outvoted", ())),
            [(int(recipient), int(at)) for recipient, at in stored.get("rate", ())],
            int(stored.get("doubts", 0)),
        )

    def as_json(self) -> dict[str, Any] | None:
        """Return the value for ``Sender.refusals``; None when there is nothing to store."""
        kept = self.seen[-MOST_KEPT:]
        values: dict[str, Any] = {
            "seen": [list(each) for each in kept],
            "who": [[each, self.subscribers[each]] for each, _kind in kept if each in self.subscribers],
            "held": self.not_about_recipients[-MOST_KEPT:],
            "last": self.last_campaign,
            "asked": self.decided[-MOST_DECIDED:],
            "attributed": self.attributed[-MOST_KEPT:],
            "alone": self.alone,
            "woken": self.woken,
            "outvoted": self.outvoted[-MOST_KEPT:],
            "rate": [list(each) for each in self.rate_limited[-MOST_KEPT:]],
            "doubts": self.doubts,
        }
        return {name: value for name, value in values.items() if value} or None

    @property
    def is_open(self) -> bool:
        """Whether a recipient was refused, or left in doubt, since the last accepted email."""
        return bool(self.seen or self.not_about_recipients or self.attributed or self.doubts)

    @property
    def needs_sample(self) -> bool:
        """Whether recipients from anywhere are tried one by one, to find out what the refusals are about."""
        return bool(self.not_about_recipients) or self.count(UNKNOWN_KIND) >= UNKNOWN

    @property
    def is_of_one_recipient(self) -> bool:
        """Whether only one recipient, who was all there was, got such a reply: another may be accepted."""
        return self.alone and len(self.attributed) == 1

    def clear(self) -> None:
        """Forget the refusals, because an email was accepted."""
        self.seen, self.not_about_recipients, self.last_campaign = [], [], None
        self.outvoted += [each for each in self.attributed if each not in self.outvoted]
        self.attributed, self.alone, self.woken = [], False, False
        self.doubts = 0

    def add(self, delivery_id: int, kind: str, subscriber: int | None = None) -> int:
        """Add a refusal; return how many different recipients got this kind by now."""
        if subscriber is not None:
            self.subscribers[delivery_id] = subscriber
        if (delivery_id, kind) not in self.seen:
            self.seen.append((delivery_id, kind))
        return self.count(kind)

    def count(self, kind: str) -> int:
        """Return how many different recipients got this kind of reply."""
        ids = [delivery_id for delivery_id, found in self.seen if found == kind]
        return len({self.subscribers.get(each, -each) for each in ids})

    def remove(self, kind: str) -> list[int]:
        """Forget a kind of reply; return the ids of the deliveries that got it."""
        ids = [delivery_id for delivery_id, found in self.seen if found == kind]
        self.seen = [each for each in self.seen if each[1] != kind]
        return ids

    def mark_not_about_recipients(self, kind: str) -> list[int]:
        """Attribute a kind of reply to the sender or the email from now on; return who got it."""
        if kind not in self.not_about_recipients:
            self.not_about_recipients.append(kind)
        ids = self.remove(kind)
        self.attribute(ids, alone=True)
        return ids

    def attribute(self, ids: Iterable[int], *, alone: bool) -> None:
        """Record who got a reply that is attributed to the sender, its server or the email."""
        self.attributed += [each for each in ids if each not in self.attributed]
        self.alone, self.woken = alone, False

    def note_rate_limit(self, recipient: int, at: int) -> int:
        """Add a recipient refused because of a rate; return how many different ones were so lately."""
        recent = [
            (each, then)
            for each, then in self.rate_limited
            if each != recipient and abs(at - then) < RATE_LIMITED_WITHIN
        ]
        self.rate_limited = [*recent, (recipient, at)]
        return len(self.rate_limited)


def refusal_kind(receipt: Receipt, address: str, campaign_id: int) -> str:
    """Return the kind of a reply: equal for replies to different recipients that mean the same."""
    if is_about_email(receipt):
        return f"email {campaign_id}"
    if is_unknown(receipt):
        return UNKNOWN_KIND
    return f"{receipt.outcome} {_common(receipt.reply, address)}"


def refusals_needed(receipt: Receipt, address: str) -> int:
    """Return how many consecutive recipients must get this reply until it is not about each of them."""
    if is_about_email(receipt):
        return SAME_WORDS
    if seems_about_account(receipt):
        return FROM_ACCOUNT
    if is_unknown(receipt):
        return UNKNOWN
    named = address.lower() in receipt.reply.lower()
    return OWN_MAILBOX if named and _MAILBOX.search(receipt.reply) else SAME_WORDS


def may_be_about_account(receipt: Receipt) -> bool:
    """Return whether a refusal may be about the sender or the email, and names no mailbox."""
    return is_about_email(receipt) or bool(_OURS.search(receipt.reply) and not _MAILBOX.search(receipt.reply))


def is_unknown(receipt: Receipt) -> bool:
    """Return whether the reply is "no such mailbox" or "no such host", which is about the address."""
    about_recipient = receipt.outcome is Outcome.refused and receipt.scope is Scope.recipient
    return about_recipient and bool(_NO_MAILBOX.search(receipt.reply)) and not _OURS.search(receipt.reply)


def is_compared(receipt: Receipt) -> bool:
    """Return whether a receipt has to be compared with those of other recipients."""
    if receipt.outcome in (Outcome.accepted, Outcome.in_doubt):
        return False
    if seems_about_account(receipt) and receipt.sure:
        return False
    return not _GREYLISTED.search(receipt.reply)  # greylisting accepts each recipient at a later attempt


def is_rate_limit(receipt: Receipt) -> bool:
    """Return whether a recipient was deferred as if the account sent too fast."""
    if _GREYLISTED.search(receipt.reply):
        return False
    return receipt.outcome is Outcome.deferred and receipt.scope is Scope.account and not receipt.sure


def is_about_email(receipt: Receipt) -> bool:
    """Return whether the email itself, or the domain it is from, was refused."""
    return receipt.outcome is Outcome.refused and receipt.scope in (Scope.message, Scope.domain)


def seems_about_account(receipt: Receipt) -> bool:
    """Return whether the reply is about the account, the server or the connection."""
    return receipt.scope in (Scope.account, Scope.connection)


def _common(reply: str, address: str) -> str:
    """Return the wording of a reply without what differs by recipient: addresses, names, numbers."""
    local, _at, domain = address.lower().rpartition("@")
    text = _ADDRESS.sub("@", reply.lower())
    for part in (local, domain):
        if len(part) > 1:
            text = re.sub(rf"(?<![\w.]){re.escape(part)}(?![\w])", "@", text)
    code, _blank, rest = text.partition(" ")
    status = re.match(r"[45]\.\d+\.\d+\b", rest)
    start = status.group() if status else ""
    return " ".join([code, start, *_NUMBERED.sub("#", rest[len(start) :]).split()])[:120]
