"""Bulk writes of an import: a few thousand rows in one transaction, without ORM objects."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import (
    Row,
    Table,
    bindparam,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

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
from .postgresql_copy import can_copy, copy_rows, new_ids
from .rows import ImportedSubscriber, RejectedRow
from .status_cells import most_restrictive

_ACTIVE: Final = SubscriberStatus.active
_UNCONFIRMED: Final = SubscriberStatus.unconfirmed

MOST_REJECTS = 100_000  # stored with their cells; further ones are only counted

_PLACE = ["list_id", "subscriber_id", "added_at"]
_CHANGE = ["import_id", "subscriber_id", "created", "joined", "before"]


def write_subscribers(
    session: Session, job: Import, rows: Sequence[ImportedSubscriber], remaining: int | None, now: datetime
) -> WriteResult:
    """Add and update subscribers and put them on the import's list."""
    subscribers = one_per_address(rows)
    there, crowded = existing_subscribers(session, job.account_id, subscribers)
    welcome, refused = admitted(session, job.account_id, subscribers, there, remaining)
    new_ids = _insert(session, job.account_id, welcome, now)
    add_to_counts(session, job.account_id, None, Counter(_inserted_status(each) for each in welcome))
    changes = [change for key, row in there.items() if (change := change_of(subscribers[key], row))]
    keys = {row.id: key for key, row in there.items()}
    _update(session, changes, keys, now)
    if changes:
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
    earlier = _earlier(session, job.id, [row.id for row in there.values()])
    joined = _join(session, job, [row.id for row in there.values()], new_ids, now)
    changed = {change.id: change for change in changes}
    suppressed_in_file = {
        row.id: subscribers[key].status
        for key, row in there.items()
        if confirms_status(subscribers[key], row, changed.get(row.id))
    }
    suppressed_in_file |= {each: status for each, (_key, status) in came.items() if status in SUPPRESSED}
    _note_changes(session, job.id, new_ids, changes, joined, suppressed_in_file, earlier)
    # Subscribers added or changed by an earlier row of this file were counted there.
    counted = {
        each
        for each, change in earlier.items()
        if change.created or change.joined or _has_values(change.before)
    }
    updated = (changed.keys() | joined) - counted
    return WriteResult.of(rows, len(new_ids), len(updated), crowded | refused, len(left))


def write_rejects(session: Session, import_id: int, rejects: Sequence[RejectedRow], already: int) -> None:
    """Store rejected rows, of which ``already`` were stored before."""
    kept = rejects[: max(0, MOST_REJECTS - already)]
    if kept:
        rows = [{"import_id": import_id, **reject._asdict()} for reject in kept]
        session.execute(_upsert(session, ImportReject).on_conflict_do_nothing(), rows)


def _insert(
    session: Session, account_id: int, subscribers: Sequence[ImportedSubscriber], now: datetime
) -> list[int]:
    rows = [
        {
            "account_id": account_id,
            "email": subscriber.email,
            "email_key": subscriber.email_key,
            "search_key": make_search_key(subscriber.email_key, subscriber.first_name, subscriber.last_name),
            "first_name": subscriber.first_name,
            "last_name": subscriber.last_name,
            "birthday": subscriber.birthday,
            "fields": subscriber.fields,
            "status": _inserted_status(subscriber),
            "status_reason": "",
            "created_at": now,
            "updated_at": now,
        }
        for subscriber in subscribers
    ]
    if not rows:
        return []
    any_left = any(
        subscriber.status for subscriber in subscribers
    )  # their ids are needed in the order of the rows
    if not can_copy(session):
        return list(
            session.scalars(
                insert(Subscriber).returning(Subscriber.id, sort_by_parameter_order=any_left), rows
            )
        )
    ids = new_ids(session, "subscriber", len(rows))
    for row in rows:
        row["fields"] = json.dumps(row["fields"])
    copy_rows(
        session,
        "subscriber",
        ["id", *rows[0]],
        ((new_id, *row.values()) for new_id, row in zip(ids, rows, strict=True)),
    )
    return ids


def _inserted_status(subscriber: ImportedSubscriber) -> SubscriberStatus:
    """Return the status of a new subscriber until the suppressed statuses of the file are set."""
    return _UNCONFIRMED if subscriber.status is _UNCONFIRMED else _ACTIVE


def _update(
    session: Session, changes: Sequence[SubscriberChange], keys: Mapping[int, str], now: datetime
) -> None:
    if not changes:
        return
    table = cast(Table, Subscriber.__table__)
    rows = [
        {
            "its_id": change.id,
            **change.values,
            "search_key": make_search_key(
                keys[change.id], change.values["first_name"], change.values["last_name"]
            ),
            "updated_at": now,
        }
        for change in changes
    ]
    names = [name for name in rows[0] if name != "its_id"]
    session.connection().execute(
        update(table)
        .where(table.c.id == bindparam("its_id"))
        .values({name: bindparam(name) for name in names}),
        rows,
    )


def _earlier(session: Session, import_id: int, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """Return what earlier rows of the file did to these subscribers."""
    rows = session.execute(
        select(
            ImportChange.subscriber_id, ImportChange.created, ImportChange.joined, ImportChange.before
        ).where(ImportChange.import_id == import_id, ImportChange.subscriber_id.in_(ids))
    )
    return {row.subscriber_id: row for row in rows}


def _has_values(before: Mapping[str, Any] | None) -> bool:
    return before is not None and "fields" in before


def _join(session: Session, job: Import, there: Sequence[int], new: Sequence[int], now: datetime) -> set[int]:
    """Put subscribers on the list and count them. Return which of those in ``there`` were not on it."""
    joined = not_on(session, job.list_id, there)
    lock(session, joined)
    # New subscribers cannot be on it yet; existing ones may be added by a user at the same time.
    if can_copy(session):
        copy_rows(session, "list_member", _PLACE, ((job.list_id, each, now) for each in new))
    ids = list(joined) if can_copy(session) else [*joined, *new]
    came = list(new) if can_copy(session) else []
    if ids:
        joining = select(literal(job.list_id), Subscriber.id, literal(now, list_member.c.added_at.type))
        came += session.scalars(
            _upsert(session, list_member)
            .from_select(_PLACE, joining.where(Subscriber.id.in_(ids)))
            .on_conflict_do_nothing()
            .returning(list_member.c.subscriber_id)
        )
    count_members(session, job.account_id, job.list_id, came)
    return joined


def _note_changes(
    session: Session,
    import_id: int,
    new: Sequence[int],
    changes: Sequence[SubscriberChange],
    joined: Collection[int],
    suppressed_in_file: Mapping[int, SubscriberStatus | None],
    earlier: Mapping[int, Row[Any]],
) -> None:
    """Record what undoing needs.

    ``suppressed_in_file`` are subscribers whose status in the file is suppressed, without a change;
    ``earlier`` is what the file did to them before.
    """
    silent = [each for each in new if each not in suppressed_in_file]
    if silent and can_copy(session):
        copy_rows(session, "import_change", _CHANGE, ((import_id, each, True, True, None) for each in silent))
    elif silent:
        created = select(literal(import_id), Subscriber.id, literal(True), literal(True), null()).where(
            Subscriber.id.in_(silent)
        )
        session.execute(insert(ImportChange).from_select(_CHANGE, created))
    notes: dict[int, dict[str, Any]] = {
        each: {"left": status.value} for each, status in suppressed_in_file.items() if status
    }
    for change in changes:
        notes[change.id] = {**notes.get(change.id, {}), **change.before}
    came = set(new)
    rows = [
        {
            "import_id": import_id,
            "subscriber_id": each,
            "created": each in came,
            "joined": each in joined or each in came,
            "before": _together(earlier[each].before if each in earlier else None, notes.get(each)),
        }
        for each in {*notes, *joined}
    ]
    if rows:
        noting = _upsert(session, ImportChange)
        session.execute(
            noting.on_conflict_do_update(
                index_elements=["import_id", "subscriber_id"], set_={"before": noting.excluded.before}
            ),
            rows,
        )


def _together(earlier: Mapping[str, Any] | None, later: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Keep the values from before the file, not of its earlier rows, and its most restrictive status."""
    if earlier is None or later is None:
        return dict(earlier or later or {}) or None
    together = {**later, **earlier}
    left = most_restrictive(SubscriberStatus(each["left"]) for each in (earlier, later) if "left" in each)
    return {**together, "left": left.value} if left else together


def _upsert(session: Session, table: Any) -> Any:
    module = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return module.insert(table)
