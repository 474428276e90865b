"""Throughput of a campaign."""

from datetime import datetime

from sqlalchemy.orm import Session

from ..models import Campaign
from ..quota.plan_and_sender_usage import minute_of, usage_between
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
    senders = [sender.id for sender in campaign.senders]
    return round(usage_between(session, senders, last - minutes, last) / minutes)
