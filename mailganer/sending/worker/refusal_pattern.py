"""Consecutive refusals of one sender's recipients, and which of them mean the same.

Stored in the sender's row, because a lane's turn may end before enough recipients were tried.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...audience.addresses import AddressError, parse_address
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

# Recipients of one domain are evidence about that domain only, as long as others can be tried.
DOMAINS = 3  # different domains whose recipients get the same kind of reply, until it is about none of them
MOST_DOMAINS = 10  # different domains tried in vain: one more would show nothing else
MORE_OF_A_DOMAIN = 20  # recipients tried in vain beyond what is needed, although other domains wait
OF_A_DOMAIN = 2  # recipients of a domain who got a reply while others were accepted: it is about the domain
DOMAIN_JUDGED_FOR = 3600  # seconds; then such recipients are compared anew
DEFERRED_DOMAIN_JUDGED_FOR = 172_800  # seconds, of replies that defer: until the recipients have expired
BROKEN_WITHIN = 3600  # seconds in which connections that break with emails in doubt are counted
BROKEN_LATELY = 5  # of them in that time: then the sender rests after each, even if others are accepted,
BROKEN_SHARE = 50  # if they are more than one for so many emails

MOST_KEPT = 40  # stored replies and kinds
MOST_DECIDED = 20  # stored campaigns
UNKNOWN_KIND = "unknown"
_EMAIL = "email"

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
class DomainRefusals:
    """Recipients of one domain who got the same kind of reply while those of other domains were accepted."""

    domain: str
    kind: str
    recipients: list[int]  # at most ``OF_A_DOMAIN``
    at: int  # Unix time of the last time that others were accepted

    def is_valid(self, at: int) -> bool:
        """Return whether others were accepted recently."""
        is_final = self.kind.startswith((Outcome.refused, _EMAIL))
        return abs(at - self.at) < (DOMAIN_JUDGED_FOR if is_final else DEFERRED_DOMAIN_JUDGED_FOR)


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
    broken_in_a_row: int = 0  # connections that broke with emails in doubt
    # When connections broke with emails in doubt (Unix time). Kept while others are accepted.
    broken_at: list[int] = field(default_factory=list)
    # The recipient domains of deliveries that were not accepted.
    domains: dict[int, str] = field(default_factory=dict)
    # Recipients of other domains are tried one by one, before refusals of these are attributed.
    tries_other_domains: bool = False
    # Kept while others are accepted.
    of_domains: list[DomainRefusals] = field(default_factory=list)

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
            int(stored.get("broken", 0)),
            [int(at) for at in stored.get("broken_at", ())],
            {int(delivery_id): str(domain) for delivery_id, domain in stored.get("domains", ())},
            bool(stored.get("elsewhere")),
            [DomainRefusals(*each) for each in stored.get("of_domains", ())],
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
            "broken": self.broken_in_a_row,
            "broken_at": self.broken_at[-MOST_KEPT:],
            "domains": [list(each) for each in self.domains.items()][-MOST_KEPT:],
            "elsewhere": self.tries_other_domains,
            "of_domains": [
                [each.domain, each.kind, each.recipients, each.at] for each in self.of_domains[-MOST_KEPT:]
            ],
        }
        return {name: value for name, value in values.items() if value} or None

    @property
    def is_open(self) -> bool:
        """Whether a recipient was refused, or left in doubt, since the last accepted email."""
        return bool(self.seen or self.not_about_recipients or self.attributed or self.broken_in_a_row)

    @property
    def needs_sample(self) -> bool:
        """Whether recipients from anywhere are tried one by one, to find out what the refusals are about."""
        if self.not_about_recipients or self.tries_other_domains:
            return True
        return self.count(UNKNOWN_KIND) >= UNKNOWN

    @property
    def has_memory(self) -> bool:
        """Whether an accepted email changes what is known."""
        return self.is_open or bool(self.of_domains)

    @property
    def is_of_one_recipient(self) -> bool:
        """Whether only one recipient, who was all there was, got such a reply: another may be accepted."""
        return self.alone and len(self.attributed) == 1

    def clear(self, accepted: Collection[str], at: int) -> None:
        """Forget the refusals, because emails to these domains were accepted.

        What recipients of a single other domain got is kept as evidence about that domain.
        """
        self._note_domains(accepted, at)
        self.domains, self.tries_other_domains = {}, False
        self.seen, self.not_about_recipients, self.last_campaign = [], [], None
        self.outvoted += [each for each in self.attributed if each not in self.outvoted]
        self.attributed, self.alone, self.woken = [], False, False
        self.broken_in_a_row = 0

    def _note_domains(self, accepted: Collection[str], at: int) -> None:
        self.of_domains = [
            each for each in self.of_domains if each.domain not in accepted and each.is_valid(at)
        ]
        for kind in {kind for _id, kind in self.seen if kind != UNKNOWN_KIND}:
            domains = self.domains_of(kind)
            if len(domains) == 1 and not domains & set(accepted):
                self.note_domain(domains.pop(), kind, at)

    def note_domain(self, domain: str, kind: str, at: int) -> None:
        """Keep who got this kind of reply as evidence about their domain."""
        found = next((each for each in self.of_domains if (each.domain, each.kind) == (domain, kind)), None)
        if found is None:
            found = DomainRefusals(domain, kind, [], at)
            self.of_domains.append(found)
        found.recipients = sorted({*found.recipients, *self._recipients_of(kind)})[:OF_A_DOMAIN]
        found.at = at

    def is_about_domain(self, domain: str, kind: str, at: int) -> bool:
        """Return whether this kind of reply is known to be about the recipients' domain."""
        return any(
            (each.domain, each.kind) == (domain, kind)
            and len(each.recipients) >= OF_A_DOMAIN
            and each.is_valid(at)
            for each in self.of_domains
        )

    def domains_of(self, kind: str) -> set[str]:
        """Return the domains of the recipients who got this kind of reply."""
        return {self.domains.get(each, "") for each, found in self.seen if found == kind}

    def add(
        self, delivery_id: int, kind: str, subscriber: int | None = None, domain: str | None = None
    ) -> int:
        """Add a refusal; return how many different recipients got this kind by now."""
        if subscriber is not None:
            self.subscribers[delivery_id] = subscriber
        if domain is not None:
            self.domains[delivery_id] = domain
        if (delivery_id, kind) not in self.seen:
            self.seen.append((delivery_id, kind))
        return self.count(kind)

    def count(self, kind: str) -> int:
        """Return how many different recipients got this kind of reply."""
        return len(self._recipients_of(kind))

    def _recipients_of(self, kind: str) -> set[int]:
        ids = [delivery_id for delivery_id, found in self.seen if found == kind]
        return {self.subscribers.get(each, -each) for each in ids}

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

    def note_broken_connection(self, at: int) -> int:
        """Add a connection that broke with emails in doubt; return how many did so lately."""
        self.broken_at = [*(each for each in self.broken_at if abs(at - each) < BROKEN_WITHIN), at]
        return len(self.broken_at)

    def note_rate_limit(self, recipient: int, at: int) -> int:
        """Add a recipient refused because of a rate; return how many different ones were so lately."""
        recent = [
            (each, then)
            for each, then in self.rate_limited
            if each != recipient and abs(at - then) < RATE_LIMITED_WITHIN
        ]
        self.rate_limited = [*recent, (recipient, at)]
        return len(self.rate_limited)


def recipient_domain(address: str) -> str:
    """Return the domain of an address, as in ``Delivery.email_key``: lower case, with A-labels."""
    domain = address.rpartition("@")[2].lower()
    if domain.isascii():
        return domain
    try:
        return parse_address(address).key.rpartition("@")[2]
    except AddressError:
        return domain


def refusal_kind(receipt: Receipt, address: str, campaign_id: int) -> str:
    """Return the kind of a reply: equal for replies to different recipients that mean the same."""
    if is_about_email(receipt):
        return f"{_EMAIL} {campaign_id}"
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
