"""Kept counts: how many subscribers an account and each of its lists have, by status, without counting them.

A count is the sum of rows of ``subscriber_count``. Each transaction that changes subscribers, statuses or
memberships adds rows with the differences, one for each list and status; :func:`fold` replaces the rows of a
count by their sum. Rows are only inserted, so no transaction waits for another.

The differences are right under concurrent transactions if each of them locks a subscriber's row before it
reads the status or the memberships that it counts, unless the subscriber is new in it: :func:`lock`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    Select,
    and_,
    delete,
    false,
    func,
    insert,
    null,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.orm import Session, sessionmaker

from .db import UNTRACKED
from .models import Subscriber, SubscriberCount, SubscriberStatus, list_member

__all__ = [
    "CountDifference",
    "account_counts",
    "add_to_counts",
    "count_differences",
    "count_members",
    "count_removed",
    "count_status_change",
    "fold",
    "forget_list",
    "kept_list_counts",
    "lock",
    "note_new_values",
    "reconcile",
    "versions",
]

AT_ONCE: Final = 10_000  # rows that one call of ``fold`` replaces
_RECONCILING: Final = 7_305_001  # key of PostgreSQL's advisory lock, with the account's id

StatusCounts = dict[SubscriberStatus, int]
_Count = tuple[int, int | None, SubscriberStatus]


@dataclass(frozen=True)
class CountDifference:
    """A kept count that is wrong; ``list_id`` is None for the whole account."""

    account_id: int
    list_id: int | None
    status: SubscriberStatus
    missing: int  # subscribers that the kept count lacks; negative: that it has too many


# --- reading


def account_counts(session: Session, account_id: int) -> StatusCounts:
    """Return the number of subscribers of an account by status, zeros included."""
    rows = session.execute(
        select(SubscriberCount.status, func.sum(SubscriberCount.number))
        .where(SubscriberCount.account_id == account_id, SubscriberCount.list_id.is_(None))
        .group_by(SubscriberCount.status)
    )
    return dict.fromkeys(SubscriberStatus, 0) | {row[0]: max(0, int(row[1])) for row in rows}


def kept_list_counts(session: Session, list_ids: Collection[int]) -> dict[int, StatusCounts]:
    """Return the number of subscribers by list and status, zeros included."""
    counts = {list_id: dict.fromkeys(SubscriberStatus, 0) for list_id in list_ids}
    rows = session.execute(
        select(SubscriberCount.list_id, SubscriberCount.status, func.sum(SubscriberCount.number))
        .where(SubscriberCount.list_id.in_(list(counts)))
        .group_by(SubscriberCount.list_id, SubscriberCount.status)
    )
    for list_id, status, number in rows:
        if list_id is not None:
            counts[list_id][status] = max(0, int(number))
    return counts


def versions(
    session: Session, account_id: int, list_ids: Collection[int]
) -> tuple[tuple[int | None, int], ...]:
    """Return the versions of an account (None) and of lists: equal ones mean that nothing has changed.

    That of the account changes with each subscriber, status and value, that of a list with its members and
    their statuses.
    """
    of_lists = SubscriberCount.list_id.in_(list_ids) if list_ids else false()
    of_account = and_(SubscriberCount.account_id == account_id, SubscriberCount.list_id.is_(None))
    rows = session.execute(
        select(SubscriberCount.list_id, func.sum(SubscriberCount.stamp))
        .where(or_(of_account, of_lists))
        .group_by(SubscriberCount.list_id)
    )
    return tuple(sorted(((row[0], int(row[1])) for row in rows), key=lambda row: row[0] or 0))


# --- writing


def lock(session: Session, subscriber_ids: Collection[int]) -> dict[int, SubscriberStatus]:
    """Lock subscribers against other changes of status and memberships. Return the status of each."""
    rows = session.execute(
        select(Subscriber.id, Subscriber.status)
        .where(Subscriber.id.in_(subscriber_ids))
        .order_by(Subscriber.id)
        .with_for_update(key_share=True)  # rows that only refer to the subscriber may be written
    )
    return {row.id: row.status for row in rows}


def add_to_counts(
    session: Session, account_id: int, list_id: int | None, numbers: Mapping[SubscriberStatus, int]
) -> None:
    """Record that an account (``list_id`` None) or a list has so many more subscribers of each status.

    Call it once for each batch, in the transaction of the batch: new subscribers of the account, and new
    members of a list. Negative numbers are subscribers fewer.
    """
    rows = [
        {"account_id": account_id, "list_id": list_id, "status": status, "number": number}
        for status, number in sorted(numbers.items())
        if number
    ]
    if rows:
        session.execute(insert(SubscriberCount), rows)


def count_members(session: Session, account_id: int, list_id: int, subscriber_ids: Collection[int]) -> None:
    """Record new members of a list. Call it after they were locked, unless they are new themselves."""
    if subscriber_ids:
        add_to_counts(session, account_id, list_id, _by_status(session, subscriber_ids))


def count_status_change(
    session: Session, account_id: int, before: Mapping[int, SubscriberStatus], after: SubscriberStatus
) -> None:
    """Record that subscribers, by id with the status they had, now have another one. They are locked."""
    changed = {each: status for each, status in before.items() if status is not after}
    for status in set(changed.values()):
        ids = [each for each, earlier in changed.items() if earlier is status]
        for list_id, number in [(None, len(ids)), *_members(session, ids)]:
            add_to_counts(session, account_id, list_id, {status: -number, after: number})


def count_removed(session: Session, account_id: int, subscriber_ids: Collection[int]) -> None:
    """Lock subscribers and record that they leave the account and all lists. Call it before the deletion."""
    statuses = lock(session, subscriber_ids)
    for status in set(statuses.values()):
        ids = [each for each, its in statuses.items() if its is status]
        for list_id, number in [(None, len(ids)), *_members(session, ids)]:
            add_to_counts(session, account_id, list_id, {status: -number})


def note_new_values(session: Session, account_id: int) -> None:
    """Record that values of subscribers have changed, by a new version of the account."""
    row = {"account_id": account_id, "list_id": None, "status": SubscriberStatus.active, "number": 0}
    session.execute(insert(SubscriberCount), [row])


def forget_list(session: Session, list_id: int) -> None:
    """Delete the counts of a list that is deleted: SQLite gives its id to another list."""
    session.execute(
        delete(SubscriberCount).where(SubscriberCount.list_id == list_id), execution_options=UNTRACKED
    )


def _by_status(session: Session, subscriber_ids: Collection[int]) -> Counter[SubscriberStatus]:
    rows = session.execute(
        select(Subscriber.status, func.count())
        .where(Subscriber.id.in_(subscriber_ids))
        .group_by(Subscriber.status)
    )
    return Counter({row[0]: row[1] for row in rows})


def _members(session: Session, subscriber_ids: Collection[int]) -> Iterable[tuple[int, int]]:
    """Return how many of these subscribers are on each list that has any of them."""
    rows = session.execute(
        select(list_member.c.list_id, func.count())
        .where(list_member.c.subscriber_id.in_(subscriber_ids))
        .group_by(list_member.c.list_id)
        .order_by(list_member.c.list_id)
    )
    return [(row[0], row[1]) for row in rows]


# --- folding and reconciling


def fold(session: Session, at_once: int = AT_ONCE) -> int:
    """Replace rows that belong to the same count by their sum. Return how many rows were replaced.

    Of two calls at the same time, each adds up what it deleted.
    """
    of_count = (SubscriberCount.account_id, SubscriberCount.list_id, SubscriberCount.status)
    rows = select(SubscriberCount.id, func.count().over(partition_by=of_count).label("rows")).subquery()
    several = select(rows.c.id).where(rows.c.rows > 1).order_by(rows.c.id).limit(at_once)
    replaced = session.execute(
        delete(SubscriberCount)
        .where(SubscriberCount.id.in_(several))
        .returning(*of_count, SubscriberCount.number, SubscriberCount.stamp),
        execution_options=UNTRACKED,
    ).all()
    numbers: Counter[_Count] = Counter()
    stamps: Counter[_Count] = Counter()
    for account_id, list_id, status, number, stamp in replaced:
        numbers[account_id, list_id, status] += number
        stamps[account_id, list_id, status] += stamp
    sums = [
        {
            "account_id": account_id,
            "list_id": list_id,
            "status": status,
            "number": numbers[account_id, list_id, status],
            "stamp": stamp,
        }
        for (account_id, list_id, status), stamp in stamps.items()
    ]
    if sums:
        session.execute(insert(SubscriberCount), sums)
    return len(replaced)


def count_differences(session: Session, account_id: int) -> list[CountDifference]:
    """Count the subscribers of an account and compare the kept counts with that."""
    rows = session.execute(_differences(account_id)).all()
    return [CountDifference(account_id, row.list_id, row.status, int(row.missing)) for row in rows]


def reconcile(sessions: sessionmaker[Session], account_id: int) -> list[CountDifference]:
    """Correct the kept counts of an account. Return what was wrong.

    Counted and kept numbers are read by one statement, so what is changed meanwhile is in neither or in both.
    """
    with sessions() as session:
        # Reading first: on SQLite a writer blocks all others while it counts.
        session.connection(execution_options={"reading": True})
        if not count_differences(session, account_id):
            return []
    with sessions.begin() as session:
        _lock_reconciling(session, account_id)
        found = count_differences(session, account_id)
        for each in found:
            add_to_counts(session, account_id, each.list_id, {each.status: each.missing})
        return found


def _lock_reconciling(session: Session, account_id: int) -> None:
    """Wait for another process that corrects the same account: the difference would be added twice."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(:key, :account_id)"),
            {"key": _RECONCILING, "account_id": account_id % 2**31},
        )


def _differences(account_id: int) -> Select[int | None, SubscriberStatus, int]:
    both = union_all(*_counted(account_id), _kept(account_id)).subquery()
    missing = func.sum(both.c.number)
    return (
        select(both.c.list_id, both.c.status, missing.label("missing"))
        .group_by(both.c.list_id, both.c.status)
        .having(missing != 0)
        .order_by(both.c.list_id.is_not(None), both.c.list_id, both.c.status)
    )


def _counted(account_id: int) -> Iterable[Select[int | None, SubscriberStatus, int]]:
    own = Subscriber.account_id == account_id
    no_list = null().label("list_id")
    yield (
        select(no_list, Subscriber.status, func.count().label("number"))
        .where(own)
        .group_by(Subscriber.status)
    )
    yield (
        select(list_member.c.list_id, Subscriber.status, func.count().label("number"))
        .join(Subscriber, Subscriber.id == list_member.c.subscriber_id)
        .where(own)
        .group_by(list_member.c.list_id, Subscriber.status)
    )


def _kept(account_id: int) -> Select[int | None, SubscriberStatus, int]:
    return select(
        SubscriberCount.list_id, SubscriberCount.status, (-SubscriberCount.number).label("number")
    ).where(SubscriberCount.account_id == account_id)
