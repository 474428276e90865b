"""Facts from the database about a campaign's other recipients, to compare a refusal with."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from ...ledger import Claim, Recipient
from ...models import Batch, BatchState, Delivery, DeliveryStatus, SentPerMinute
from ...quota.plan_and_sender_usage import minute_of
from . import sender_queue


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

    def _sent_of_campaign(self) -> tuple[ColumnElement[bool], ...]:
        return (
            SentPerMinute.campaign_id == self._campaign_id,
            SentPerMinute.sender_id == self._sender_id,
        )
