"""A window with refusals: what its comparison changes in its result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...backends import Outcome, Receipt
from ...ledger import DeliveryChange, Recipient
from ...models import DeliveryStatus
from .other_recipients import OtherRecipients
from .receipt_outcomes import WindowResult
from .refusal_pattern import (
    DOMAINS,
    MORE_OF_A_DOMAIN,
    MOST_DOMAINS,
    RefusalPattern,
    is_about_email,
    recipient_domain,
    refusal_kind,
    seems_about_account,
)
from .window_queue import Answer

BEHIND = timedelta(seconds=20)
"""How long a recipient whose reply was not about them lets the others go first. Longer than a sender's first
rest."""
RECENTLY = timedelta(days=1)
"""An email accepted this long before a recipient was first tried, or later, shows that the sender works."""


@dataclass(frozen=True)
class RefusedWindow:
    """The recipients and replies of one window, and everything they are compared with."""

    items: Sequence[Recipient]
    answers: Sequence[Answer | None]
    result: WindowResult
    pattern: RefusalPattern
    others: OtherRecipients
    campaign_id: int
    now: datetime

    def kind(self, slot: int, receipt: Receipt) -> str:
        """Return the kind of a reply to the recipient in ``slot``."""
        return refusal_kind(receipt, self.items[slot].address, self.campaign_id)

    def domain(self, slot: int) -> str:
        """Return the domain of the recipient in ``slot``."""
        return recipient_domain(self.items[slot].address)

    def timestamp(self) -> int:
        """Return the Unix time of the window's replies."""
        return int(self.now.timestamp())

    def add(self, slot: int, receipt: Receipt) -> int:
        """Add a refusal to the pattern; return how many different recipients got this kind by now."""
        item = self.items[slot]
        return self.pattern.add(item.id, self.kind(slot, receipt), item.subscriber_id, self.domain(slot))

    def is_about_domain(self, slot: int, receipt: Receipt) -> bool:
        """Return whether others are accepted while the recipients of this domain get this reply."""
        return self.pattern.is_about_domain(self.domain(slot), self.kind(slot, receipt), self.timestamp())

    def needs_other_domains(self, kind: str, needed: int) -> bool:
        """Return whether recipients of other domains have to be tried before this kind is attributed.

        ``needed`` is how many recipients decide: that many different domains do as well.
        """
        if len(self.pattern.domains_of(kind)) >= min(needed, DOMAINS):
            return False
        tried = set(self.pattern.domains.values())
        if len(tried) >= MOST_DOMAINS or self.pattern.count(kind) >= needed + MORE_OF_A_DOMAIN:
            return False
        return self.others.other_domain_waits(tried)

    def others_were_accepted_before(self, kind: str) -> str | None:
        """Return the only domain that got this kind, if others were accepted just before; else None."""
        domains = self.pattern.domains_of(kind)
        if len(domains) != 1:
            return None
        first = min(delivery_id for delivery_id, found in self.pattern.seen if found == kind)
        domain = domains.pop()
        return domain if self.others.others_accepted_before(first, domain) else None

    def has_comparison(self) -> bool:
        """Return whether others of the campaign were accepted or remain for comparison."""
        if None in self.answers or self.others.accepted_before():
            return True
        return self.others.untried_wait()

    def is_last(self) -> bool:
        """Return whether the sender has no other recipient to try now."""
        return None not in self.answers and not self.others.untried_wait()

    def attribute(self, kind: str, receipt: Receipt) -> None:
        """Attribute this kind of reply to the sender or the email: no recipient fails, and sending stops."""
        not_before = None if is_about_email(receipt) else self.now + BEHIND
        if is_about_email(receipt):
            self.result.only_domain = self._only_domain()
        self.give_back(self.pattern.mark_not_about_recipients(kind), not_before)
        self._stop(receipt)

    def _only_domain(self) -> str | None:
        """Return the domain of all refused recipients, if no recipient of another domain waits."""
        domains = set(self.pattern.domains.values())
        if len(domains) != 1 or self.others.other_domain_waits(domains):
            return None
        return domains.pop()

    def give_back(self, ids: Iterable[int], not_before: datetime | None) -> None:
        """Make recipients pending again who failed by such a reply, in this window or an earlier one."""
        slots = {item.id: slot for slot, item in enumerate(self.items)}
        for delivery_id in ids:
            slot = slots.get(delivery_id)
            if slot is None:
                self.result.give_back.append(delivery_id)
            else:
                self.keep_pending(slot, not_before)
        self.result.not_before = not_before

    def keep_pending(self, slot: int, not_before: datetime | None = None) -> None:
        """Make a recipient of this window pending again."""
        item, reply = self.items[slot], self.result.changes[slot].reply
        self.result.changes[slot] = DeliveryChange(
            item.id, DeliveryStatus.pending, None, reply, False, not_before
        )
        self.result.returned.append(item.id)
        if item.subscriber_id:
            self.result.dead.pop(item.subscriber_id, None)

    def put_behind(self, slot: int) -> None:
        """Let the other recipients go first, before this one is tried again."""
        self.result.changes[slot] = self.result.changes[slot]._replace(not_before=self.now + BEHIND)

    def _stop(self, receipt: Receipt) -> None:
        if receipt.outcome is Outcome.unauthorised:
            self.result.unauthorised = receipt
        elif receipt.outcome is Outcome.exhausted:
            self.result.exhausted = receipt
        elif seems_about_account(receipt):
            self.result.trouble = receipt
        elif is_about_email(receipt):
            self.result.refused_email = receipt
        else:
            self.result.refused_in_a_row = receipt
