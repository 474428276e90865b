"""Bulk writes of an import: a few thousand rows in one transaction, without ORM objects."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, literal, select
from sqlalchemy.orm import Session

from ...db import upsert
from ...models import (
    Import,
    ImportChange,
    ImportReject,
    Subscriber,
    SubscriberStatus,
    list_member,
)
from ...models.audience import make_search_key
from ...subscriber_counts import add_to_counts, count_members, lock, note_new_values
from ..suppression import LEFT_REASON, SUPPRESSED, suppress_many
from .additions import note_additions, record_additions, was_added_by
from .bulk_rows import (
    BulkRows,
    Change,
    ChangedSubscriber,
    NewSubscriber,
    bulk_rows,
    is_one_of,
    text_object,
    to_json,
)
from .import_changes import (
    SubscriberChange,
    WriteResult,
    admitted,
    change_of,
    confirms_status,
    existing_subscribers,
    not_on,
    one_per_address,
)
from .rows import ImportedSubscriber, RejectedRow
from .status_cells import most_restrictive

_ACTIVE: Final = SubscriberStatus.active
_UNCONFIRMED: Final = SubscriberStatus.unconfirmed

MOST_REJECTS = 100_000  # stored with their cells; further ones are only counted

_PLACE = ["list_id", "subscriber_id", "added_at"]


def write_subscribers(
    session: Session, job: Import, rows: Sequence[ImportedSubscriber], remaining: int | None, now: datetime
) -> WriteResult:
    """Add and update subscribers and put them on the import's list."""
    subscribers = one_per_address(rows)
    there, crowded = existing_subscribers(session, job.account_id, subscribers, lock=True)
    welcome, refused = admitted(session, job.account_id, subscribers, there, remaining)
    bulk = bulk_rows(session)
    new_ids = _add(bulk, job, welcome, now)
    add_to_counts(session, job.account_id, None, Counter(map(_inserted_status, welcome)))
    changes = [change for key, row in there.items() if (change := change_of(subscribers[key], row))]
    keys = {row.id: key for key, row in there.items()}
    if changes:
        bulk.change([_changed(change, keys[change.id]) for change in changes], now)
        note_new_values(session, job.account_id)
    left = {change.id: (keys[change.id], change.status) for change in changes if change.status}
    came = {
        new_id: (subscriber.email_key, subscriber.status)
        for new_id, subscriber in zip(new_ids, welcome, strict=True)
        if subscriber.status
    }
    left |= came
    if left:
        suppress_many(session, job.account_id, left, reason=LEFT_REASON, now=now)
    joined = _join(session, job, keys, now)
    if new_ids:
        bulk.join(job.list_id, new_ids, now)
        add_to_counts(session, job.account_id, job.list_id, Counter(map(_status_in_file, welcome)))
    changed = {change.id: change for change in changes}
    suppressed_in_file = {
        row.id: subscribers[key].status
        for key, row in there.items()
        if confirms_status(subscribers[key], row, changed.get(row.id))
    }
    suppressed_in_file |= {each: status for each, (_key, status) in came.items() if status in SUPPRESSED}
    added_before = {row.id for row in there.values() if was_added_by(job, row.id, row.import_id)}
    noted = {*suppressed_in_file, *changed, *joined}
    if again := added_before & noted:
        record_additions(session, is_one_of(session, Subscriber.id, again))
    earlier = _earlier(session, job.id, keys)
    _note_changes(bulk, job.id, set(new_ids), changes, joined, suppressed_in_file, earlier)
    # Subscribers added or changed by an earlier row of this file were counted there.
    counted = {
        each
        for each, change in earlier.items()
        if change.created or change.joined or _has_values(change.before)
    }
    updated = (changed.keys() | joined) - counted - added_before
    return WriteResult.of(rows, len(new_ids), len(updated), crowded | refused, len(left))


def write_rejects(session: Session, import_id: int, rejects: Sequence[RejectedRow], already: int) -> None:
    """Store rejected rows, of which ``already`` were stored before."""
    kept = rejects[: max(0, MOST_REJECTS - already)]
    if kept:
        rows = [{"import_id": import_id, **reject._asdict()} for reject in kept]
        session.execute(upsert(session, ImportReject).on_conflict_do_nothing(), rows)


def _add(
    bulk: BulkRows, job: Import, subscribers: Sequence[ImportedSubscriber], now: datetime
) -> Sequence[int]:
    """Add subscribers; return their ids in the same order."""
    if not subscribers:
        return []
    rows = [
        NewSubscriber(
            each.email,
            each.email_key,
            make_search_key(each.email_key, each.first_name, each.last_name),
            each.first_name,
            each.last_name,
            text_object(each.fields),
            each.birthday.isoformat() if each.birthday else None,
            _inserted_status(each).value,
            None if each.status in SUPPRESSED else job.id,  # undoing needs the status in an ``ImportChange``
        )
        for each in subscribers
    ]
    ids = bulk.new_ids(len(rows))
    bulk.add(job.account_id, ids, rows, now)
    note_additions(job, ids)
    return ids


def _inserted_status(subscriber: ImportedSubscriber) -> SubscriberStatus:
    """Return the status of a new subscriber until the suppressed statuses of the file are set."""
    return _UNCONFIRMED if subscriber.status is _UNCONFIRMED else _ACTIVE


def _status_in_file(subscriber: ImportedSubscriber) -> SubscriberStatus:
    """Return the status of a new subscriber after that."""
    return subscriber.status or _ACTIVE


def _changed(change: SubscriberChange, key: str) -> ChangedSubscriber:
    first_name, last_name = change.values["first_name"], change.values["last_name"]
    birthday = change.values["birthday"]
    return ChangedSubscriber(
        first_name,
        last_name,
        birthday.isoformat() if birthday else None,
        to_json(change.values["fields"]),
        make_search_key(key, first_name, last_name),
        change.id,
    )


def _earlier(session: Session, import_id: int, ids: Collection[int]) -> dict[int, Row[Any]]:
    """Return what earlier rows of the file did to these subscribers, besides adding them."""
    if not ids:
        return {}
    rows = session.execute(
        select(
            ImportChange.subscriber_id, ImportChange.created, ImportChange.joined, ImportChange.before
        ).where(ImportChange.import_id == import_id, is_one_of(session, ImportChange.subscriber_id, ids))
    )
    return {row.subscriber_id: row for row in rows}


def _has_values(before: Mapping[str, Any] | None) -> bool:
    return before is not None and "fields" in before


def _join(session: Session, job: Import, there: Collection[int], now: datetime) -> set[int]:
    """Put existing subscribers on the list and count them. Return which of them were not on it."""
    joined = not_on(session, job.list_id, there)
    if joined:
        lock(session, joined)
        joining = select(literal(job.list_id), Subscriber.id, literal(now, list_member.c.added_at.type))
        came = session.scalars(
            upsert(session, list_member)
            .from_select(_PLACE, joining.where(is_one_of(session, Subscriber.id, joined)))
            .on_conflict_do_nothing()  # a user may add them at the same time
            .returning(list_member.c.subscriber_id)
        ).all()
        count_members(session, job.account_id, job.list_id, came)
    return joined


def _note_changes(
    bulk: BulkRows,
    import_id: int,
    came: Collection[int],
    changes: Sequence[SubscriberChange],
    joined: Collection[int],
    suppressed_in_file: Mapping[int, SubscriberStatus | None],
    earlier: Mapping[int, Row[Any]],
) -> None:
    """Record what undoing needs, except for new subscribers of whom it needs nothing but the import.

    ``suppressed_in_file`` are subscribers whose status in the file is suppressed, without a change;
    ``earlier`` is what the file did to them before.
    """
    notes: dict[int, dict[str, Any]] = {
        each: {"left": status.value} for each, status in suppressed_in_file.items() if status
    }
    for change in changes:
        notes[change.id] = {**notes.get(change.id, {}), **change.before}
    rows = []
    for each in {*notes, *joined}:
        before = _together(earlier[each].before if each in earlier else None, notes.get(each))
        rows.append(
            Change(
                each,
                each in came,
                each in joined or each in came,
                None if before is None else to_json(before),
            )
        )
    if rows:
        bulk.note(import_id, rows)


def _together(earlier: Mapping[str, Any] | None, later: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Keep the values from before the file, not of its earlier rows, and its most restrictive status."""
    if earlier is None or later is None:
        return dict(earlier or later or {}) or None
    together = {**later, **earlier}
    left = most_restrictive(SubscriberStatus(each["left"]) for each in (earlier, later) if "left" in each)
    return {**together, "left": left.value} if left else together
