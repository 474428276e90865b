"""Check the schema of a backup's database: it must be that of its version, with nothing added.

A trigger or view added to a backup would run inside the restored installation.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import quote

from ..db import make_engine
from ..migrations import migrate
from .manifest import BackupError

# Internal tables of SQLite: statistics of ANALYZE, numbers of AUTOINCREMENT.
_OF_SQLITE = frozenset({"sqlite_stat1", "sqlite_stat4", "sqlite_sequence"})


class SchemaObject(NamedTuple):
    """A table, index, view or trigger."""

    kind: str
    name: str


class Schema(NamedTuple):
    """The schema of one version."""

    things: Mapping[SchemaObject, Counter[str]]
    columns: Mapping[str, frozenset[str]]


def schema_of(revision: str) -> Schema:
    """Build an empty database of this version and return its schema."""
    with TemporaryDirectory(prefix="mailganer-") as folder:
        path = Path(folder) / "empty.sqlite"
        engine = make_engine(f"sqlite:///{path}")
        migrate(engine, revision)
        engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            things = _objects(connection)
            tables = sorted(each.name for each in things if each.kind == "table")
            return Schema(things, {table: _columns(connection, table) for table in tables})


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(
        name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    )


def _objects(connection: sqlite3.Connection) -> dict[SchemaObject, Counter[str]]:
    """Return each schema object with the unordered parts of its definition.

    Unordered, because columns added later stand at the end.
    """
    return {
        SchemaObject(kind, name): Counter(re.sub(r'[\s"`\[\]]+', "", sql or "").lower().split(","))
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema")
        if not (kind == "table" and name in _OF_SQLITE)
    }


def require_columns(columns: Mapping[str, list[str]], revision: str) -> None:
    """Raise ``BackupError`` unless these are the tables and columns of that version."""
    known = dict(schema_of(revision).columns)
    known.pop("alembic_version")
    for table in sorted(known.keys() | columns.keys()):
        if sorted(columns.get(table, ())) != sorted(known.get(table, ())) or table not in known:
            raise BackupError(f"Table {table!r} of this backup is not that of its version ({revision}).")


def require_sqlite(database: Path, revision: str) -> None:
    """Raise ``BackupError`` unless the file is an intact database with the schema of that version."""
    try:
        with closing(sqlite3.connect(_as_uri(database), uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            require_known(connection, revision)
            (found,) = connection.execute("PRAGMA quick_check").fetchone()
            at = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise BackupError(f"{database} cannot be read: {error}.") from error
    if found != "ok":
        raise BackupError(f"{database} is damaged: {found}.")
    if at != [(revision,)]:
        raise BackupError(f"{database} has not the schema that the backup names ({revision}).")


def require_known(connection: sqlite3.Connection, revision: str) -> None:
    """Raise ``BackupError`` for the first table, index, view or trigger not of that version."""
    known, found = schema_of(revision).things, _objects(connection)
    for thing in sorted(known.keys() | found.keys()):
        if known.get(thing) != found.get(thing):
            raise BackupError(
                f"The database has a {thing.kind} {thing.name!r} that Mailganer does not know."
                if thing not in known
                else f"The {thing.kind} {thing.name!r} of the database is missing or not that of its version."
            )


def _as_uri(path: Path) -> str:
    """Return a URI that opens a database as immutable: SQLite neither locks it nor looks for a log."""
    return f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
