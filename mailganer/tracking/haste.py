"""A scanner is known by its haste: it follows every link within a moment of the letter's arrival."""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Event, EventKind

HASTE = timedelta(seconds=2)  # nobody opens a letter and follows three of its links so soon
HASTY_LINKS = 3


def hasty(session: Session, delivery_id: int, settled_at: datetime | None, now: datetime) -> bool:
    """Whether what comes ``now`` comes with a scanner's clicks, noted already."""
    if settled_at is not None and now - settled_at > HASTE:
        return False
    links = session.scalar(
        select(func.count(Event.link.distinct())).where(
            Event.delivery_id == delivery_id, Event.kind == EventKind.click
        )
    )
    return (links or 0) >= HASTY_LINKS
