"""Bulk statements of an import: rows as the driver takes them, without SQLAlchemy between.

PostgreSQL takes new rows by COPY, several times faster than by INSERT, and changed ones as one JSON document.
SQLite takes both row by row in one call. All rows are of one transaction, the session's. The caller counts
new subscribers and members with ``subscriber_counts``.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import ARRAY, BigInteger, ColumnElement, String, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ...models.meta import UTCDateTime


class NewSubscriber(NamedTuple):
    """A row to be added, in the types of the database: ``fields`` is JSON."""

    email: str
    email_key: str
    search_key: str
    first_name: str
    last_name: str
    fields: str
    birthday: str | None
    status: str
    import_id: int | None


class ChangedSubscriber(NamedTuple):
    """New values of a row, in the types of the database."""

    first_name: str
    last_name: str
    birthday: str | None
    fields: str
    search_key: str
    id: int


class Change(NamedTuple):
    """A row of ``ImportChange``."""

    subscriber_id: int
    created: bool
    joined: bool
    before: str | None


class BulkRows(Protocol):
    """Bulk statements in one transaction."""

    def new_ids(self, number: int) -> Sequence[int]:
        """Reserve ids for new subscribers."""

    def add(self, account_id: int, ids: Sequence[int], rows: Sequence[NewSubscriber], now: datetime) -> None:
        """Add subscribers under reserved ids."""

    def join(self, list_id: int, ids: Sequence[int], now: datetime) -> None:
        """Put subscribers that were just added on a list."""

    def change(self, rows: Sequence[ChangedSubscriber], now: datetime) -> None:
        """Write new values."""

    def note(self, import_id: int, changes: Sequence[Change]) -> None:
        """Record what undoing needs; of a change that is known, replace ``before``."""


def bulk_rows(session: Session) -> BulkRows:
    """Return the bulk statements for the database of a session."""
    return (_SqliteRows if session.get_bind().dialect.name == "sqlite" else _PostgresqlRows)(session)


def text_object(texts: dict[str, str]) -> str:
    """Return texts by name as a JSON object, several times faster than ``json.dumps``."""
    return "{" + ", ".join([f"{_quoted(name)}: {_quoted(text)}" for name, text in texts.items()]) + "}"


_quoted: Final = encode_basestring


def to_json(value: object) -> str:
    """Return a value as JSON."""
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)


class _SqliteRows:
    """Transactions that write have the database to themselves, so ids behind the last are free."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def new_ids(self, number: int) -> Sequence[int]:
        last = self._connection.exec_driver_sql("SELECT max(id) FROM subscriber").scalar() or 0
        return range(last + 1, last + 1 + number)

    def add(self, account_id: int, ids: Sequence[int], rows: Sequence[NewSubscriber], now: datetime) -> None:
        at = self._stored(now)
        self._many(
            "INSERT INTO subscriber (id, account_id, email, email_key, search_key, first_name, last_name,"
            " fields, birthday, status, import_id, status_reason, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(new_id, account_id, *row, "", at, at) for new_id, row in zip(ids, rows, strict=True)],
        )

    def join(self, list_id: int, ids: Sequence[int], now: datetime) -> None:
        self._connection.exec_driver_sql(
            "INSERT INTO list_member (list_id, subscriber_id, added_at)"
            " SELECT ?, id, ? FROM subscriber WHERE id BETWEEN ? AND ?",
            (list_id, self._stored(now), ids[0], ids[-1]),
        )

    def change(self, rows: Sequence[ChangedSubscriber], now: datetime) -> None:
        at = self._stored(now)
        self._many(
            "UPDATE subscriber SET updated_at = ?, first_name = ?, last_name = ?, birthday = ?, fields = ?,"
            " search_key = ? WHERE id = ?",
            [(at, *row) for row in rows],
        )

    def note(self, import_id: int, changes: Sequence[Change]) -> None:
        self._many(
            "INSERT INTO import_change (import_id, subscriber_id, created, joined, before)"
            " VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (import_id, subscriber_id) DO UPDATE SET before = excluded.before",
            [(import_id, *change) for change in changes],
        )

    def _many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        self._connection.exec_driver_sql(statement, rows)

    def _stored(self, at: datetime) -> Any:
        dialect = self._connection.dialect
        process = UTCDateTime().dialect_impl(dialect).bind_processor(dialect)
        return process(at) if process else at


class _PostgresqlRows:
    """New rows by COPY, with ids that the sequence gave out before."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()

    def new_ids(self, number: int) -> Sequence[int]:
        found = self._connection.exec_driver_sql(
            "SELECT nextval(pg_get_serial_sequence('subscriber', 'id')) FROM generate_series(1, %s)",
            (number,),
        )
        return [row[0] for row in found]

    def add(self, account_id: int, ids: Sequence[int], rows: Sequence[NewSubscriber], now: datetime) -> None:
        texts = NewSubscriber._fields[:6]
        names = (*texts, "birthday", "status", "import_id", "id", "account_id")
        end = f"{account_id}\t\t{now.isoformat()}\t{now.isoformat()}"
        self._copy(
            "subscriber",
            (*names, "status_reason", "created_at", "updated_at"),
            [
                f"{_copied(row[:6])}\t{_null(row.birthday)}\t{row.status}\t{_null(row.import_id)}\t{new_id}\t{end}"
                for new_id, row in zip(ids, rows, strict=True)
            ],
        )

    def join(self, list_id: int, ids: Sequence[int], now: datetime) -> None:
        at = now.isoformat()
        self._copy(
            "list_member",
            ("list_id", "subscriber_id", "added_at"),
            [f"{list_id}\t{each}\t{at}" for each in ids],
        )

    def change(self, rows: Sequence[ChangedSubscriber], now: datetime) -> None:
        self._connection.exec_driver_sql(
            "UPDATE subscriber SET first_name = came.first_name, last_name = came.last_name,"
            " birthday = came.birthday, fields = came.fields::jsonb, search_key = came.search_key,"
            " updated_at = %s"
            " FROM jsonb_to_recordset(%s::jsonb) AS came(first_name text, last_name text, birthday date,"
            " fields text, search_key text, id bigint) WHERE subscriber.id = came.id",
            (now, to_json([row._asdict() for row in rows])),
        )

    def note(self, import_id: int, changes: Sequence[Change]) -> None:
        self._connection.exec_driver_sql(
            "INSERT INTO import_change (import_id, subscriber_id, created, joined, before)"
            " SELECT %s, subscriber_id, created, joined, before::jsonb FROM jsonb_to_recordset(%s::jsonb)"
            " AS came(subscriber_id bigint, created boolean, joined boolean, before text)"
            " ON CONFLICT (import_id, subscriber_id) DO UPDATE SET before = excluded.before",
            (import_id, to_json([change._asdict() for change in changes])),
        )

    def _copy(self, table: str, columns: Sequence[str], lines: Sequence[str]) -> None:
        raw: Any = self._connection.connection.driver_connection
        with raw.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            copy.write("\n".join(lines) + "\n")


_ESCAPED: Final = re.compile(r"[\\\n\r]")


def _copied(texts: Sequence[str]) -> str:
    """Return texts in the text format of COPY."""
    line = "\t".join(texts)
    if _ESCAPED.search(line) or line.count("\t") >= len(texts):
        return "\t".join(map(_copied_text, texts))
    return line


def _copied_text(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\t", "\\t")
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _null(value: object) -> object:
    return "\\N" if value is None else value


def is_one_of(
    session: Session,
    column: InstrumentedAttribute[Any] | ColumnElement[Any],
    values: Iterable[int] | Iterable[str],
) -> ColumnElement[bool]:
    """Return the condition that a column has one of many values, sent as one parameter."""
    wanted = list(values)
    if session.get_bind().dialect.name == "sqlite":
        listed = func.json_each(to_json(wanted)).table_valued("value", name="wanted")
        return column.in_(select(listed.c.value))
    kind = String if wanted and isinstance(wanted[0], str) else BigInteger
    return column == func.any(literal(wanted, ARRAY(kind)))
