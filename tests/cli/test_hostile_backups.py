"""An untrusted backup: anything unexpected in it is refused before anything is changed."""

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, inspect, select

from mailganer.cli.copied_schema import schema_of
from mailganer.cli.manifest import MANIFEST, SQLITE, UPLOADS, digest
from mailganer.migrations import current, newest
from mailganer.models import ApiToken, Campaign, FrozenEmail, metadata

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
Refused = Callable[[], str]


@pytest.fixture
def folder(command: Any, full: dict[str, int], tmp_path: Path) -> Path:
    assert command("backup", tmp_path / "copy")[0] == 0
    return tmp_path / "copy"


@pytest.fixture
def refused(
    command: Any, folder: Path, full: dict[str, int], session: Any, engine: Engine, settings: Any
) -> Refused:
    """Try to restore; return the output. The database and the data folder stay unchanged."""
    session.get_one(Campaign, full["draft"]).name = "changed since"
    session.commit()
    (settings.uploads / "a.csv").write_bytes(b"changed since")

    def run() -> str:
        engine.dispose()
        code, said = command("restore", folder, "--replace")
        assert (code, "Traceback" in said, said.count("\n")) == (1, False, 1), said
        assert session.get_one(Campaign, full["draft"]).name == "changed since"
        assert [each.name for each in settings.uploads.iterdir()] == ["a.csv"]
        assert (settings.uploads / "a.csv").read_bytes() == b"changed since"
        session.close()
        return str(said)

    return run


def change(folder: Path, **values: Any) -> None:
    found = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**found, **values}))


def list_again(folder: Path) -> None:
    """Forge a backup with correct digests."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    change(folder, files={path.relative_to(folder).as_posix(): digest(path) for path in files})


@postgresql_only
def test_names_of_a_backup_never_become_sql(
    folder: Path, refused: Refused, engine: Engine, tmp_path: Path
) -> None:
    columns = json.loads((folder / MANIFEST).read_text())["columns"]
    ran = tmp_path / "ran"
    hostile = f'id") FROM PROGRAM \'touch {ran}; echo\' WHERE false; COPY "account" ("id'
    for name in (hostile, f"id\") FROM PROGRAM 'touch {ran}' --", 'id"', "no_such_column", "id"):
        change(folder, columns={**columns, "account": [name]})
        assert "not valid" in (said := refused()) or "Table 'account'" in said, said
    change(folder, columns={**columns, "account": [*columns["account"], "id"]})
    assert "Table 'account' of this backup is not that of its version" in refused()
    for table in ("pg_authid", 'account"; DROP TABLE account; --'):
        change(folder, columns={**columns, table: ["id"]})
        refused()
    change(folder, columns={name: columns[name] for name in columns if name != "account"})
    refused()
    assert not ran.exists()
    assert inspect(engine).has_table("account")


@postgresql_only
def test_a_table_that_cannot_be_filled_leaves_the_old_database(folder: Path, refused: Refused) -> None:
    path = folder / "tables" / "sender.copy.gz"
    path.write_bytes(gzip.compress(b"no number\tand nothing else\n"))
    list_again(folder)
    assert "sender.copy.gz cannot be put back: " in refused()
    path.write_bytes(b"no gzip")
    list_again(folder)
    assert "sender.copy.gz cannot be read: " in refused()


@sqlite_only
def test_a_manifest_that_is_none_is_refused_with_a_sentence(folder: Path, refused: Refused) -> None:
    path = folder / MANIFEST
    kept = path.read_text()
    found = json.loads(kept)
    for content in (b"[]", b"1", b"null", b"{", b"\xff", b"[" * 100_000, b'"x"', b"{}"):
        path.write_bytes(content)
        assert MANIFEST in refused()
    for name in found:
        path.write_text(json.dumps({key: value for key, value in found.items() if key != name}))
        assert "not valid" in refused()
    for values in (
        {"evil": 1},
        {"schema": 12},
        {"schema": "0000"},
        {"schema": "../1"},
        {"format": "1"},
        {"format": True},
        {"program": 1},
        {"program": "\x1b[2J"},
        {"database": "mysql"},
        {"accounts": -1},
        {"accounts": "1"},
        {"keys": {"x": 1}},
        {"keys": []},
        {"columns": []},
        {"files": {}},
        {"files": []},
        {"files": {**found["files"], "../out": "0" * 64}},
        {"files": {**found["files"], "uploads/../../out": "0" * 64}},
        {"files": {**found["files"], "/etc/passwd": "0" * 64}},
        {"files": {SQLITE: "short"}},
    ):
        path.write_text(kept)
        change(folder, **values)
        assert "not valid" in (said := refused()) or "is not part of this backup" in said, values


@sqlite_only
def test_a_backup_of_an_impossible_time_is_refused(folder: Path, refused: Refused) -> None:
    soon = datetime.now(UTC) + timedelta(days=2)
    for moment in ("2000-01-01T00:00:00+00:00", "9999-12-31T00:00:00+00:00", soon.isoformat(), "yesterday"):
        change(folder, created_at=moment)
        assert "not valid" in refused(), moment
    for moment in ("2026-11-30T12:00:00", 1796000000, None, "0001-01-01T00:00:00+14:00"):
        change(folder, created_at=moment)
        assert "not valid" in refused(), moment


@sqlite_only
def test_only_regular_files_that_are_listed_are_put_back(
    folder: Path, refused: Refused, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0")
    upload = folder / UPLOADS / "a.csv"
    upload.unlink()
    upload.symlink_to(secret)
    list_again(folder)
    assert f"{upload} is no regular file." in refused()
    upload.unlink()
    upload.mkdir()
    assert f"{upload} is no regular file." in refused()
    upload.rmdir()
    upload.write_text("email\n")
    list_again(folder)
    (folder / UPLOADS / "b.csv").write_text("email\n")
    assert "b.csv is not part of this backup." in refused()
    (folder / UPLOADS / "b.csv").unlink()
    files = json.loads((folder / MANIFEST).read_text())["files"]
    change(folder, files={SQLITE: files[SQLITE]})
    assert "a.csv is not part of this backup." in refused()
    shutil.rmtree(folder / UPLOADS)
    (tmp_path / "elsewhere").mkdir()
    (folder / UPLOADS).symlink_to(tmp_path / "elsewhere")
    assert "uploads is no regular file." in refused()
    (folder / UPLOADS).unlink()
    (folder / SQLITE).rename(secret)
    (folder / SQLITE).symlink_to(secret)
    assert f"{SQLITE} is no regular file." in refused()


@sqlite_only
def test_a_folder_in_the_way_of_an_upload_is_seen_first(
    folder: Path, command: Any, settings: Any, session: Any, full: dict[str, int]
) -> None:
    (settings.uploads / "a.csv").unlink()
    (settings.uploads / "a.csv").mkdir()
    session.get_one(Campaign, full["draft"]).name = "changed since"
    session.commit()
    code, said = command("restore", folder, "--replace")
    assert (code, "a.csv is in the way of an uploaded file" in said) == (1, True), said
    assert session.get_one(Campaign, full["draft"]).name == "changed since"


@sqlite_only
def test_a_database_with_anything_beside_its_schema_is_refused(folder: Path, refused: Refused) -> None:
    path = folder / SQLITE
    kept = path.read_bytes()
    for script, said in (
        ("CREATE TRIGGER t AFTER INSERT ON account BEGIN DELETE FROM sender; END", "trigger 't'"),
        ("CREATE VIEW v AS SELECT * FROM sender", "view 'v'"),
        ("CREATE TABLE other (id INTEGER)", "table 'other'"),
        ("CREATE INDEX i ON account (upper(email))", "index 'i'"),
        ("ALTER TABLE account ADD COLUMN x TEXT AS (upper(email))", "table 'account' of the database is"),
        ("ALTER TABLE account ADD COLUMN x TEXT", "table 'account' of the database is"),
        ("DROP TABLE delay; CREATE VIEW delay AS SELECT 1", "of the database is missing"),
        ("UPDATE alembic_version SET version_num = '0001'", "has not the schema"),
    ):
        path.write_bytes(kept)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        list_again(folder)
        assert said in refused()
    path.write_bytes(b"no database" * 1000)
    list_again(folder)
    assert "cannot be read" in refused()
    path.write_bytes(kept[: len(kept) // 2])
    list_again(folder)
    assert SQLITE in refused()


@sqlite_only
def test_what_could_not_be_put_back_is_not_backed_up(
    command: Any, full: dict[str, int], engine: Engine, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(str(engine.url.database))) as connection:
        connection.execute("CREATE VIEW of_mine AS SELECT email FROM subscriber")
    code, said = command("backup", tmp_path / "copy")
    assert (code, "view 'of_mine' that Mailganer does not know" in said) == (1, True), said


def test_a_token_that_was_revoked_after_the_backup_stays_revoked(
    command: Any, full: dict[str, int], session: Any, engine: Engine, account: Any, tmp_path: Path, now: Any
) -> None:
    for number in range(2):
        session.add(
            ApiToken(account_id=account.id, name=str(number), digest=bytes([number]) * 32, created_at=now)
        )
    assert command("backup", tmp_path / "copy")[0] == 0
    session.delete(session.scalars(select(ApiToken)).first())
    session.commit()
    engine.dispose()
    code, said = command("restore", tmp_path / "copy", "--replace")
    assert (code, "2 API tokens have been revoked" in said, "All users must sign in again" in said) == (
        0,
        True,
        True,
    )
    assert session.scalars(select(ApiToken)).all() == []
    session.commit()
    engine.dispose()
    code, said = command("restore", tmp_path / "copy", "--replace", "--keep-tokens")
    assert (code, "2 API tokens work again" in said) == (0, True), said
    assert len(session.scalars(select(ApiToken)).all()) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_schema_is_known_without_the_database(engine: Engine) -> None:
    from mailganer.cli.copied_schema import schema_of

    known = {name: set(columns) for name, columns in schema_of(newest()).columns.items()}
    known.pop("alembic_version")
    assert known == {table.name: {each.name for each in table.columns} for table in metadata.sorted_tables}


def as_of(revision: str, folder: Path) -> dict[str, list[str]]:
    """Give the tables of a backup the names and columns that they had in an earlier version."""
    renames = import_module("mailganer.migrations.versions.0014_standard_names")
    names = {new: old for old, new in renames.TABLES.items()}
    older = schema_of(revision).columns
    columns: dict[str, list[str]] = {}
    for table, now in json.loads((folder / MANIFEST).read_text())["columns"].items():
        path, name = folder / "tables" / f"{table}.copy.gz", names.get(table, table)
        if name not in older:  # a table that came later
            path.unlink()
            continue
        before = {new: old for of, (old, new) in renames.COLUMNS.items() if of == table}
        then = [before.get(column, column) for column in now]
        kept = [place for place, column in enumerate(then) if column in older[name]]
        lines = [line.split(b"\t") for line in gzip.decompress(path.read_bytes()).splitlines()]
        content = b"".join(b"\t".join(line[place] for place in kept) + b"\n" for line in lines)
        path.unlink()
        path.with_name(f"{name}.copy.gz").write_bytes(gzip.compress(content))
        columns[name] = [then[place] for place in kept]
    return columns


@postgresql_only
def test_a_postgresql_backup_of_an_older_schema_is_migrated(
    command: Any, folder: Path, full: dict[str, int], engine: Engine, session: Any
) -> None:
    frozen = session.scalar(select(func.count()).select_from(FrozenEmail))
    columns = as_of("0011", folder)
    change(folder, columns=columns, schema="0011")
    list_again(folder)
    session.get_one(Campaign, full["draft"]).name = "changed since"
    session.commit()
    engine.dispose()
    code, said = command("restore", folder, "--replace")
    assert code == 0, said
    assert session.get_one(Campaign, full["draft"]).name == "3"
    assert current(engine) == newest()
    assert session.scalar(select(func.count()).select_from(FrozenEmail)) == frozen > 0
