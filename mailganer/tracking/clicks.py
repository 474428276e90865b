"""Clicks on links in emails.

A click by a human implies an open, whether images were loaded or not. A scanner follows many links in one
burst: all clicks of such a burst are counted as a machine's, those already recorded included.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session

from ..db import changed_rows
from ..ledger.engagement import count_click, reclassify_as_machine, set_certain_open, set_first_times
from ..ledger.resolve_in_doubt import prove_sent
from ..models import Delivery, DeliveryStatus, Event, EventKind, EventSource
from .campaign_counters import counted
from .opens import note, opened
from .scanner_detection import Burst, burst_at
from .sent_emails import SentEmail, find, link_target
from .user_agents import classify


def record_click(
    session: Session,
    token: str,
    number: int,
    *,
    agent: str,
    now: datetime,
    fetched_ahead: bool = False,
    ours: str = "",
) -> str:
    """Record a click and return the link's target. Raise ``NotFound`` and count nothing if there is none.

    ``ours`` is the public address of the installation. A ``fetched_ahead`` request is a prefetch: it counts
    as a machine's.
    """
    target = link_target(session, find(session, token), number, ours)
    found = find(session, token, lock=True)  # only now: rendering a template may have ended the transaction
    mark_as_received(session, found.delivery, now)
    if found.campaign.track_clicks:
        with counted(session, found.delivery):
            source = EventSource.machine if fetched_ahead else classify(agent)
            _click(session, found, number, source, agent, now)
    return target


def mark_as_received(session: Session, delivery: Delivery, now: datetime) -> None:
    """Mark an email in doubt as sent: its recipient has it."""
    if delivery.status == DeliveryStatus.in_doubt and prove_sent(session, delivery.id, now):
        session.refresh(delivery, ["status", "reason", "settled_at"])


def _click(
    session: Session, found: SentEmail, number: int, source: EventSource, agent: str, now: datetime
) -> None:
    delivery = found.delivery
    if source is not EventSource.machine and (
        burst := burst_at(session, delivery.id, delivery.settled_at, now, number)
    ):
        _by_machine(session, delivery, burst)
        source = EventSource.machine
    count = count_click(delivery, now, machine=source is EventSource.machine)
    _add(session, note(delivery, EventKind.click, source, count, agent, now, number))
    if source is not EventSource.machine and found.campaign.track_opens:
        _opened_by_click(session, delivery, number, source, agent, now)


def _opened_by_click(
    session: Session, delivery: Delivery, number: int, source: EventSource, agent: str, now: datetime
) -> None:
    if delivery.opens == 0:
        _add(session, opened(delivery, source, agent, now, link=number))
    if source is EventSource.person:
        set_certain_open(delivery)


def _by_machine(session: Session, delivery: Delivery, burst: Burst) -> None:
    """Count the events of ``burst`` as a machine's; earlier events of a human are kept."""
    session.flush()
    own = (Event.delivery_id == delivery.id, Event.source != EventSource.machine)
    within = (*own, Event.at >= burst.since)
    implied_opens = changed_rows(
        session, delete(Event).where(*within, Event.kind == EventKind.open, Event.link.is_not(None))
    )
    taken = {
        kind: changed_rows(
            session, update(Event).where(*within, Event.kind == kind).values(source=EventSource.machine)
        )
        for kind in (EventKind.open, EventKind.click)
    }
    reclassify_as_machine(
        delivery,
        opens=taken[EventKind.open],
        implied_opens=implied_opens,
        clicks=taken[EventKind.click],
    )
    _first_times(session, delivery)


def _first_times(session: Session, delivery: Delivery) -> None:
    """Recompute the first open, the first click and ``certain_open`` from the remaining events."""
    rows = session.execute(
        select(
            Event.kind, func.min(Event.at), func.max(case((Event.source == EventSource.person, 1), else_=0))
        )
        .where(
            Event.delivery_id == delivery.id,
            Event.source != EventSource.machine,
            Event.kind.in_([EventKind.open, EventKind.click]),
        )
        .group_by(Event.kind)
    )
    left = {kind: (first, certain) for kind, first, certain in rows}
    set_first_times(
        delivery,
        opened_at=left[EventKind.open][0] if EventKind.open in left else None,
        clicked_at=left[EventKind.click][0] if EventKind.click in left else None,
        certain_open=any(certain for _first, certain in left.values()),
    )


def _add(session: Session, notes: Sequence[dict[str, Any]]) -> None:
    session.add_all(Event(**each) for each in notes)
