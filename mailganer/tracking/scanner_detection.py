"""Scanner detection by speed: a gateway follows an email's links in one burst, long or short after delivery.

A burst is measured from its first hit, as a gateway may hold an email for seconds or scan it again when a
person opens it. The same number of links right after delivery needs no burst.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Event, EventKind

HASTE = timedelta(seconds=2)  # a person needs longer to open an email and follow three of its links
SOON = timedelta(minutes=10)  # gateways and their sandboxes scan in this time after delivery
HASTY_LINKS = 3  # different links in a burst soon after delivery
BURST_LINKS = 4  # and at any later time, when somebody may be opening links in background tabs


@dataclass(frozen=True, slots=True)
class Burst:
    """Clicks too quick for a person. What happened from ``since`` on belongs to them."""

    since: datetime


def burst_at(
    session: Session, delivery_id: int, settled_at: datetime | None, at: datetime, link: int | None = None
) -> Burst | None:
    """Return the burst that a hit at ``at`` belongs to: a click on ``link``, or without one a picture."""
    clicks = [(number, moment) for number, moment in _clicks(session, delivery_id) if moment <= at + HASTE]
    clicks += [] if link is None else [(link, at)]
    if settled_at is None or at - settled_at <= HASTE:
        return _burst(clicks, HASTY_LINKS)
    needed = HASTY_LINKS if at - settled_at <= SOON else BURST_LINKS
    if link is not None:
        return _burst([each for each in clicks if each[1] >= at - HASTE], needed)
    # A picture may be written before, amid or after the clicks it came with: look at each span around it.
    starts = sorted({moment for _number, moment in clicks if abs(moment - at) <= HASTE})
    spans = ([each for each in clicks if start <= each[1] <= start + HASTE] for start in starts)
    return next((burst for span in spans if (burst := _burst(span, needed))), None)


def _burst(clicks: Sequence[tuple[int, datetime]], needed: int) -> Burst | None:
    if len({number for number, _moment in clicks}) < needed:
        return None
    return Burst(min(moment for _number, moment in clicks) - HASTE)


def _clicks(session: Session, delivery_id: int) -> list[tuple[int, datetime]]:
    """Links followed in this email, with their times: few, as only some rows of one email are kept."""
    rows = session.execute(
        select(Event.link, Event.at).where(
            Event.delivery_id == delivery_id, Event.kind == EventKind.click, Event.link.is_not(None)
        )
    )
    return [(number, moment) for number, moment in rows if number is not None]
