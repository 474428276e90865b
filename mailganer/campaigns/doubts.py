"""Emails in doubt: it is unknown whether they were delivered."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Batch, Campaign, Delivery, DeliveryStatus


def doubtful(session: Session, campaign: Campaign, limit: int = 100) -> list[Delivery]:
    """Return a campaign's deliveries in doubt, in the order of the ledger."""
    query = (
        select(Delivery)
        # Join through the batches, of which few contain any: a campaign may have a million other emails.
        .join(Batch, Delivery.id.between(Batch.first_id, Batch.last_id))
        .where(
            Batch.campaign_id == campaign.id,
            Batch.in_doubt > 0,
            Delivery.status == DeliveryStatus.in_doubt,
        )
        .order_by(Delivery.id)
        .limit(limit)
    )
    return list(session.scalars(query))
