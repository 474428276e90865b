"""Emails of which nobody knows whether they arrived."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Batch, Campaign, Delivery, DeliveryStatus


def doubtful(session: Session, campaign: Campaign, limit: int = 100) -> list[Delivery]:
    """A campaign's deliveries in doubt, in the order of the ledger."""
    query = (
        select(Delivery)
        # Through the batches, of which few hold any: a campaign has a million other letters.
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
