"""Workers and web processes with different settings are reported, whether or not they run ticks."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from mailganer import broker
from mailganer.cli import doctor
from mailganer.db import utcnow
from mailganer.migrations import newest
from mailganer.models import Heartbeat
from mailganer.sending import process_reports
from mailganer.sending.process_reports import PREFIX, ProcessReport, config_mismatches
from mailganer.settings import ENVIRONMENT, Settings
from tests.sending.processes import Parts
from tests.support.ports import free_port, wait_until

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
one_broker = pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
HERE, SECRET, OTHER_KEY = socket.gethostname(), "0123456789abcdef" * 4, "f" * 64
OFTEN = """
from mailganer.sending import process_reports
process_reports.EVERY = 1.5
from mailganer.cli import main
main()
"""
NO_TICKS = ("--queues", "nothing")  # a worker that receives none


@pytest.fixture
def elsewhere(ini_values: dict[str, str], broker_url: str, tmp_path: Path) -> Iterator[Callable[..., Parts]]:
    """Parts of the same installation with another data folder, and further keys that differ."""
    made: list[Parts] = []

    def make(**keys: str) -> Parts:
        folder = tmp_path / f"elsewhere{len(made)}"
        folder.mkdir()
        own = {f"mailganer.{name}": value for name, value in keys.items()}
        fixed = {"celery.broker_url": broker_url, "mailganer.data_dir": str(folder / "var")}
        made.append(Parts(folder, ini_values | fixed | own))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def reports(sessions: sessionmaker[Session]) -> Callable[[], list[str]]:
    """The names of the reports in the database, without the random ids."""

    def read() -> list[str]:
        with sessions() as session:
            names = session.scalars(select(Heartbeat.name).where(Heartbeat.name.startswith(PREFIX)))
            return sorted(name.removeprefix(PREFIX).rpartition(" ")[0] for name in names)

    return read


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}


def messages_in(broker_url: str) -> int:
    backlog = broker.backlog(broker_url)
    return backlog.messages if backlog else 0


def doctor_says(settings: Settings, about: str) -> list[str]:
    found = dict(doctor.CHECKS)["workers"](settings)
    return [sentence for well, sentence in found if not well and sentence.startswith(about)]


@one_broker
def test_a_worker_that_never_runs_a_tick_is_named_until_it_is_stopped(
    elsewhere: Any, settings: Settings, session: Session, app: Any, reports: Any
) -> None:
    wrong = elsewhere(secret_key=OTHER_KEY)
    wrong.start("worker", options=NO_TICKS)
    name = f"worker {HERE}:{wrong.pid('worker')}"
    wait_until(reports, 60, what="a report")
    assert reports() == [name]  # one of the whole pool
    other_folder, other_key = doctor_says(settings, name)
    assert "another data folder" in other_folder
    assert "mailganer.data_dir" in other_folder
    assert "another secret key" in other_key
    assert OTHER_KEY not in other_key
    near = app.get("/healthz", status=503, extra_environ={"REMOTE_ADDR": "127.0.0.1"}).json
    assert near["down"] == ["worker"]
    assert name in near["worker"]
    assert "another" in near["worker"]
    far = app.get("/healthz", status=503, extra_environ={"REMOTE_ADDR": "8.8.8.8"}).json
    assert HERE not in far["worker"]
    assert app.get("/healthz?part=web", status=200).json["status"] == "ok"
    assert not session.scalars(select(Heartbeat.name).where(~Heartbeat.name.startswith(PREFIX))).all()
    session.rollback()  # it holds the lock of an SQLite database

    assert wrong.ask("worker") == 0
    assert reports() == []
    assert doctor_says(settings, "worker ") == []
    assert app.get("/healthz", status=200).json["worker"] == "not started"


@sqlite_only
@one_broker
def test_a_web_process_with_another_folder_and_key_is_named_until_it_is_stopped(
    elsewhere: Any, settings: Settings, session: Session, app: Any, reports: Any
) -> None:
    wrong = elsewhere(secret_key=OTHER_KEY, listen=f"127.0.0.1:{free_port()}")
    wrong.start("web")
    name = f"web {HERE}:{wrong.pid('web')}"
    wait_until(reports, 60, what="a report")
    other_folder, other_key = doctor_says(settings, name)
    assert "another data folder" in other_folder
    assert "another secret key" in other_key
    assert app.get("/healthz", status=503).json["down"] == ["web"]
    assert wrong.ask("web") == 0
    assert reports() == []
    assert app.get("/healthz", status=200).json["down"] == []


@sqlite_only
@one_broker
def test_a_worker_is_reported_on_when_the_process_that_did_it_is_killed(
    elsewhere: Any, session: Session, broker_url: str
) -> None:
    ini = elsewhere().ini
    row = select(Heartbeat).where(Heartbeat.name.startswith(PREFIX)).execution_options(populate_existing=True)

    def seen() -> Any:
        found = session.scalars(row).one_or_none()
        session.rollback()  # it holds the lock of an SQLite database
        return found and found.seen_at

    command = [sys.executable, "-c", OFTEN, "worker", str(ini), *NO_TICKS]
    with subprocess.Popen(command, env=_environment(), start_new_session=True) as worker:
        try:
            wait_until(seen, 60, what="a report")
            wait_until(
                lambda: messages_in(broker_url), 60, what="the tick that a worker asks for when it is ready"
            )
            for child in psutil.Process(worker.pid).children():
                child.kill()
            last = seen()
            wait_until(lambda: seen() > last, 40, what="the report of a new process of the pool")
        finally:
            worker.kill()


@sqlite_only
def test_a_killed_worker_is_forgotten_soon_and_its_place_taken_without_a_word(
    settings: Settings, session: Session, engine: Engine, tmp_path: Path
) -> None:
    wrong = ProcessReport("worker", replace(settings, data_dir=tmp_path / "elsewhere"))
    right = ProcessReport("worker", settings)  # the same host and process number, as in two containers
    for report in (wrong, right):
        report.write(engine)
    assert len(doctor_says(settings, f"worker {HERE}:{os.getpid()}")) == 1
    late = utcnow() - timedelta(seconds=31)
    session.execute(update(Heartbeat).where(Heartbeat.name == wrong.name).values(seen_at=late))
    session.commit()
    assert doctor_says(settings, "worker ") == []


@sqlite_only
def test_reports_of_killed_processes_do_not_pile_up(
    settings: Settings, session: Session, reports: Any
) -> None:
    gone = [
        Heartbeat(name=f"{PREFIX}worker gone:{number} a", seen_at=utcnow() + timedelta(minutes=6) * sign)
        for number in range(50)
        for sign in [(-1) ** number]
    ]
    session.add_all([*gone, Heartbeat(name="beat", seen_at=utcnow() - timedelta(hours=2))])
    session.commit()
    report = ProcessReport("web", settings)
    report.start()
    wait_until(lambda: len(reports()) == 1, what="the others to be forgotten")
    report.end()
    assert reports() == []
    session.rollback()
    assert session.scalars(select(Heartbeat.name)).all() == ["beat"]


def test_nothing_is_written_under_another_schema_and_the_report_follows_when_it_fits(
    settings: Settings, engine: Engine, reports: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_reports, "EVERY", 0.05)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    report = ProcessReport("worker", settings)
    report.write(engine)
    report.start()
    assert reports() == []
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": newest()})
    wait_until(reports, what="a report")
    report.end()
    assert reports() == []


@sqlite_only
def test_a_database_that_is_away_at_the_start_is_reported_to_when_it_is_there(
    settings: Settings, engine: Engine, reports: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_reports, "EVERY", 0.05)
    tried = []
    real = ProcessReport.write

    def away(self: ProcessReport, engine: Engine) -> None:
        tried.append(engine)
        if len(tried) < 4:
            raise RuntimeError("the database is away")
        real(self, engine)

    monkeypatch.setattr(ProcessReport, "write", away)
    report = ProcessReport("worker", settings)
    report.start()
    wait_until(reports, what="a report")
    report.end()


@sqlite_only
def test_a_locked_database_holds_up_neither_start_nor_end_of_a_part(
    settings: Settings, engine: Engine, session: Session
) -> None:
    session.close()
    path = settings.database_url.removeprefix("sqlite:///")
    report = ProcessReport("web", settings)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = monotonic()
        report.start()
        report.end()
        assert monotonic() - begun < process_reports.FAREWELL + 5  # and not the 30 s of a writer
        other.execute("ROLLBACK")


@sqlite_only
@pytest.mark.parametrize(
    ("theirs", "ours", "differs"),
    [
        ((SECRET,), (SECRET,), False),
        ((SECRET, OTHER_KEY), (SECRET,), False),  # the first step of a rotation
        ((SECRET, OTHER_KEY), (OTHER_KEY, SECRET), False),  # the second
        ((SECRET,), (OTHER_KEY, SECRET), True),  # cannot read what we write
        ((OTHER_KEY, SECRET), (SECRET,), True),  # writes what we cannot read
    ],
)
def test_keys_differ_when_one_cannot_read_what_the_other_writes(
    settings: Settings, engine: Engine, session: Session, theirs: Any, ours: Any, differs: bool
) -> None:
    ProcessReport("worker", replace(settings, secret_keys=theirs)).write(engine)
    found = config_mismatches(session, replace(settings, secret_keys=ours), utcnow())
    assert [each.what for each in found] == ["secret key"] * differs


@sqlite_only
def test_a_folder_that_this_process_cannot_read_is_not_taken_for_another(
    settings: Settings, engine: Engine, session: Session
) -> None:
    ProcessReport("worker", settings).write(engine)
    assert config_mismatches(session, replace(settings, data_dir=Path("/dev/null/none")), utcnow()) == []
