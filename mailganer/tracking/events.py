"""Event rows: what recipients did with their emails, written many at once."""

import typing
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Table,
    Text,
    bindparam,
    insert,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import Grouping

from ..ledger.array_literals import array_literal, unnest_arrays
from ..models import Event, EventKind, EventSource
from .user_agents import kept

# Event rows stored per delivery; counts are not limited. A page that reloads a pixel must not fill the
# database.
MOST_ROWS = {
    (EventKind.open, False): 15,
    (EventKind.open, True): 5,
    (EventKind.click, False): 25,
    (EventKind.click, True): 25,  # as many as burst detection needs to recognize a scanner
}


class EventDelivery(Protocol):
    """A delivery, or an object with the columns of one that an event repeats."""

    id: Any
    campaign_id: Any
    frozen_email_id: Any


def note(
    email: EventDelivery,
    kind: EventKind,
    source: EventSource,
    count: int,
    agent: str,
    at: datetime,
    link: int | None = None,
) -> list[dict[str, Any]]:
    """Return the event row, or none if there are enough of its kind."""
    if count > MOST_ROWS[kind, source is EventSource.machine]:
        return []
    return [
        {
            "campaign_id": email.campaign_id,
            "delivery_id": email.id,
            "kind": kind,
            "source": source,
            "link": link,
            "frozen_email_id": email.frozen_email_id,
            "at": at,
            "agent": kept(agent),
        }
    ]


def write_events(session: Session, notes: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that :func:`note` returned, in one statement."""
    if not notes:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.execute(EVENTS_BY_ARRAYS, events_as_arrays(notes))
    else:
        connection.execute(insert(_EVENT), list(notes))


def events_as_arrays(notes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of ``EVENTS_BY_ARRAYS``. Each user agent is sent once, with a number."""
    numbers: dict[tuple[EventKind, EventSource, str], int] = {}
    visitors = [
        numbers.setdefault((each["kind"], each["source"], each["agent"]), len(numbers) + 1) for each in notes
    ]
    return {
        **{
            f"e_{name}": array_literal([each[name] for each in notes])
            for name in ("campaign_id", "delivery_id", "frozen_email_id", "at", "link")
        },
        "e_visitor": array_literal(visitors),
        "kinds": [kind.value for kind, _source, _agent in numbers],
        "sources": [source.value for _kind, source, _agent in numbers],
        "agents": [agent for _kind, _source, agent in numbers],
    }


_EVENT = typing.cast(Table, Event.__table__)
_ROWS = unnest_arrays(
    "e",
    campaign_id=BigInteger(),
    delivery_id=BigInteger(),
    frozen_email_id=BigInteger(),
    at=DateTime(timezone=True),
    link=Integer(),
    visitor=Integer(),
)


def _texts(name: str) -> ColumnElement[Any]:
    return Grouping(bindparam(name, type_=ARRAY(Text)))


EVENTS_BY_ARRAYS = insert(_EVENT).from_select(
    ["campaign_id", "delivery_id", "frozen_email_id", "at", "link", "kind", "source", "agent"],
    select(
        _ROWS.c.campaign_id,
        _ROWS.c.delivery_id,
        _ROWS.c.frozen_email_id,
        _ROWS.c.at,
        _ROWS.c.link,
        _texts("kinds")[_ROWS.c.visitor],
        _texts("sources")[_ROWS.c.visitor],
        _texts("agents")[_ROWS.c.visitor],
    ),
)
"""What :func:`write_events` does on PostgreSQL, as a part of a larger statement."""
