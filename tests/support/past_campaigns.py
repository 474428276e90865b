"""Finished campaigns, as an installation has them after a long time."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from mailganer.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Sender,
    SentPerMinute,
    campaign_sender,
    first_delivery_id,
)

RECIPIENTS = 5  # of each campaign, each in its own batch


def add_past_campaigns(session: Session, sender: Sender, number: int, now: datetime) -> None:
    """Add campaigns of a sender, finished or (every tenth) cancelled, with all their rows."""
    rows = [
        {
            "account_id": sender.account_id,
            "status": CampaignStatus.cancelled if each % 10 == 0 else CampaignStatus.finished,
            "html": "<p>Hello</p>" * 500,
            "planned": RECIPIENTS,
            "planned_at": now,
            "frozen_email_id": 1,
            "created_at": now,
            "updated_at": now,
        }
        for each in range(number)
    ]
    ids = session.scalars(insert(Campaign).returning(Campaign.id), rows).all()
    by: dict[str, Any] = {"sender_id": sender.id}
    session.execute(insert(campaign_sender), [{"campaign_id": each, **by} for each in ids])
    places = [(each, first_delivery_id(each) + n) for each in ids for n in range(RECIPIENTS)]
    session.execute(insert(Batch), [_batch(*each) for each in places])
    session.execute(insert(Delivery), [{**_delivery(*each, now), **by} for each in places])
    left = {"minute": int(now.timestamp()) // 60, "letters": RECIPIENTS, **by}
    session.execute(insert(SentPerMinute), [{"campaign_id": each, **left} for each in ids])


def _batch(campaign_id: int, place: int) -> dict[str, Any]:
    number = 1 + place - first_delivery_id(campaign_id)
    ends = {"first_id": place, "last_id": place, "state": BatchState.done, "sent": 1}
    return {"campaign_id": campaign_id, "number": number, **ends}


def _delivery(campaign_id: int, place: int, now: datetime) -> dict[str, Any]:
    address = f"r{place}@example.org"
    return {
        "id": place,
        "campaign_id": campaign_id,
        "email": address,
        "email_key": address,
        "token": place.to_bytes(16, "big"),
        "dated_at": now,
        "settled_at": now,
        "status": DeliveryStatus.sent,
    }
