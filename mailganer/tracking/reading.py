"""Clicks: links that were followed.

A click by a person means that the letter was open, pictures or not. A scanner follows every link within a
moment of the letter's arrival: what looks like that is a machine's after all, the first clicks included.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from ..models import Delivery, DeliveryStatus, Event, EventKind, Source
from .agents import who
from .haste import hasty
from .letters import Found, find, link_target
from .opens import note, opened
from .proof import prove_sent
from .tally import counted


def record_click(session: Session, token: str, number: int, *, agent: str, now: datetime) -> str:
    """Counts a click and answers where it leads. Raises ``NotFound``, and then counts nothing."""
    found = find(session, token, lock=True)
    target = link_target(session, found, number)
    prove(session, found.delivery, now)
    if found.campaign.track_clicks:
        with counted(session, found.delivery):
            _click(session, found, number, who(agent), agent, now)
    return target


def prove(session: Session, delivery: Delivery, now: datetime) -> None:
    """A doubtful letter that somebody has in hand was sent."""
    if delivery.status == DeliveryStatus.in_doubt and prove_sent(session, delivery.id, now):
        session.refresh(delivery, ["status", "reason", "settled_at"])


def _click(session: Session, found: Found, number: int, source: Source, agent: str, now: datetime) -> None:
    delivery = found.delivery
    if source is Source.machine:
        delivery.machine_clicks += 1
        _add(session, note(delivery, EventKind.click, source, delivery.machine_clicks, agent, now, number))
        return
    delivery.clicks += 1
    delivery.first_clicked_at = delivery.first_clicked_at or now
    _add(session, note(delivery, EventKind.click, source, delivery.clicks, agent, now, number))
    if hasty(session, delivery.id, delivery.settled_at, now):
        _all_by_machine(session, delivery)
    elif found.campaign.track_opens:
        _opened_by_click(session, delivery, number, source, agent, now)


def _opened_by_click(
    session: Session, delivery: Delivery, number: int, source: Source, agent: str, now: datetime
) -> None:
    if delivery.opens == 0:
        _add(session, opened(delivery, source, agent, now, link=number))
    delivery.certain_open = delivery.certain_open or source is Source.person


def _all_by_machine(session: Session, delivery: Delivery) -> None:
    """Everything so far happened within moments, by the same visitor: none of it was a person."""
    session.flush()
    implied = session.execute(
        delete(Event).where(
            Event.delivery_id == delivery.id, Event.kind == EventKind.open, Event.link.is_not(None)
        )
    )
    session.execute(
        update(Event)
        .where(Event.delivery_id == delivery.id, Event.kind.in_([EventKind.open, EventKind.click]))
        .values(source=Source.machine)
    )
    delivery.machine_opens += delivery.opens - implied.rowcount  # type: ignore[attr-defined]
    delivery.machine_clicks += delivery.clicks
    delivery.opens = delivery.clicks = 0
    delivery.certain_open = False
    delivery.first_opened_at = delivery.first_clicked_at = None


def _add(session: Session, notes: Sequence[dict[str, Any]]) -> None:
    session.add_all(Event(**each) for each in notes)
