"""Opens: fetches of the tracking pixel, counted in batches.

Hundreds of emails are read by one statement, counted here, and written by three. No row becomes an ORM
object: that alone would cost more than everything else together.
"""

import typing
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    insert,
    literal,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import Grouping

from ..ledger.array_literals import array_literal, unnested
from ..ledger.engagement import count_open, write_open_counts
from ..ledger.resolve_in_doubt import hold_batches, prove_sent
from ..models import (
    LARGEST_CAMPAIGN,
    Campaign,
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
    EventSource,
    token_bytes,
)
from ..models.meta import Token
from .campaign_counters import counted_together
from .scanner_detection import HASTY_LINKS, burst_at
from .user_agents import LONGEST_READ, classify, kept

# Event rows stored per delivery; counts are not limited. A page that reloads a pixel must not fill the
# database.
MOST_ROWS = {
    (EventKind.open, False): 15,
    (EventKind.open, True): 5,
    (EventKind.click, False): 25,
    (EventKind.click, True): 25,  # as many as burst detection needs to recognize a scanner
}


@dataclass(frozen=True, slots=True)
class Opening:
    """A fetch of the pixel: token of the email, user agent and time."""

    token: bytes
    agent: str
    at: datetime

    @classmethod
    def of(cls, token: str, *, agent: str, at: datetime) -> "Opening | None":
        """Return the opening, or None if ``token`` is malformed."""
        raw = token_bytes(token)
        return cls(raw, agent[:LONGEST_READ], at) if raw else None


def record_opens(session: Session, openings: Sequence[Opening]) -> int:
    """Count opens in the order they arrived. Return the number of emails they belong to."""
    tokens = {opening.token for opening in openings}
    hold_batches(session, tokens)
    emails = _emails(session, tokens)
    for email in emails.values():
        if email.in_doubt:  # the recipient has the email, so it was sent
            prove_sent(session, email.id, openings[-1].at)
    counting = {token: email for token, email in emails.items() if email.tracked}
    notes: list[dict[str, Any]] = []
    with counted_together(session, counting.values()):
        for opening in openings:
            if own := counting.get(opening.token):
                notes += opened(own, _source(session, own, opening), opening.agent, opening.at)
        _write(session, counting.values(), notes)
    session.expire_all()  # ORM objects of these rows must be reloaded
    return len(emails)


@dataclass(slots=True)
class OpenedEmail:
    """The columns of a delivery that counting an open reads and changes, under their own names."""

    token: bytes
    tracked: bool
    in_doubt: bool
    id: int
    campaign_id: int
    frozen_email_id: int | None
    settled_at: datetime | None
    first_opened_at: datetime | None
    certain_open: bool
    opens: int
    machine_opens: int
    first_clicked_at: datetime | None
    clicks: int
    machine_clicks: int
    unsubscribed_at: datetime | None


def opened(
    email: OpenedEmail | Delivery, source: EventSource, agent: str, at: datetime, link: int | None = None
) -> list[dict[str, Any]]:
    """Count one open of an email. Return the event rows to add: one, or none."""
    machine = source is EventSource.machine
    count = count_open(email, at, machine=machine, certain=source is EventSource.person)
    return note(email, EventKind.open, source, count, agent, at, None if machine else link) if count else []


def note(
    email: OpenedEmail | Delivery,
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


def _source(session: Session, email: OpenedEmail, opening: Opening) -> EventSource:
    """Return what fetched the pixel; a scanner is also known by clicks that another process wrote first."""
    source = classify(opening.agent)
    if source is EventSource.machine or email.machine_clicks < HASTY_LINKS:
        return source
    return EventSource.machine if burst_at(session, email.id, email.settled_at, opening.at) else source


# --- statements: an email in a batch costs a few microseconds, a statement of its own fifty

_EVENT = typing.cast(Table, Event.__table__)


def _emails(session: Session, tokens: set[bytes]) -> dict[bytes, OpenedEmail]:
    """Return emails by token, locked in the order of ids, so that two writers do not deadlock."""
    if _has_arrays(session):
        wanted = array_literal(f'"\\\\x{each.hex()}"' for each in tokens)
        rows = session.execute(_READ_BY_ARRAY, {"tokens": wanted})
    else:
        rows = session.execute(_READ_BY_LIST, {"tokens": list(tokens)})
    return {row[0]: OpenedEmail(*row) for row in rows}


def _write(session: Session, emails: Collection[OpenedEmail], notes: Sequence[dict[str, Any]]) -> None:
    write_open_counts(session, emails)
    if notes and _has_arrays(session):
        session.connection().execute(_NOTE_BY_ARRAYS, _noted(notes))
    elif notes:
        session.connection().execute(insert(_EVENT), notes)


def _has_arrays(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _noted(notes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of the insert. User agents repeat, so each is sent once and numbered."""
    numbers: dict[tuple[EventSource, str], int] = {}
    visitors = [numbers.setdefault((each["source"], each["agent"]), len(numbers) + 1) for each in notes]
    return {
        **{
            f"b_{name}": array_literal([each[name] for each in notes])
            for name in ("delivery_id", "frozen_email_id", "at")
        },
        "b_visitor": array_literal(visitors),
        "sources": [source.value for source, _agent in numbers],
        "agents": [agent for _source, agent in numbers],
    }


def _read(wanted: ColumnElement[bool]) -> Select[Any]:
    first = (Campaign.track_opens, Delivery.status == DeliveryStatus.in_doubt)
    rest = (getattr(Delivery, each.name) for each in fields(OpenedEmail)[3:])
    return (
        select(Delivery.token, *first, *rest)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(wanted)
        .order_by(Delivery.id)
        .with_for_update(of=Delivery)
    )


_READ_BY_ARRAY = _read(Delivery.token == any_(cast(bindparam("tokens", type_=Text), ARRAY(Token))))
_READ_BY_LIST = _read(Delivery.token.in_(bindparam("tokens", expanding=True)))

_NOTES = unnested(
    delivery_id=BigInteger(), frozen_email_id=BigInteger(), at=DateTime(timezone=True), visitor=Integer()
)


def _texts(name: str) -> ColumnElement[Any]:
    return Grouping(bindparam(name, type_=ARRAY(Text)))


_NOTE_BY_ARRAYS = insert(_EVENT).from_select(
    ["campaign_id", "delivery_id", "kind", "frozen_email_id", "at", "source", "agent"],
    select(
        _NOTES.c.delivery_id // LARGEST_CAMPAIGN,
        _NOTES.c.delivery_id,
        literal(EventKind.open.value),
        _NOTES.c.frozen_email_id,
        _NOTES.c.at,
        _texts("sources")[_NOTES.c.visitor],
        _texts("agents")[_NOTES.c.visitor],
    ),
)
