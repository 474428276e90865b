"""Changes of state that leave a trace in other rows. Each stands here once, for everybody who makes it."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from . import delays
from .campaign import Campaign, CampaignStatus
from .delivery import DelayCause
from .sender import Sender, SenderStatus


def cancel(session: Session, campaign: Campaign, now: datetime) -> None:
    """Stops a campaign for good. Raises ``Conflict`` where there is nothing to stop."""
    campaign.move(CampaignStatus.cancelled)
    delays.end_pause(session, campaign.id, now)
    campaign.finished_at = now
    campaign.updated_at = now


def fail(session: Session, sender_id: int, error: str, now: datetime) -> None:
    """The server does not let this sender send: nothing leaves through it before somebody has looked."""
    status = session.scalar(select(Sender.status).where(Sender.id == sender_id))
    if status is not SenderStatus.failing:
        delays.note_sender(session, sender_id, DelayCause.failing, now, None)
    session.execute(
        update(Sender)
        .where(Sender.id == sender_id)
        .values(status=SenderStatus.failing, sleeps_until=None, error=error)
    )
