"""Counts of a delivery and the counters of its campaign, changed together."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from sqlalchemy import BigInteger, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..ledger.array_literals import array_literal, unnest_arrays
from ..models import COUNTER_SHARDS, CampaignCounter


@dataclass(frozen=True)
class Numbers:
    """Counts that one delivery adds to its campaign, or the totals of a campaign."""

    opened_certain: int = 0  # recipients
    opened_possible: int = 0  # recipients; it may have been only a privacy proxy
    opens: int = 0
    machine_opens: int = 0
    clicked: int = 0  # recipients
    clicks: int = 0
    machine_clicks: int = 0
    unsubscribed: int = 0  # recipients


def campaign_numbers(session: Session, campaign_ids: list[int]) -> dict[int, Numbers]:
    """Return the counts of campaigns, with an entry for every id."""
    sums = [func.sum(getattr(CampaignCounter, name)) for name in asdict(Numbers())]
    rows = session.execute(
        select(CampaignCounter.campaign_id, *sums)
        .where(CampaignCounter.campaign_id.in_(campaign_ids))
        .group_by(CampaignCounter.campaign_id)
    )
    found = {row[0]: Numbers(*(int(value) for value in row[1:])) for row in rows}
    return {campaign_id: found.get(campaign_id, Numbers()) for campaign_id in campaign_ids}


class Countable(Protocol):
    """A delivery, or an object with the counted attributes of one."""

    id: Any
    campaign_id: Any
    first_opened_at: Any
    certain_open: Any
    opens: Any
    machine_opens: Any
    first_clicked_at: Any
    clicks: Any
    machine_clicks: Any
    unsubscribed_at: Any


def _values(delivery: Countable) -> tuple[int, ...]:
    """Return the values in the order of :class:`Numbers`."""
    opened = delivery.first_opened_at is not None
    return (
        int(opened and delivery.certain_open),
        int(opened and not delivery.certain_open),
        delivery.opens,
        delivery.machine_opens,
        int(delivery.first_clicked_at is not None),
        delivery.clicks,
        delivery.machine_clicks,
        int(delivery.unsubscribed_at is not None),
    )


@contextmanager
def counted(session: Session, delivery: Countable) -> Iterator[None]:
    """Add changes of the delivery's counts made within the block to the counters. The row must be locked."""
    with counted_together(session, [delivery]):
        yield


Changes = tuple[int, ...]
"""Campaign, shard, and what to add to each of the counters."""


def add_numbers(session: Session, rows: Sequence[Changes]) -> None:
    """Add to counters."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.execute(NUMBERS_BY_ARRAYS, numbers_as_arrays(rows))
    else:
        connection.execute(_ADD_ROW, [dict(zip(_COLUMNS, each, strict=True)) for each in rows])


@contextmanager
def counted_together(
    session: Session,
    deliveries: Collection[Countable],
    add: Callable[[Session, Sequence[Changes]], None] = add_numbers,
) -> Iterator[None]:
    """Add changes of many deliveries' counts made within the block, writing each campaign counter once.

    All rows must be locked. ``add`` writes the changes, together with whatever else is to be written.
    """
    before = [_values(delivery) for delivery in deliveries]
    yield
    changes: dict[tuple[int, int], list[int]] = {}
    for delivery, old in zip(deliveries, before, strict=True):
        shard = changes.setdefault((delivery.campaign_id, delivery.id % COUNTER_SHARDS), [0] * len(old))
        for place, (was, number) in enumerate(zip(old, _values(delivery), strict=True)):
            shard[place] += number - was
    session.flush()  # always lock deliveries before counters: no deadlocks
    add(session, [(*key, *change) for key, change in sorted(changes.items()) if any(change)])


def numbers_as_arrays(rows: Sequence[Changes]) -> dict[str, Any]:
    """Return the parameters of ``NUMBERS_BY_ARRAYS``."""
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    return {f"n_{name}": array_literal(values) for name, values in zip(_COLUMNS, columns, strict=True)}


_TALLY = cast(Table, CampaignCounter.__table__)
_COUNTS = tuple(asdict(Numbers()))
_KEY = ("campaign_id", "shard")
_COLUMNS = (*_KEY, *_COUNTS)


def _adding(row: Any) -> Any:
    """Return the insert, which adds where there is a row."""
    return row.on_conflict_do_update(
        index_elements=_KEY, set_={name: _TALLY.c[name] + row.excluded[name] for name in _COUNTS}
    )


# Built once: that takes longer than to execute them.
_ADD_ROW = _adding(sqlite.insert(_TALLY))
_ARRAYS = unnest_arrays("n", **dict.fromkeys(_COLUMNS, BigInteger()))
NUMBERS_BY_ARRAYS = _adding(
    postgresql.insert(_TALLY).from_select(_COLUMNS, select(*(_ARRAYS.c[name] for name in _COLUMNS)))
)
"""What :func:`add_numbers` does on PostgreSQL, as a part of a larger statement."""
