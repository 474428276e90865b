"""A sent campaign as the pipeline leaves it: ledger, batches, the frozen email."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailganer.campaigns.frozen_emails import freeze
from mailganer.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Subscriber,
    first_delivery_id,
    token_text,
)
from mailganer.tracking import Opening, record_opens

BATCH = 4  # small, so that a few emails need several batches


def sent_campaign(
    session: Session,
    campaign: Campaign,
    subscribers: Sequence[Subscriber],
    now: datetime,
    statuses: Sequence[DeliveryStatus] = (),
    **values: Any,
) -> list[Delivery]:
    """Create deliveries of ``campaign``, settled an hour ago; ``sent`` unless ``statuses`` differs."""
    left = now - timedelta(hours=1)
    freeze(session, campaign, left)
    campaign.status, campaign.started_at, campaign.planned_at = CampaignStatus.sending, left, left
    campaign.planned, campaign.message_domain = len(subscribers), "example.com"
    first = first_delivery_id(campaign.id)
    words = [*statuses, *[DeliveryStatus.sent] * (len(subscribers) - len(statuses))]
    deliveries = [
        Delivery(
            **{
                "id": first + number,
                "campaign_id": campaign.id,
                "subscriber_id": subscriber.id,
                "email": subscriber.email,
                "email_key": subscriber.email_key,
                "token": os.urandom(16),
                "status": word,
                "sender_id": campaign.senders[0].id if campaign.senders else None,
                "frozen_email_id": campaign.frozen_email_id,
                "dated_at": left,
                "settled_at": None if word in ("pending", "sending") else left,
            }
            | values
        )
        for number, (subscriber, word) in enumerate(zip(subscribers, words, strict=True))
    ]
    session.add_all(deliveries)
    session.flush()
    for number, start in enumerate(range(0, len(deliveries), BATCH)):
        rows = deliveries[start : start + BATCH]
        batch = Batch(
            campaign_id=campaign.id,
            number=number,
            first_id=rows[0].id,
            last_id=rows[-1].id,
            state=BatchState.done,
            **{word.value: sum(row.status == word for row in rows) for word in DeliveryStatus},
        )
        session.add(batch)
    session.flush()
    return deliveries


def token(delivery: Delivery) -> str:
    return token_text(delivery.token)


def record_open(session: Session, token: str, *, agent: str, now: datetime) -> bool:
    """Count an open at once. Return False if there is no such email."""
    opening = Opening.of(token, agent=agent, at=now)
    return opening is not None and record_opens(session, [opening]) == 1


def batches_are_true(session: Session, campaign_id: int) -> bool:
    """Return whether the counts of every batch match its rows."""
    session.expire_all()
    for batch in session.scalars(select(Batch).where(Batch.campaign_id == campaign_id)):
        counted = {word.value: getattr(batch, word.value) for word in DeliveryStatus}
        rows = session.execute(
            select(Delivery.status, func.count())
            .where(Delivery.id.between(batch.first_id, batch.last_id))
            .group_by(Delivery.status)
        )
        found = {status.value: number for status, number in rows}
        if counted != {word.value: found.get(word.value, 0) for word in DeliveryStatus}:
            return False
    return True
