"""Counts of a campaign's emails by status: sums over its batches, which are updated with their rows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Batch, DeliveryStatus


@dataclass(frozen=True)
class Counts:
    """Deliveries of a campaign by status. ``sent`` excludes bounces (``bounced``)."""

    pending: int = 0
    sending: int = 0
    sent: int = 0
    failed: int = 0
    in_doubt: int = 0
    skipped: int = 0
    bounced: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, status.value) for status in DeliveryStatus)

    @property
    def waiting(self) -> int:
        """Return the number of unsettled deliveries."""
        return self.pending + self.sending

    @property
    def settled(self) -> int:
        return self.total - self.waiting

    def cancelled(self) -> "Counts":
        """Return the counts of a cancelled campaign: who was pending gets no email, noted or not yet."""
        return replace(self, pending=0, skipped=self.skipped + self.pending)


def campaign_counts(session: Session, campaign_ids: Iterable[int]) -> dict[int, Counts]:
    """Return the counts of each of these campaigns; all zero for one that is not planned yet."""
    ids = list(campaign_ids)
    sums = [func.sum(getattr(Batch, status.value)) for status in DeliveryStatus]
    rows = session.execute(
        select(Batch.campaign_id, *sums).where(Batch.campaign_id.in_(ids)).group_by(Batch.campaign_id)
    )
    words = [status.value for status in DeliveryStatus]
    found = {row[0]: Counts(**dict(zip(words, map(int, row[1:]), strict=True))) for row in rows}
    return {campaign_id: found.get(campaign_id, Counts()) for campaign_id in ids}
