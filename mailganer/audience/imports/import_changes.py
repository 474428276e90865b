"""What the rows of an import change: compared with the existing subscribers, without writing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Row, Select, String, func, literal, select, true
from sqlalchemy.orm import Session

from ...models import Subscriber, SubscriberStatus, list_member
from ..fields import MOST_FIELDS, FieldValue, typed_as
from ..suppression import LEFT_REASON, SUPPRESSED, is_weightier, suppressed
from .bulk_rows import is_one_of
from .rows import ImportedSubscriber, RejectedRow, shown_cells
from .status_cells import most_restrictive

_EXISTING = (
    Subscriber.id,
    Subscriber.email_key,
    Subscriber.first_name,
    Subscriber.last_name,
    Subscriber.birthday,
    Subscriber.fields,
    Subscriber.status,
    Subscriber.status_reason,
    Subscriber.updated_at,
    Subscriber.import_id,
)


@dataclass(frozen=True)
class WriteResult:
    """Counts for a number of rows, each counted once."""

    added: int
    updated: int
    unchanged: int  # rows without changes, or with an address of an earlier row of the file
    rejects: list[RejectedRow]
    left: int = 0  # of those added or updated: with a status other than active

    @classmethod
    def of(
        cls,
        rows: Sequence[ImportedSubscriber],
        added: int,
        updated: int,
        refused: Mapping[str, str],
        left: int = 0,
    ) -> "WriteResult":
        """Build from the valid rows; ``refused`` gives the reason by address key for rejected ones."""
        rejects = [
            RejectedRow(row.row, refused[row.email_key], "", shown_cells(row.cells))
            for row in rows
            if row.email_key in refused
        ]
        return cls(added, updated, len(rows) - added - updated - len(rejects), rejects, left)


@dataclass(frozen=True)
class SubscriberChange:
    """New values of an existing subscriber, and the values they replace."""

    id: int
    values: Mapping[str, Any]
    before: Mapping[str, Any]
    status: SubscriberStatus | None = None  # the new status, if a suppressed one


def one_per_address(subscribers: Iterable[ImportedSubscriber]) -> dict[str, ImportedSubscriber]:
    """Merge rows by address key; a later row adds to and overrides an earlier one."""
    found: dict[str, ImportedSubscriber] = {}
    for subscriber in subscribers:
        earlier = found.get(subscriber.email_key)
        found[subscriber.email_key] = _joined(earlier, subscriber) if earlier else subscriber
    return found


def _joined(earlier: ImportedSubscriber, later: ImportedSubscriber) -> ImportedSubscriber:
    return later._replace(
        first_name=later.first_name or earlier.first_name,
        last_name=later.last_name or earlier.last_name,
        birthday=later.birthday or earlier.birthday,
        fields={**earlier.fields, **later.fields},
        status=most_restrictive((earlier.status, later.status)),
    )


def existing_subscribers(
    session: Session, account_id: int, subscribers: dict[str, ImportedSubscriber], *, lock: bool = False
) -> tuple[dict[str, Row[Any]], dict[str, str]]:
    """Return the existing subscribers among ``subscribers``. Remove and refuse those with too many fields.

    With ``lock``, no other transaction changes or deletes them before the transaction ends.
    """
    rows = session.execute(_with_keys(session, account_id, list(subscribers))).all()
    if lock and rows:
        rows = _locked(session, [row.id for row in rows])
    there = {row.email_key: row for row in rows if row.email_key in subscribers}
    crowded = [
        key
        for key, row in there.items()
        if len(row.fields.keys() | subscribers[key].fields.keys()) > MOST_FIELDS
    ]
    for key in crowded:
        del there[key], subscribers[key]
    return there, dict.fromkeys(crowded, "too_many_fields")


def _locked(session: Session, ids: Collection[int]) -> Sequence[Row[Any]]:
    """Lock subscribers and return them as they are then, without those who were deleted meanwhile."""
    return session.execute(
        select(*_EXISTING)
        .where(is_one_of(session, Subscriber.id, ids))
        .order_by(Subscriber.id)
        .with_for_update(key_share=True)  # rows that only refer to the subscriber may be written
    ).all()


def _with_keys(session: Session, account_id: int, keys: list[str]) -> Select[Any]:
    mine = select(*_EXISTING).where(Subscriber.account_id == account_id)
    if session.get_bind().dialect.name == "sqlite":
        return mine.where(is_one_of(session, Subscriber.email_key, keys))
    # One index lookup per address. A plain IN scans the whole table as long as PostgreSQL's statistics show a
    # table that just grew by a million rows as empty.
    wanted = func.unnest(literal(keys, ARRAY(String))).table_valued("key", name="wanted").render_derived()
    found = mine.where(Subscriber.email_key == wanted.c.key).limit(1).lateral()
    return select(found).select_from(wanted).join(found, true())


def admitted(
    session: Session,
    account_id: int,
    subscribers: Mapping[str, ImportedSubscriber],
    there: Collection[str],
    remaining: int | None,
) -> tuple[list[ImportedSubscriber], dict[str, str]]:
    """Return who may be added, in the order of the file, and the reasons by address key for the others.

    Suppressed addresses may not be added, nor more than the plan allows.
    """
    new = [subscriber for key, subscriber in subscribers.items() if key not in there]
    forgotten = suppressed(session, account_id, [subscriber.email_key for subscriber in new])
    welcome = [subscriber for subscriber in new if subscriber.email_key not in forgotten]
    refused = dict.fromkeys(forgotten, "suppressed")
    if remaining is not None and len(welcome) > remaining:
        refused |= dict.fromkeys((subscriber.email_key for subscriber in welcome[remaining:]), "limit")
        welcome = welcome[:remaining]
    return welcome, refused


def change_of(subscriber: ImportedSubscriber, row: Row[Any]) -> SubscriberChange | None:
    """Return the changes of a row to an existing subscriber: given values replace, missing ones stay.

    Return None when nothing changes.
    """
    before = {
        "first_name": row.first_name,
        "last_name": row.last_name,
        "birthday": row.birthday,
        "fields": row.fields,
    }
    after = {
        "first_name": subscriber.first_name or row.first_name,
        "last_name": subscriber.last_name or row.last_name,
        "birthday": subscriber.birthday or row.birthday,
        "fields": row.fields
        | {name: _typed(row.fields, name, text) for name, text in subscriber.fields.items()},
    }
    left = subscriber.status if subscriber.status and is_weightier(subscriber.status, row.status) else None
    if before == after and left is None:
        return None
    birthday = row.birthday.isoformat() if row.birthday else None
    kept = {**before, "birthday": birthday, "updated_at": row.updated_at.isoformat()}
    if left:
        kept |= {"status": row.status.value, "reason": row.status_reason, "left": left.value}
    return SubscriberChange(row.id, after, kept, left)


def confirms_status(subscriber: ImportedSubscriber, row: Row[Any], change: SubscriberChange | None) -> bool:
    """Return whether a row confirms a suppressed status that another file set."""
    return (
        subscriber.status in SUPPRESSED
        and row.status_reason == LEFT_REASON
        and (change is None or change.status is None)
    )


def _typed(fields: Mapping[str, Any], name: str, text: str) -> FieldValue:
    before = fields.get(name)
    return text if before is None or type(before) is str else typed_as(before, text)


def not_on(session: Session, list_id: int, subscribers: Collection[int]) -> set[int]:
    """Return which of these subscribers are not on the list."""
    if not subscribers:
        return set()
    on_it = session.scalars(
        select(list_member.c.subscriber_id).where(
            list_member.c.list_id == list_id, is_one_of(session, list_member.c.subscriber_id, subscribers)
        )
    )
    return set(subscribers) - set(on_it)
