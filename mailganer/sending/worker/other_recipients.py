"""Facts from the database about a campaign's other recipients, to compare a refusal with."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from ...ledger import Claim, Recipient
from ...models import LARGEST_CAMPAIGN, Batch, BatchState, Delivery, DeliveryStatus, SentPerMinute
from ...quota.plan_and_sender_usage import minute_of
from . import sender_queue
from .refusal_pattern import recipient_domain

JUST_BEFORE = timedelta(hours=1)  # an email accepted this long ago shows that the sender works
NEIGHBOURS = 500  # recipients before a refused one, among whom accepted ones are looked for


class OtherRecipients:
    """Other recipients of a campaign. Each method queries the database, so call it only after a refusal."""

    def __init__(
        self,
        session: Session,
        sender_id: int,
        claim: Claim,
        items: Sequence[Recipient],
        now: datetime,
    ) -> None:
        self._session, self._sender_id, self._now = session, sender_id, now
        self._campaign_id, self._items = claim.campaign_id, items
        self._in_batch = Delivery.id.between(claim.first_id, claim.last_id)

    def others_wait(self) -> bool:
        """Return whether another recipient of the campaign is due, besides those of the window."""
        in_batch = exists().where(
            self._in_batch,
            Delivery.status == DeliveryStatus.pending,
            or_(Delivery.not_before.is_(None), Delivery.not_before <= self._now),
            Delivery.id.not_in([item.id for item in self._items]),
        )
        elsewhere = exists().where(
            Batch.campaign_id == self._campaign_id,
            Batch.state == BatchState.open,
            or_(Batch.not_before.is_(None), Batch.not_before <= self._now),
        )
        return bool(self._session.scalar(select(or_(in_batch, elsewhere))))

    def untried_wait(self) -> bool:
        """Return whether the sender has a due recipient, of any campaign, who was not tried yet."""
        return sender_queue.has_untried_recipients(self._session, self._sender_id, self._now)

    def other_domain_waits(self, domains: Collection[str]) -> bool:
        """Return whether the sender has a due recipient of another domain who was not tried yet."""
        return sender_queue.has_untried_of_other_domain(self._session, self._sender_id, domains, self._now)

    def others_accepted_before(self, delivery_id: int, domain: str) -> bool:
        """Return whether emails to other domains were accepted just before this recipient, and none to it."""
        first = max(delivery_id - NEIGHBOURS, delivery_id // LARGEST_CAMPAIGN * LARGEST_CAMPAIGN)
        addresses = self._session.scalars(
            select(Delivery.email).where(
                Delivery.id.between(first, delivery_id - 1),
                Delivery.status == DeliveryStatus.sent,
                Delivery.sender_id == self._sender_id,
                Delivery.settled_at > self._now - JUST_BEFORE,
            )
        )
        found = {recipient_domain(each) for each in addresses}
        return bool(found) and domain not in found

    def accepted_before(self) -> bool:
        """Return whether an email of the campaign from this sender was ever accepted."""
        return bool(self._session.scalar(select(exists().where(*self._sent_of_campaign()))))

    def accepted_since(self, since: datetime) -> bool:
        """Return whether an email of the campaign from this sender was accepted after ``since``."""
        later = exists().where(*self._sent_of_campaign(), SentPerMinute.minute > minute_of(since))
        in_batch = exists().where(
            self._in_batch,
            Delivery.status == DeliveryStatus.sent,
            Delivery.sender_id == self._sender_id,
            Delivery.settled_at > since,
        )
        return bool(self._session.scalar(select(or_(later, in_batch))))

    def sender_accepted_since(self, since: datetime) -> bool:
        """Return whether any email from this sender was accepted in the minute of ``since`` or later."""
        later = exists().where(
            SentPerMinute.sender_id == self._sender_id, SentPerMinute.minute >= minute_of(since)
        )
        return bool(self._session.scalar(select(later)))

    def sender_emails_since(self, since: datetime) -> int:
        """Return how many emails from this sender were accepted in the minute of ``since`` or later."""
        emails = select(func.sum(SentPerMinute.emails)).where(
            SentPerMinute.sender_id == self._sender_id, SentPerMinute.minute >= minute_of(since)
        )
        return int(self._session.scalar(emails) or 0)

    def _sent_of_campaign(self) -> tuple[ColumnElement[bool], ...]:
        return (
            SentPerMinute.campaign_id == self._campaign_id,
            SentPerMinute.sender_id == self._sender_id,
        )
