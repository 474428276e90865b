"""A backup as a folder: the database, the uploaded files, and what is needed to check them.

``manifest.json`` is written last: a folder without one is an unfinished backup. The secret key is not
included, only a fingerprint of each key and how many stored passwords need it.
"""

import gzip
import os
import shutil
import sqlite3
import stat
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, Engine, column, delete, func, inspect, select, table, text

from .. import __version__
from ..db import OUT_OF_REACH
from ..migrations import current, newest
from ..models import Account, Sender, metadata
from ..vault import Vault
from .copied_schema import require_columns, require_known, require_sqlite
from .manifest import (
    FORMAT,
    LOST,
    MANIFEST,
    SQLITE,
    TABLES,
    UPLOADS,
    BackupError,
    Manifest,
    digest,
    files_in,
    read,
    require_data,
)

if TYPE_CHECKING:
    from psycopg.sql import Composed

__all__ = ["LOST", "MANIFEST", "UPLOADS", "BackupError", "Manifest", "read"]


def fingerprint(key: str) -> str:
    """Return a value that identifies a secret key and reveals nothing about it."""
    derived = HKDF(hashes.SHA256(), length=8, salt=None, info=b"mailganer backup").derive(key.encode())
    return derived.hex()


# --- creating a backup


def make(engine: Engine, secret_keys: Iterable[str], uploads: Path, folder: Path, now: datetime) -> Manifest:
    """Write a backup into ``folder``, which is created. Sending and imports may continue meanwhile."""
    schema = current(engine)
    if schema != newest():
        raise BackupError("The database schema does not match this version. Run: mailganer migrate")
    _make_folder(folder)
    kind = engine.dialect.name
    _copy_uploads(uploads, folder / UPLOADS)  # before the database: an import may end and remove its file
    if kind == "sqlite":
        columns: dict[str, list[str]] = {}
        accounts, keys = _copy_sqlite(engine, folder / SQLITE, tuple(secret_keys))
    else:
        columns, accounts, keys = _copy_tables(engine, folder / TABLES, tuple(secret_keys))
    _copy_uploads(uploads, folder / UPLOADS)  # and after it: an import may have begun
    manifest = Manifest(
        format=FORMAT,
        program=__version__,
        schema=schema,
        database="sqlite" if kind == "sqlite" else "postgresql",
        created_at=now,
        accounts=accounts,
        keys=keys,
        columns=columns,
        files={name: digest(folder / name) for name in files_in(folder)},
    )
    _write(folder / MANIFEST, manifest.as_json())
    return manifest


def _make_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} already exists and is not empty. Choose a new folder.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # it holds stored passwords and all addresses


def _copy_uploads(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        try:
            if path.is_file() and not (target / path.name).exists():
                shutil.copy2(path, target / path.name)
        except FileNotFoundError:  # its import has just ended
            (target / path.name).unlink(missing_ok=True)


def _copy_sqlite(engine: Engine, target: Path, secret_keys: tuple[str, ...]) -> tuple[int, dict[str, int]]:
    source, copy = sqlite3.connect(str(engine.url.database), timeout=60), sqlite3.connect(target)
    with closing(source), closing(copy):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # a single file
        require_known(copy, newest())  # otherwise it could not be restored
        found = copy.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise BackupError(f"The database is damaged: {found}.")
        keys = _keys(copy.execute("SELECT account_id, secrets FROM sender"), secret_keys)
        accounts = copy.execute("SELECT count(*) FROM account").fetchone()[0]
    target.chmod(0o600)
    return accounts, keys


def _copy_tables(
    engine: Engine, folder: Path, secret_keys: tuple[str, ...]
) -> tuple[dict[str, list[str]], int, dict[str, int]]:
    """Copy each table with PostgreSQL's COPY, all in one snapshot."""
    folder.mkdir()
    columns: dict[str, list[str]] = {}
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with reading.connect() as connection:
        for each in metadata.sorted_tables:
            columns[each.name] = [column.name for column in each.columns]
            _copy_out(connection, each.name, columns[each.name], folder / f"{each.name}.copy.gz")
        accounts = connection.scalar(select(func.count()).select_from(Account)) or 0
        rows = connection.execute(select(Sender.account_id, Sender.secrets))
        return columns, accounts, _keys(rows, secret_keys)


def _copy_out(connection: Connection, name: str, columns: list[str], target: Path) -> None:
    cursor = connection.connection.cursor()
    say = _copy("COPY {} ({}) TO STDOUT", name, columns)
    with gzip.open(target, "wb", compresslevel=5) as file, closing(cursor), cursor.copy(say) as copy:
        for piece in copy:
            file.write(piece)


def _copy(say: LiteralString, name: str, columns: Iterable[str]) -> "Composed":
    from psycopg.sql import SQL, Identifier

    return SQL(say).format(Identifier(name), SQL(", ").join(map(Identifier, columns)))


def _keys(rows: Iterable[Any], secret_keys: tuple[str, ...]) -> dict[str, int]:
    vaults = {fingerprint(key): Vault((key,)) for key in secret_keys}
    found = dict.fromkeys(vaults, 0)
    for account_id, secrets in rows:
        if secrets is not None:
            name = next(
                (name for name, vault in vaults.items() if vault.opens(account_id, bytes(secrets))), LOST
            )
            found[name] = found.get(name, 0) + 1
    return found


# --- checking a backup


def check_keys(manifest: Manifest, secret_keys: Iterable[str]) -> None:
    """Raise ``BackupError`` when stored passwords could not be decrypted after a restore."""
    ours = {fingerprint(key) for key in secret_keys}
    needed = {name: number for name, number in manifest.keys.items() if number and name != LOST}
    missing = sum(number for name, number in needed.items() if name not in ours)
    if missing:
        raise BackupError(
            f"{missing} stored passwords of this backup were written with a secret key that is not among "
            "those of this installation. Put it behind the present one in mailganer.secret_key (SECRET_KEY)."
        )


# --- restoring a backup


def is_in_use(engine: Engine) -> bool:
    """Return whether the database holds an account, which a restore would remove."""
    if not inspect(engine).has_table(Account.__tablename__):
        return False
    with engine.connect() as connection:
        return connection.execute(select(Account.id).limit(1)).first() is not None


def require_fitting(folder: Path, manifest: Manifest, uploads: Path) -> None:
    """Raise ``BackupError`` for anything that could not be restored as it is, before anything is changed."""
    require_data(manifest)
    if manifest.database == "sqlite":
        require_sqlite(folder / SQLITE, manifest.revision)
    else:
        require_columns(manifest.columns, manifest.revision)
        for name in manifest.columns:
            _require_readable(_table_file(folder, name))
    for path in _uploads(folder):
        there = uploads / path.name
        if os.path.lexists(there) and not stat.S_ISREG(there.lstat().st_mode):
            raise BackupError(f"{there} is in the way of an uploaded file of the backup. Move it away.")


def _table_file(folder: Path, name: str) -> Path:
    return folder / TABLES / f"{name}.copy.gz"


def _require_readable(source: Path) -> None:
    try:
        with gzip.open(source, "rb") as file:
            while file.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise BackupError(f"{source} cannot be read: {error}.") from error


def put_tables(connection: Connection, folder: Path, columns: Mapping[str, list[str]]) -> None:
    """Fill the empty tables of PostgreSQL, and set their sequences to continue after the highest id.

    ``columns`` has the tables in the order in which they refer to each other, as the version that made the
    backup wrote them: an earlier one had other names. They must have been checked by ``require_fitting``.
    """
    for table_name, names in columns.items():
        there = table(table_name, *map(column, names))
        connection.execute(delete(there))
        _copy_in(connection, table_name, names, _table_file(folder, table_name))
        for name in names:
            sequence = connection.scalar(select(func.pg_get_serial_sequence(table_name, name)))
            if sequence:
                highest = func.max(there.c[name])
                connection.execute(
                    select(func.setval(sequence, func.greatest(1, highest), highest.is_not(None)))
                )


def _copy_in(connection: Connection, name: str, columns: list[str], source: Path) -> None:
    import psycopg

    cursor = connection.connection.cursor()
    say = _copy("COPY {} ({}) FROM STDIN", name, columns)
    try:
        with gzip.open(source, "rb") as file, closing(cursor), cursor.copy(say) as copy:
            while piece := file.read(1 << 16):
                copy.write(piece)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise BackupError(f"{source} cannot be put back: {error.diag.message_primary}.") from error


EARLIER_TABLES = ("letter", "departure", "hold", "answer", "tries", "tally")
"""Tables under the names that they had before version 0.2."""


def empty(connection: Connection) -> None:
    """Drop all our tables from PostgreSQL. Raise ``BackupError`` while another process uses them."""
    quote = connection.dialect.identifier_preparer.quote
    try:
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        names = (each.name for each in reversed(metadata.sorted_tables))
        for name in (*names, *EARLIER_TABLES, "alembic_version"):
            connection.execute(text(f"DROP TABLE IF EXISTS {quote(name)} CASCADE"))
    except OUT_OF_REACH as error:
        raise BackupError("The database is in use. Stop web, workers and beat first.") from error


def put_uploads(folder: Path, uploads: Path) -> None:
    """Copy the uploaded files back; existing files stay."""
    for path in _uploads(folder):
        uploads.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, uploads / path.name)


def _uploads(folder: Path) -> list[Path]:
    return [folder / name for name in files_in(folder) if name.startswith(f"{UPLOADS}/")]


# --- files


def _write(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
