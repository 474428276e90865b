"""A restored backup has every row, and emails that may have been sent since are not sent again."""

import json
import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select

from mailganer import cli
from mailganer.cli import backup, copies
from mailganer.cli.common import counted
from mailganer.cli.copies import MANIFEST, fingerprint
from mailganer.db import make_engine
from mailganer.i18n.translator import translate_sentence
from mailganer.migrations import current, migrate, newest
from mailganer.models import (
    Account,
    Campaign,
    Delay,
    Heartbeat,
    RestoreMark,
    Sender,
    Subscriber,
    WebSession,
    metadata,
)
from tests.faults.child import dies, end_of, fork

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def rows_of(engine: Engine) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in metadata.sorted_tables
        }


def test_every_row_and_file_comes_back_and_what_may_have_been_sent_asks(
    command: Any, full: dict[str, int], engine: Engine, session: Any, settings: Any, tmp_path: Path, make: Any
) -> None:
    before = rows_of(engine)
    assert command("backup", tmp_path / "copy")[0] == 0
    for row in session.scalars(select(Subscriber)):
        row.email = row.email_key = f"other{row.id}@example.org"
    make.account("later@example.com")
    session.commit()
    (settings.uploads / "a.csv").unlink()
    engine.dispose()

    code, said = command("restore", tmp_path / "copy", "--replace")
    assert (code, "2 campaigns are paused" in said) == (0, True), said
    after = rows_of(engine)
    assert {name for name in before if before[name] != after[name]} == {"campaign", "delay"}
    assert (settings.uploads / "a.csv").read_bytes().startswith(b"email")
    status = {name: session.get_one(Campaign, number).status.value for name, number in full.items()}
    assert status == {"on_its_way": "paused", "due": "paused", "later": "scheduled", "draft": "draft"}
    reason = session.get_one(Campaign, full["on_its_way"]).paused_reason
    assert "was restored from a backup of" in translate_sentence(reason)
    assert len(session.scalars(select(Delay)).all()) == 2
    made = make.account("new@example.com")  # new ids follow the restored ones
    assert made.id > max(session.scalars(select(Account.id).where(Account.id != made.id)))


def test_a_session_that_ended_after_the_backup_stays_ended(
    command: Any, full: dict[str, int], session: Any, engine: Engine, tmp_path: Path
) -> None:
    account = session.scalars(select(Account)).first()
    session.add(WebSession(key=b"k" * 32, account_id=account.id, created_at=account.created_at))
    assert command("backup", tmp_path / "copy")[0] == 0
    engine.dispose()
    assert command("restore", tmp_path / "copy", "--replace")[0] == 0
    with engine.connect() as connection:
        assert connection.execute(select(WebSession.__table__)).all() == []
        assert connection.execute(select(Account.__table__)).all()


@one_database
@pytest.mark.parametrize("length", [100, 4096, 12_000])
def test_a_damaged_database_is_replaced_when_it_is_asked_for_and_kept(
    command: Any, copied: Path, engine: Engine, length: int
) -> None:
    database = Path(str(engine.url.database))
    content = b"x" * length if length < 4096 else database.read_bytes()[:length]
    database.write_bytes(content)
    code, said = command("restore", copied)
    assert code == 1
    assert "The database is damaged" in said
    assert "To replace it, run: mailganer restore --replace" in said
    assert database.read_bytes() == content
    code, said = command("restore", copied, "--replace")
    assert code == 0, said
    assert name_of_draft(database) == "3"
    kept = sorted(each.read_bytes() for each in database.parent.glob("*.replaced-*"))
    assert content in kept


def test_parts_that_ran_when_the_backup_was_made_do_not_run_on_the_new_machine(
    command: Any, full: dict[str, int], session: Any, engine: Engine, tmp_path: Path
) -> None:
    for name in ("beat", "clock 12", "worker old:7"):
        session.add(Heartbeat(name=name, seen_at=datetime.now(UTC)))
    session.add(RestoreMark(name="abc", moment=datetime.now(UTC)))
    assert command("backup", tmp_path / "copy")[0] == 0
    session.execute(delete(Heartbeat))
    session.execute(delete(RestoreMark))
    session.commit()
    engine.dispose()
    for _time in range(2):  # also at once after the first
        code, said = command("restore", tmp_path / "copy", "--replace")
        assert code == 0, said
        engine.dispose()
    with engine.connect() as connection:
        assert connection.scalars(select(Heartbeat.__table__.c.name)).all() == []
        assert connection.scalars(select(RestoreMark.__table__.c.name)).all() == ["abc"]


def test_it_is_put_into_an_empty_database_without_asking(
    command: Any,
    full: dict[str, int],
    databases: Any,
    database_url: str,
    ini: Path,
    tmp_path: Path,
    vault: Any,
) -> None:
    assert command("backup", tmp_path / "copy")[0] == 0
    url = databases.fresh("sqlite" if database_url.startswith("sqlite") else "postgresql", empty=True)
    ini.write_text(ini.read_text().replace(database_url, url))
    code, said = command("restore", tmp_path / "copy")
    assert code == 0, said
    there = make_engine(url)
    assert current(there) == newest()
    with there.connect() as connection:
        account_id, secrets = connection.execute(select(Sender.account_id, Sender.secrets)).one()
    there.dispose()
    assert vault.decrypt(account_id, secrets) == {"password": "secret"}
    databases.drop(url)


@pytest.fixture
def copied(command: Any, full: dict[str, int], session: Any, engine: Engine, tmp_path: Path) -> Path:
    """A backup, and a database changed since, with its last change only in SQLite's log."""
    folder = tmp_path / "copy"
    assert command("backup", folder)[0] == 0
    session.get_one(Campaign, full["draft"]).name = "changed since"
    session.commit()
    file, log = (Path(f"{engine.url.database}{end}") for end in ("", "-wal"))
    kept = file.read_bytes(), log.read_bytes()
    session.close()
    engine.dispose()
    for path, content in zip((file, log), kept, strict=True):  # as a killed process leaves them
        path.write_bytes(content)
    return folder


def name_of_draft(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (name,) = connection.execute("SELECT name FROM campaign WHERE status = 'draft'").fetchone()
    return str(name)


@one_database
@pytest.mark.parametrize(
    ("owner", "name", "nth", "after", "expected"),
    [
        (copies, "put_uploads", 1, True, "changed since"),
        (shutil, "copyfile", 1, True, "changed since"),
        (backup, "_sync", 1, True, "changed since"),
        (backup, "_empty_log", 1, True, "changed since"),
        (backup, "_keep_old", 1, False, "changed since"),
        (Path, "hardlink_to", 1, True, "changed since"),
        (os, "replace", 1, False, "changed since"),
        (os, "replace", 1, True, "3"),
        (backup, "_remove", 2, False, "3"),
    ],
)
def test_a_kill_at_any_step_leaves_the_old_database_or_the_new_one(
    command: Any,
    copied: Path,
    engine: Engine,
    owner: Any,
    name: str,
    nth: int,
    after: bool,
    expected: str,
) -> None:
    def killed() -> None:
        dies(owner, name, nth, after=after)
        cli.run(["restore", str(copied), "--replace"])

    assert end_of(fork(killed)) == -signal.SIGKILL
    database = Path(str(engine.url.database))
    assert name_of_draft(database) == expected
    code, said = command("restore", copied, "--replace")
    assert code == 0, said
    assert name_of_draft(database) == "3"
    kept = sorted(database.parent.glob("*.replaced-*"))
    assert "changed since" in [name_of_draft(each) for each in kept]
    left = {each.name.removeprefix(database.name) for each in database.parent.glob(f"{database.name}*")}
    assert {each for each in left if not each.startswith(".replaced-")} <= {"", "-wal", "-shm"}


@one_database
def test_where_files_have_one_name_only_the_old_database_is_copied(
    command: Any, copied: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert command("restore", copied, "--replace")[0] == 0
    database = Path(str(engine.url.database))
    (kept,) = database.parent.glob("*.replaced-*")
    assert (name_of_draft(database), name_of_draft(kept)) == ("3", "changed since")


@one_database
def test_a_database_that_another_program_reads_stays(command: Any, copied: Path, engine: Engine) -> None:
    database = Path(str(engine.url.database))
    with closing(sqlite3.connect(database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM campaign").fetchone()
        code, said = command("restore", copied, "--replace")
    assert (code, said) == (1, f"Another program uses {database}. Stop it first.\n")
    assert name_of_draft(database) == "changed since"
    assert not list(database.parent.glob("*.restoring*"))


@pytest.mark.parametrize(("number", "said"), [(0, "0 accounts"), (1, "1 account"), (2, "2 accounts")])
def test_one_account_is_not_several(number: int, said: str) -> None:
    assert counted(number, "account") == said


def test_a_database_that_is_in_use_is_not_replaced_by_mistake(
    command: Any, full: dict[str, int], session: Any, engine: Engine, tmp_path: Path
) -> None:
    assert command("backup", tmp_path / "copy")[0] == 0
    before = rows_of(engine)
    engine.dispose()
    code, said = command("restore", tmp_path / "copy")
    assert (code, "--replace" in said) == (1, True)
    session.add(Heartbeat(name="beat", seen_at=datetime.now(UTC)))
    code, said = command("restore", tmp_path / "copy", "--replace")
    assert (code, "are running. Stop them first." in said) == (1, True)
    assert re.search(r"The last sign of one, “beat”, is \d+ s old\.", said)
    after = rows_of(engine)
    assert {name for name in before if before[name] != after[name]} == {"heartbeat"}


def test_without_the_key_of_its_passwords_nothing_is_put_back(
    command: Any, full: dict[str, int], engine: Engine, ini: Path, settings: Any, tmp_path: Path
) -> None:
    assert command("backup", tmp_path / "copy")[0] == 0
    kept = json.loads((tmp_path / "copy" / MANIFEST).read_text())
    (old,) = settings.secret_keys
    assert kept["keys"] == {fingerprint(old): 1}
    assert old not in (tmp_path / "copy" / MANIFEST).read_text()
    other = "another secret key of this installation".replace(" ", "-")
    ini.write_text(ini.read_text().replace(old, other))
    code, said = command("restore", tmp_path / "copy", "--replace")
    assert code == 1
    assert "1 stored passwords of this backup were written with a secret key that is not among those" in said
    ini.write_text(ini.read_text().replace(other, f"{other} {old}"))
    engine.dispose()
    assert command("restore", tmp_path / "copy", "--replace")[0] == 0


@one_database
def test_a_backup_that_is_not_whole_is_refused(
    command: Any, full: dict[str, int], session: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    assert command("backup", folder)[0] == 0
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert "not empty" in command("backup", folder)[1]
    with (folder / "uploads" / "a.csv").open("ab") as file:
        file.write(b"!")
    assert "a.csv is missing or damaged." in command("restore", folder, "--replace")[1]
    kept = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(kept.replace('"sqlite"', '"postgresql"'))
    (folder / "uploads" / "a.csv").write_bytes(b"email\nanna@example.com\n")
    assert "this installation has sqlite" in command("restore", folder, "--replace")[1]
    (folder / MANIFEST).write_text(kept.replace(f'"{newest()}"', '"9999"'))
    assert "newer than this program" in command("restore", folder, "--replace")[1]
    (folder / MANIFEST).unlink()
    assert "is not a complete backup" in command("restore", folder, "--replace")[1]
    assert session.scalar(select(Account.id)) is not None


@one_database
def test_a_backup_of_an_older_schema_is_migrated(
    command: Any, full: dict[str, int], engine: Engine, databases: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    assert command("backup", folder)[0] == 0
    url = databases.fresh("sqlite", empty=True)
    older = make_engine(url)
    migrate(older, "0005")
    older.dispose()
    (folder / "database.sqlite").write_bytes(Path(url.removeprefix("sqlite:///")).read_bytes())
    kept = json.loads((folder / MANIFEST).read_text())
    from mailganer.cli.manifest import digest

    kept["schema"], kept["files"]["database.sqlite"] = "0005", digest(folder / "database.sqlite")
    (folder / MANIFEST).write_text(json.dumps(kept))
    engine.dispose()
    code, said = command("restore", folder, "--replace")
    assert code == 0, said
    assert current(engine) == newest()
