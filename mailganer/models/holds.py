"""Notes of what held letters back, written where it happens and read by whoever asks "why so late?".

Nothing is decided by them. They are few: one for every rest of a sender or a pause of a campaign.
"""

from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from .delivery import HeldBy, Hold


def note_sender(
    session: Session, sender_id: int, cause: HeldBy, since: datetime, until: datetime | None
) -> None:
    """Nothing leaves through this sender."""
    session.execute(insert(Hold).values(sender_id=sender_id, cause=cause, since=since, until=until))


def prolong_trouble(session: Session, sender_id: int, since: datetime, until: datetime) -> None:
    """A server goes on giving trouble: one time of it, and not a row for every try."""
    newest = select(func.max(Hold.id)).where(Hold.sender_id == sender_id, Hold.cause == HeldBy.trouble)
    known = session.scalar(newest)
    if known is None:
        note_sender(session, sender_id, HeldBy.trouble, since, until)
        return
    session.execute(update(Hold).where(Hold.id == known).values(until=until), execution_options=UNTRACKED)


def note_plan(session: Session, account_id: int, since: datetime, until: datetime) -> None:
    """Nothing leaves under this account's plan. Several lanes may find that out: it is noted once."""
    known = select(Hold.id).where(Hold.account_id == account_id, Hold.until >= until).limit(1)
    if session.scalar(known) is None:
        row = {"account_id": account_id, "cause": HeldBy.plan, "since": since, "until": until}
        session.execute(insert(Hold).values(row))


def note_pause(session: Session, campaign_id: int, cause: HeldBy, now: datetime) -> None:
    """The campaign is paused from now on."""
    session.execute(insert(Hold).values(campaign_id=campaign_id, cause=cause, since=now))


def end_pause(session: Session, campaign_id: int, now: datetime) -> None:
    """The campaign goes on, or never will."""
    session.execute(
        update(Hold).where(Hold.campaign_id == campaign_id, Hold.until.is_(None)).values(until=now),
        execution_options=UNTRACKED,
    )
