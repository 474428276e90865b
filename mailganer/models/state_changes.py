"""State changes that also write other rows, each in one function for all callers."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from . import delays
from .campaign import Campaign, CampaignStatus
from .delivery import DelayCause
from .sender import Sender, SenderStatus


def cancel_campaign(session: Session, campaign: Campaign, now: datetime) -> None:
    """Cancel a campaign for good. Raise ``Conflict`` where there is nothing to cancel."""
    campaign.move(CampaignStatus.cancelled)
    delays.end_pause(session, campaign.id, now)
    campaign.finished_at = now
    campaign.updated_at = now


def fail(session: Session, sender_id: int, error: str, now: datetime) -> None:
    """Mark a sender failing whose server does not let it send; it stays so until a user acts."""
    status = session.scalar(select(Sender.status).where(Sender.id == sender_id))
    if status is not SenderStatus.failing:
        delays.note_sender(session, sender_id, DelayCause.failing, now, None)
    session.execute(
        update(Sender)
        .where(Sender.id == sender_id)
        .values(status=SenderStatus.failing, sleeps_until=None, error=error)
    )
