"""Record what delayed emails, for the explanations in reports.

Nothing is decided by these rows. They are few: one for each sleep of a sender or pause of a campaign.
"""

from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from .delivery import Delay, DelayCause


def note_sender(
    session: Session, sender_id: int, cause: DelayCause, since: datetime, until: datetime | None
) -> None:
    """Record that nothing is sent through this sender."""
    session.execute(insert(Delay).values(sender_id=sender_id, cause=cause, since=since, until=until))


def prolong_trouble(session: Session, sender_id: int, since: datetime, until: datetime) -> None:
    """Extend the delay while a server keeps failing: one row for all of it, not one per attempt."""
    newest = select(func.max(Delay.id)).where(Delay.sender_id == sender_id, Delay.cause == DelayCause.trouble)
    known = session.scalar(newest)
    if known is None:
        note_sender(session, sender_id, DelayCause.trouble, since, until)
        return
    session.execute(update(Delay).where(Delay.id == known).values(until=until), execution_options=UNTRACKED)


def note_plan(session: Session, account_id: int, since: datetime, until: datetime) -> None:
    """Record that nothing is sent under this account's plan, once, although several lanes may find out."""
    known = select(Delay.id).where(Delay.account_id == account_id, Delay.until >= until).limit(1)
    if session.scalar(known) is None:
        row = {"account_id": account_id, "cause": DelayCause.plan, "since": since, "until": until}
        session.execute(insert(Delay).values(row))


def note_pause(session: Session, campaign_id: int, cause: DelayCause, now: datetime) -> None:
    """Record that the campaign is paused from now on."""
    session.execute(insert(Delay).values(campaign_id=campaign_id, cause=cause, since=now))


def end_pause(session: Session, campaign_id: int, now: datetime) -> None:
    """Record that the campaign continues, or is cancelled."""
    session.execute(
        update(Delay).where(Delay.campaign_id == campaign_id, Delay.until.is_(None)).values(until=now),
        execution_options=UNTRACKED,
    )
