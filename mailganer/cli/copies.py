"""A backup as a folder: the database, the uploaded files, and what is needed to check them.

``manifest.json`` is written last: a folder without one is an unfinished backup. The secret key is not in it,
only a fingerprint of each key and how many stored passwords need it.
"""

import gzip
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, Engine, inspect, text

from ..db import OUT_OF_REACH
from ..errors import MailganerError
from ..migrations import current, newest
from ..models import metadata
from ..vault import Vault

FORMAT = 1
MANIFEST = "manifest.json"
SQLITE = "database.sqlite"
TABLES = "tables"
UPLOADS = "uploads"
LOST = "no key"  # instead of a fingerprint, of passwords that no key opened when they were backed up


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    format: int
    program: str
    schema: str
    database: str  # "sqlite" or "postgresql"
    created_at: str
    accounts: int
    keys: dict[str, int]  # fingerprint of a secret key -> stored passwords that it opens
    columns: dict[str, list[str]]  # of PostgreSQL's tables
    files: dict[str, str]  # path in the folder -> SHA-256

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.created_at)


class BackupError(MailganerError):
    """A backup that cannot be made or put back."""


def fingerprint(key: str) -> str:
    """Return what tells one secret key from another and opens nothing."""
    derived = HKDF(hashes.SHA256(), length=8, salt=None, info=b"mailganer backup").derive(key.encode())
    return derived.hex()


# --- making one


def make(engine: Engine, secret_keys: Iterable[str], uploads: Path, folder: Path, now: datetime) -> Manifest:
    """Write a backup into ``folder``, which is made. Sending and imports may go on meanwhile."""
    schema = current(engine)
    if schema != newest():
        raise BackupError("The database has not the schema of this program. Run: mailganer migrate")
    _make_folder(folder)
    kind = engine.dialect.name
    _copy_uploads(uploads, folder / UPLOADS)  # before the database: an import may end and remove its file
    if kind == "sqlite":
        columns: dict[str, list[str]] = {}
        accounts, keys = _copy_sqlite(engine, folder / SQLITE, tuple(secret_keys))
    else:
        columns, accounts, keys = _copy_tables(engine, folder / TABLES, tuple(secret_keys))
    _copy_uploads(uploads, folder / UPLOADS)  # and after it: one may have begun
    manifest = Manifest(
        format=FORMAT,
        program=version("mailganer"),
        schema=schema,
        database=kind,
        created_at=now.isoformat(),
        accounts=accounts,
        keys=keys,
        columns=columns,
        files={str(path.relative_to(folder)): _digest(path) for path in _files(folder)},
    )
    _write(folder / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def _make_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is there already and not empty. Name a new folder.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # stored passwords and everybody's addresses


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
        copy.execute("PRAGMA journal_mode=DELETE")  # one file
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
    """PostgreSQL's own COPY of each table, all of one snapshot."""
    folder.mkdir()
    columns: dict[str, list[str]] = {}
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with reading.connect() as connection:
        for table in metadata.sorted_tables:
            columns[table.name] = [column.name for column in table.columns]
            _copy_out(connection, table.name, columns[table.name], folder / f"{table.name}.copy.gz")
        accounts = connection.scalar(text("SELECT count(*) FROM account")) or 0
        rows = connection.execute(text("SELECT account_id, secrets FROM sender"))
        return columns, accounts, _keys(rows, secret_keys)


def _copy_out(connection: Connection, table: str, columns: list[str], target: Path) -> None:
    cursor = connection.connection.cursor()
    say = f"COPY {_named(table, columns)} TO STDOUT"
    with gzip.open(target, "wb", compresslevel=5) as file, closing(cursor), cursor.copy(say) as copy:
        for piece in copy:
            file.write(piece)


def _named(table: str, columns: Iterable[str]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f'"{table}" ({names})'


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


# --- reading one


def read(folder: Path) -> Manifest:
    """Return the manifest of a backup that is whole. Raises ``BackupError``."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupError(f"{folder} is no backup, or one that was not finished: no {MANIFEST}.") from None
    except ValueError:
        raise BackupError(f"{folder / MANIFEST} cannot be read.") from None
    if found.get("format") != FORMAT or found["schema"] > newest():
        raise BackupError(
            f"This backup was made by Mailganer {found.get('program')}, which is newer than this program."
        )
    manifest = Manifest(**found)
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            raise BackupError(f"{path} is missing or damaged.")
    return manifest


def check_keys(manifest: Manifest, secret_keys: Iterable[str]) -> None:
    """Raises ``BackupError`` when stored passwords could not be read afterwards."""
    ours = {fingerprint(key) for key in secret_keys}
    needed = {name: number for name, number in manifest.keys.items() if number and name != LOST}
    missing = sum(number for name, number in needed.items() if name not in ours)
    if missing:
        raise BackupError(
            f"{missing} stored passwords of this backup were written with a secret key that is not among "
            "those of this installation. Put it behind the present one in mailganer.secret_key (SECRET_KEY)."
        )


# --- putting one back


def is_in_use(engine: Engine) -> bool:
    """Whether the database holds an account: putting a backup back would remove it."""
    return inspect(engine).has_table("account") and bool(_number(engine, "account"))


def _number(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0  # noqa: S608 - our own name


def put_tables(connection: Connection, folder: Path, columns: Mapping[str, list[str]]) -> None:
    """Fill the empty tables of PostgreSQL, and let their numbers go on behind the highest."""
    for table in metadata.sorted_tables:
        if table.name not in columns:
            continue
        connection.execute(text(f'DELETE FROM "{table.name}"'))  # noqa: S608 - our own name
        _copy_in(connection, table.name, columns[table.name], folder / TABLES / f"{table.name}.copy.gz")
        for name in columns[table.name]:
            sequence = connection.scalar(
                text("SELECT pg_get_serial_sequence(:table, :name)"), {"table": table.name, "name": name}
            )
            if sequence:
                connection.execute(
                    text(
                        f'SELECT setval(:sequence, GREATEST(1, max("{name}")), max("{name}") IS NOT NULL) '  # noqa: S608
                        f'FROM "{table.name}"'
                    ),
                    {"sequence": sequence},
                )


def _copy_in(connection: Connection, table: str, columns: list[str], source: Path) -> None:
    cursor = connection.connection.cursor()
    say = f"COPY {_named(table, columns)} FROM STDIN"
    with gzip.open(source, "rb") as file, closing(cursor), cursor.copy(say) as copy:
        while piece := file.read(1 << 16):
            copy.write(piece)


def pause_all(connection: Connection) -> None:
    """Nothing is sent of a copy whose schema is older than the program, before it is migrated and held."""
    due = "status = 'sending' OR (status = 'scheduled' AND send_at <= now())"
    connection.execute(text(f"UPDATE campaign SET status = 'paused' WHERE {due}"))  # noqa: S608


def empty(engine: Engine) -> None:
    """Remove every table of ours from PostgreSQL. Raises ``BackupError`` while somebody uses them."""
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            for table in (*reversed(metadata.sorted_tables), "alembic_version"):
                name = table if isinstance(table, str) else table.name
                connection.execute(text(f'DROP TABLE IF EXISTS "{name}" CASCADE'))
    except OUT_OF_REACH as error:
        raise BackupError("Somebody uses this database. Stop web, workers and beat first.") from error


def put_uploads(folder: Path, uploads: Path) -> None:
    """Copy the uploaded files back; those that are there stay."""
    if (folder / UPLOADS).is_dir():
        uploads.mkdir(parents=True, exist_ok=True)
        for path in (folder / UPLOADS).iterdir():
            shutil.copy2(path, uploads / path.name)


# --- files


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
