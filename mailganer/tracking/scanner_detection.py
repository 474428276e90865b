"""Scanner detection by speed: a mail gateway follows an email's links in one burst.

It may do so at any time after delivery. A burst is measured from its first hit, because a gateway may hold an
email for seconds or scan it again when the recipient opens it. Right after delivery, the same number of links
needs no burst.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Text, any_, bindparam, cast, select
from sqlalchemy.orm import Session

from ..ledger.array_literals import array_literal
from ..models import Event, EventKind

HASTE = timedelta(seconds=2)  # a human needs longer to open an email and follow three of its links
SOON = timedelta(minutes=10)  # gateways and their sandboxes scan within this time after delivery
HASTY_LINKS = 3  # different links in a burst soon after delivery
BURST_LINKS = 4  # and at any later time, when a human may be opening links in background tabs


@dataclass(frozen=True, slots=True)
class Burst:
    """Clicks too fast for a human. Events from ``since`` on belong to the burst."""

    since: datetime


Hit = tuple[int, datetime]
"""A click: the number of its link, and when."""


def burst_at(session: Session, delivery_id: int, settled_at: datetime | None, at: datetime) -> Burst | None:
    """Return the burst that an open at ``at`` belongs to."""
    return burst_among(clicks_of(session, [delivery_id]).get(delivery_id, ()), settled_at, at)


def burst_among(
    hits: Iterable[Hit], settled_at: datetime | None, at: datetime, link: int | None = None
) -> Burst | None:
    """Return the burst that a hit at ``at`` belongs to: a click on ``link``, or an open without ``link``.

    ``hits`` are the clicks in the same email before it.
    """
    clicks = [(number, clicked_at) for number, clicked_at in hits if clicked_at <= at + HASTE]
    clicks += [] if link is None else [(link, at)]
    if settled_at is None or at - settled_at <= HASTE:
        return _burst(clicks, HASTY_LINKS)
    needed = HASTY_LINKS if at - settled_at <= SOON else BURST_LINKS
    if link is not None:
        return _burst([each for each in clicks if each[1] >= at - HASTE], needed)
    # An open may be written before, during or after the clicks of its burst: check each span around it.
    starts = sorted({clicked_at for _number, clicked_at in clicks if abs(clicked_at - at) <= HASTE})
    spans = ([each for each in clicks if start <= each[1] <= start + HASTE] for start in starts)
    return next((burst for span in spans if (burst := _burst(span, needed))), None)


def _burst(clicks: Sequence[tuple[int, datetime]], needed: int) -> Burst | None:
    if len({number for number, _moment in clicks}) < needed:
        return None
    return Burst(min(clicked_at for _number, clicked_at in clicks) - HASTE)


def clicks_of(session: Session, delivery_ids: Sequence[int]) -> dict[int, list[Hit]]:
    """Return the clicks in each of these emails: few, because only ``MOST_ROWS`` are stored."""
    found: dict[int, list[Hit]] = {}
    if not delivery_ids:
        return found
    session.flush()
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_CLICKS_BY_ARRAY, {"ids": array_literal(delivery_ids)})
    else:
        rows = connection.execute(_CLICKS_BY_LIST, {"ids": delivery_ids})
    for delivery_id, number, clicked_at in rows.all():
        if number is not None:
            found.setdefault(delivery_id, []).append((number, clicked_at))
    return found


def _clicks(wanted: ColumnElement[bool]) -> Any:
    return select(Event.delivery_id, Event.link, Event.at).where(
        wanted, Event.kind == EventKind.click, Event.link.is_not(None)
    )


_CLICKS_BY_ARRAY = _clicks(Event.delivery_id == any_(cast(bindparam("ids", type_=Text), ARRAY(BigInteger))))
_CLICKS_BY_LIST = _clicks(Event.delivery_id.in_(bindparam("ids", expanding=True)))
