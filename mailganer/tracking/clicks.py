"""Clicks: links that were followed.

A click by a person means that the email was open, pictures or not. A scanner follows many links in one
burst: what looks like that is a machine's after all, the first clicks of the burst included.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session

from ..models import Delivery, DeliveryStatus, Event, EventKind, Source
from .campaign_counters import counted
from .opens import note, opened
from .resolve_in_doubt import prove_sent
from .scanner_detection import Burst, burst_at
from .sent_emails import SentEmail, find, link_target
from .user_agents import who


def record_click(
    session: Session, token: str, number: int, *, agent: str, now: datetime, fetched_ahead: bool = False
) -> str:
    """Counts a click and answers where it leads. Raises ``NotFound``, and then counts nothing.

    What is ``fetched_ahead`` nobody has clicked on yet.
    """
    target = link_target(session, find(session, token), number)
    found = find(session, token, lock=True)  # now: a template may have had the transaction given back
    prove(session, found.delivery, now)
    if found.campaign.track_clicks:
        with counted(session, found.delivery):
            source = Source.machine if fetched_ahead else who(agent)
            _click(session, found, number, source, agent, now)
    return target


def prove(session: Session, delivery: Delivery, now: datetime) -> None:
    """A doubtful email that somebody has in hand was sent."""
    if delivery.status == DeliveryStatus.in_doubt and prove_sent(session, delivery.id, now):
        session.refresh(delivery, ["status", "reason", "settled_at"])


def _click(
    session: Session, found: SentEmail, number: int, source: Source, agent: str, now: datetime
) -> None:
    delivery = found.delivery
    if source is not Source.machine and (
        burst := burst_at(session, delivery.id, delivery.settled_at, now, number)
    ):
        _by_machine(session, delivery, burst)
        source = Source.machine
    if source is Source.machine:
        delivery.machine_clicks += 1
        _add(session, note(delivery, EventKind.click, source, delivery.machine_clicks, agent, now, number))
        return
    delivery.clicks += 1
    delivery.first_clicked_at = delivery.first_clicked_at or now
    _add(session, note(delivery, EventKind.click, source, delivery.clicks, agent, now, number))
    if found.campaign.track_opens:
        _opened_by_click(session, delivery, number, source, agent, now)


def _opened_by_click(
    session: Session, delivery: Delivery, number: int, source: Source, agent: str, now: datetime
) -> None:
    if delivery.opens == 0:
        _add(session, opened(delivery, source, agent, now, link=number))
    delivery.certain_open = delivery.certain_open or source is Source.person


def _by_machine(session: Session, delivery: Delivery, burst: Burst) -> None:
    """Count what happened in ``burst`` as a machine's; what a person did before it stays theirs."""
    session.flush()
    own = (Event.delivery_id == delivery.id, Event.source != Source.machine)
    within = (*own, Event.at >= burst.since)
    implied = session.execute(
        delete(Event).where(*within, Event.kind == EventKind.open, Event.link.is_not(None))
    )
    taken = {
        kind: session.execute(
            update(Event).where(*within, Event.kind == kind).values(source=Source.machine)
        ).rowcount  # type: ignore[attr-defined]
        for kind in (EventKind.open, EventKind.click)
    }
    delivery.machine_opens += taken[EventKind.open]
    delivery.opens -= taken[EventKind.open] + implied.rowcount  # type: ignore[attr-defined]
    delivery.machine_clicks += taken[EventKind.click]
    delivery.clicks -= taken[EventKind.click]
    _first_times(session, delivery)


def _first_times(session: Session, delivery: Delivery) -> None:
    """Take the first open and click, and whether a person opened, from the events that are left."""
    rows = session.execute(
        select(Event.kind, func.min(Event.at), func.max(case((Event.source == Source.person, 1), else_=0)))
        .where(
            Event.delivery_id == delivery.id,
            Event.source != Source.machine,
            Event.kind.in_([EventKind.open, EventKind.click]),
        )
        .group_by(Event.kind)
    )
    left = {kind: (first, certain) for kind, first, certain in rows}
    delivery.first_clicked_at = left[EventKind.click][0] if EventKind.click in left else None
    delivery.first_opened_at = left[EventKind.open][0] if EventKind.open in left else None
    delivery.certain_open = any(certain for _first, certain in left.values())


def _add(session: Session, notes: Sequence[dict[str, Any]]) -> None:
    session.add_all(Event(**each) for each in notes)
