"""Notes of what held emails back, written where it happens and read by whoever asks "why so late?".

Nothing is decided by them. They are few: one for every rest of a sender or a pause of a campaign.
"""

from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from .delivery import Delay, DelayCause


def note_sender(
    session: Session, sender_id: int, cause: DelayCause, since: datetime, until: datetime | None
) -> None:
    """Nothing leaves through this sender."""
    session.execute(insert(Delay).values(sender_id=sender_id, cause=cause, since=since, until=until))


def prolong_trouble(session: Session, sender_id: int, since: datetime, until: datetime) -> None:
    """A server goes on giving trouble: one time of it, and not a row for every try."""
    newest = select(func.max(Delay.id)).where(Delay.sender_id == sender_id, Delay.cause == DelayCause.trouble)
    known = session.scalar(newest)
    if known is None:
        note_sender(session, sender_id, DelayCause.trouble, since, until)
        return
    session.execute(update(Delay).where(Delay.id == known).values(until=until), execution_options=UNTRACKED)


def note_plan(session: Session, account_id: int, since: datetime, until: datetime) -> None:
    """Nothing leaves under this account's plan. Several lanes may find that out: it is noted once."""
    known = select(Delay.id).where(Delay.account_id == account_id, Delay.until >= until).limit(1)
    if session.scalar(known) is None:
        row = {"account_id": account_id, "cause": DelayCause.plan, "since": since, "until": until}
        session.execute(insert(Delay).values(row))


def note_pause(session: Session, campaign_id: int, cause: DelayCause, now: datetime) -> None:
    """The campaign is paused from now on."""
    session.execute(insert(Delay).values(campaign_id=campaign_id, cause=cause, since=now))


def end_pause(session: Session, campaign_id: int, now: datetime) -> None:
    """The campaign goes on, or never will."""
    session.execute(
        update(Delay).where(Delay.campaign_id == campaign_id, Delay.until.is_(None)).values(until=now),
        execution_options=UNTRACKED,
    )
