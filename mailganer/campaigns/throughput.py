"""Throughput of a campaign."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Campaign, Usage
from ..quota.usage import minute_of
from .counts import Counts

LOOKED_BACK = 3  # minutes: long enough to be steady, short enough to be current


def emails_a_minute(session: Session, campaign: Campaign, counts: Counts, now: datetime) -> int:
    """Return its senders' emails per minute; in the first minute, the average so far."""
    done = counts.settled
    running = (now - campaign.started_at).total_seconds() if campaign.started_at else 0.0
    if running <= 0 or not done:
        return 0
    if running < 60:
        return round(done * 60 / max(running, 1))
    last = minute_of(now)
    minutes = min(LOOKED_BACK, int(running // 60))
    emails = session.scalar(
        select(func.coalesce(func.sum(Usage.emails), 0)).where(
            Usage.sender_id.in_([sender.id for sender in campaign.senders]),
            Usage.minute >= last - minutes,
            Usage.minute < last,
        )
    )
    return round((emails or 0) / minutes)
