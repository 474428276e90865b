"""Opens: fetches of the tracking pixel, counted in batches.

Hundreds of emails are read by one statement, counted here, and written by three. No row becomes an ORM
object: that alone would cost more than everything else together.
"""

import typing
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Table,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import TypeEngine

from ..models import (
    LARGEST_CAMPAIGN,
    Campaign,
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
    Source,
    token_bytes,
)
from ..models.meta import Token
from .campaign_counters import counted_together
from .resolve_in_doubt import hold_batches, prove_sent
from .scanner_detection import HASTY_LINKS, burst_at
from .user_agents import LONGEST_READ, kept, who

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
    email: OpenedEmail | Delivery, source: Source, agent: str, at: datetime, link: int | None = None
) -> list[dict[str, Any]]:
    """Count one open of an email. Return the event rows to add: one, or none."""
    if source is Source.machine:
        email.machine_opens += 1
        return note(email, EventKind.open, source, email.machine_opens, agent, at)
    email.certain_open = email.certain_open or source is Source.person
    if _implied_before(email, at):
        email.first_opened_at = at
        return []
    email.opens += 1
    email.first_opened_at = email.first_opened_at or at
    return note(email, EventKind.open, source, email.opens, agent, at, link)


def note(
    email: OpenedEmail | Delivery,
    kind: EventKind,
    source: Source,
    count: int,
    agent: str,
    at: datetime,
    link: int | None = None,
) -> list[dict[str, Any]]:
    """Return the event row, or none if there are enough of its kind."""
    if count > MOST_ROWS[kind, source is Source.machine]:
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


def _implied_before(email: OpenedEmail | Delivery, at: datetime) -> bool:
    """Return whether a later click has already implied this open: another process wrote the click first."""
    first = email.first_opened_at
    return first is not None and first == email.first_clicked_at and at < first


def _source(session: Session, email: OpenedEmail, opening: Opening) -> Source:
    """Return what fetched the pixel; a scanner is also known by clicks that another process wrote first."""
    source = who(opening.agent)
    if source is Source.machine or email.machine_clicks < HASTY_LINKS:
        return source
    return Source.machine if burst_at(session, email.id, email.settled_at, opening.at) else source


# --- statements: an email in a batch costs a few microseconds, a statement of its own fifty

_DELIVERY, _EVENT = (typing.cast(Table, model.__table__) for model in (Delivery, Event))


def _emails(session: Session, tokens: set[bytes]) -> dict[bytes, OpenedEmail]:
    """Return emails by token, locked in the order of ids, so that two writers do not deadlock."""
    if _has_arrays(session):
        rows = session.execute(_READ_BY_ARRAY, {"tokens": _array(f'"\\\\x{each.hex()}"' for each in tokens)})
    else:
        rows = session.execute(_READ_BY_LIST, {"tokens": list(tokens)})
    return {row[0]: OpenedEmail(*row) for row in rows}


def _write(session: Session, emails: Collection[OpenedEmail], notes: Sequence[dict[str, Any]]) -> None:
    by_arrays, connection = _has_arrays(session), session.connection()
    if emails and by_arrays:
        connection.execute(_UPDATE_BY_ARRAYS, _changes(emails))
    elif emails:
        connection.execute(_UPDATE_BY_ROW, [_change(email) for email in emails])
    if notes and by_arrays:
        connection.execute(_NOTE_BY_ARRAYS, _noted(notes))
    elif notes:
        connection.execute(insert(_EVENT), notes)


def _has_arrays(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _change(email: OpenedEmail) -> dict[str, Any]:
    return {"b_id": email.id} | {f"b_{name}": getattr(email, name) for name in _CHANGED}


def _changes(emails: Collection[OpenedEmail]) -> dict[str, str]:
    names = ("id", *_CHANGED)
    return {f"b_{name}": _array([getattr(email, name) for email in emails]) for name in names}


def _noted(notes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of the insert. User agents repeat, so each is sent once and numbered."""
    numbers: dict[tuple[Source, str], int] = {}
    visitors = [numbers.setdefault((each["source"], each["agent"]), len(numbers) + 1) for each in notes]
    return {
        **{
            f"b_{name}": _array([each[name] for each in notes])
            for name in ("delivery_id", "frozen_email_id", "at")
        },
        "b_visitor": _array(visitors),
        "sources": [source.value for source, _agent in numbers],
        "agents": [agent for _source, agent in numbers],
    }


def _array(values: Iterable[object]) -> str:
    """Format values as a PostgreSQL array literal.

    For numbers, booleans and datetimes only. The driver takes ten times as long.
    """
    return "{" + ",".join(["NULL" if each is None else str(each) for each in values]) + "}"


def _unnested(**types: TypeEngine[Any]) -> TableValuedAlias:
    """Return arrays written by :func:`_array` as the columns of a table."""
    arrays = [cast(bindparam(f"b_{name}", type_=Text), ARRAY(kind)) for name, kind in types.items()]
    columns = [column(name, kind) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="came").render_derived()


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

_CHANGED = ("first_opened_at", "certain_open", "opens", "machine_opens")
_CHANGES = _unnested(
    id=BigInteger(),
    first_opened_at=DateTime(timezone=True),
    certain_open=Boolean(),
    opens=Integer(),
    machine_opens=Integer(),
)
_UPDATE_BY_ARRAYS = (
    update(_DELIVERY)
    .where(_DELIVERY.c.id == _CHANGES.c.id)
    .values({name: _CHANGES.c[name] for name in _CHANGED})
)
_UPDATE_BY_ROW = (
    update(_DELIVERY)
    .where(_DELIVERY.c.id == bindparam("b_id"))
    .values({name: bindparam(f"b_{name}") for name in _CHANGED})
)

_NOTES = _unnested(
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
