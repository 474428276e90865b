"""What recipients do with their email: opens, clicks, unsubscribing, and erasure of their data.

The functions that take a ``Delivery`` expect its row to be locked by the caller's transaction.
"""

import typing
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import BigInteger, Boolean, DateTime, Integer, Table, bindparam, update
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from ..models import Delivery
from ..models.delivery import erased_key
from .array_literals import array_literal, unnest_arrays

__all__ = [
    "COUNTS_BY_ARRAYS",
    "ClickCounts",
    "OpenCounts",
    "count_click",
    "count_open",
    "counts_as_arrays",
    "erase_recipient",
    "reclassify_as_machine",
    "set_certain_open",
    "set_first_times",
    "set_unsubscribed",
    "write_counts",
    "write_open_counts",
]


class OpenCounts(Protocol):
    """A delivery, or an object with the columns of one that counting an open changes."""

    id: Any
    first_opened_at: Any
    first_clicked_at: Any
    certain_open: Any
    opens: Any
    machine_opens: Any


class ClickCounts(OpenCounts, Protocol):
    """The same for a click."""

    clicks: Any
    machine_clicks: Any


def count_open(email: OpenCounts, at: datetime, *, machine: bool, certain: bool) -> int:
    """Count one open; return its number, or 0 if a click has implied it before.

    ``certain``: a person's, not perhaps a privacy proxy's.
    """
    if machine:
        email.machine_opens += 1
        return int(email.machine_opens)
    email.certain_open = email.certain_open or certain
    if _is_implied(email, at):
        email.first_opened_at = at
        return 0
    email.opens += 1
    email.first_opened_at = email.first_opened_at or at
    return int(email.opens)


def _is_implied(email: OpenCounts, at: datetime) -> bool:
    """Return whether a later click has already implied this open: another process wrote the click first."""
    first = email.first_opened_at
    return first is not None and first == email.first_clicked_at and at < first


def count_click(delivery: ClickCounts, at: datetime, *, machine: bool) -> int:
    """Count one click; return its number."""
    if machine:
        delivery.machine_clicks += 1
        return int(delivery.machine_clicks)
    delivery.clicks += 1
    delivery.first_clicked_at = delivery.first_clicked_at or at
    return int(delivery.clicks)


def reclassify_as_machine(delivery: ClickCounts, *, opens: int, implied_opens: int, clicks: int) -> None:
    """Move opens and clicks to a machine's counts; opens that were only implied by these clicks go."""
    delivery.machine_opens += opens
    delivery.opens -= opens + implied_opens
    delivery.machine_clicks += clicks
    delivery.clicks -= clicks


def set_certain_open(delivery: OpenCounts) -> None:
    """Record that a person, not perhaps a privacy proxy, opened the email."""
    delivery.certain_open = True


def set_first_times(
    delivery: OpenCounts, *, opened_at: datetime | None, clicked_at: datetime | None, certain_open: bool
) -> None:
    """Set the first open and the first click, as recomputed from the events."""
    delivery.first_opened_at = opened_at
    delivery.first_clicked_at = clicked_at
    delivery.certain_open = certain_open


def set_unsubscribed(delivery: Delivery, at: datetime | None) -> None:
    """Record that the recipient unsubscribed by this email; None takes that back."""
    delivery.unsubscribed_at = at


def erase_recipient(session: Session, subscriber_id: int, digest: bytes) -> None:
    """Remove a subscriber's data from their deliveries; a digest of the address stays in its place."""
    session.execute(
        update(Delivery)
        .where(Delivery.subscriber_id == subscriber_id)
        # A server's reply often repeats the address.
        .values(email="", email_key=erased_key(digest), reply=None, subscriber_id=None)
    )


# --- counts in bulk: an email in a batch costs a few microseconds, a statement of its own fifty


def write_open_counts(session: Session, emails: Collection[OpenCounts]) -> None:
    """Write the columns that counting opens changes."""
    _OPENS.write(session, emails)


def write_counts(session: Session, emails: Collection[ClickCounts]) -> None:
    """Write the columns that counting opens and clicks changes."""
    _CLICKS.write(session, emails)


_DELIVERY = typing.cast(Table, Delivery.__table__)


class _Update:
    """Writes some columns of many deliveries in one statement."""

    def __init__(self, *names: str) -> None:
        self._names = names
        types: dict[str, TypeEngine[Any]] = {name: _TYPES[name] for name in names}
        changes = unnest_arrays(id=BigInteger(), **types)
        self.by_arrays = (
            update(_DELIVERY)
            .where(_DELIVERY.c.id == changes.c.id)
            .values({name: changes.c[name] for name in names})
        )
        self._by_row = (
            update(_DELIVERY)
            .where(_DELIVERY.c.id == bindparam("b_id"))
            .values({name: bindparam(f"b_{name}") for name in names})
        )

    def write(self, session: Session, emails: Collection[OpenCounts]) -> None:
        if not emails:
            return
        connection, names = session.connection(), ("id", *self._names)
        if connection.dialect.name == "postgresql":
            connection.execute(self.by_arrays, self.columns(emails))
        else:
            connection.execute(
                self._by_row, [{f"b_{name}": getattr(each, name) for name in names} for each in emails]
            )

    def columns(self, emails: Collection[OpenCounts]) -> dict[str, Any]:
        """Return the parameters of ``by_arrays``."""
        names = ("id", *self._names)
        return {f"b_{name}": array_literal(getattr(each, name) for each in emails) for name in names}


_TYPES: Mapping[str, TypeEngine[Any]] = {
    "first_opened_at": DateTime(timezone=True),
    "certain_open": Boolean(),
    "opens": Integer(),
    "machine_opens": Integer(),
    "first_clicked_at": DateTime(timezone=True),
    "clicks": Integer(),
    "machine_clicks": Integer(),
}
_CLICKS = _Update(*_TYPES)
COUNTS_BY_ARRAYS, counts_as_arrays = _CLICKS.by_arrays, _CLICKS.columns
"""What :func:`write_counts` does on PostgreSQL, as a part of a larger statement, and its parameters."""

_OPENS = _Update("first_opened_at", "certain_open", "opens", "machine_opens")
