"""Imports killed half-way, and two at once: real processes, a real SIGKILL."""

import subprocess
import sys
import time
from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import sessionmaker

from mailganer.audience import run_import
from mailganer.models import Import, ImportReject, ImportStatus, Subscriber, list_member

pytestmark = pytest.mark.slow

ROWS = 6_000
CHILD = """
import sys
from datetime import datetime
from mailganer.audience import run_import
from mailganer.audience.imports import file_batches
from mailganer.db import make_engine, make_sessions
from mailganer.settings import Plan, Settings
from pathlib import Path

url, data_dir, import_id, now = sys.argv[1:]
file_batches.AT_ONCE = file_batches.READ_AT_ONCE = 50
settings = Settings(database_url=url, public_url="http://localhost", secret_keys=("x" * 32,),
                    data_dir=Path(data_dir), plans=(Plan("free", "Free", None, None),))
run_import(make_sessions(make_engine(url)), settings, int(import_id), now=lambda: datetime.fromisoformat(now))
"""


def _file() -> str:
    rows = (f"r{n}@example.com;Имя {n}\n" if n % 100 else f"bad {n};x\n" for n in range(ROWS))
    return "email;имя\n" + "".join(rows)


def _unlimited(bringer):
    from dataclasses import replace

    bringer.settings = replace(
        bringer.settings, plans=(replace(bringer.settings.plans[0], max_subscribers=None),)
    )


def _child(bringer, url: str, import_id: int) -> subprocess.Popen:
    arguments = [url, str(bringer.settings.data_dir), str(import_id), bringer.now.isoformat()]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments])


def _wait_until(bringer, import_id: int, rows: int) -> None:
    readers = sessionmaker(bringer.sessions.kw["bind"].execution_options(reading=True))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with readers() as session:  # reads without waiting for the write lock
            added = session.scalars(select(Import.added).where(Import.id == import_id)).one()
        if added >= rows:
            return
        time.sleep(0.01)
    raise AssertionError("the child did not come that far")


def _require_whole(bringer, import_id: int) -> None:
    job = bringer.job(import_id)
    bad = ROWS // 100
    assert (job.status, job.rows, job.added, job.rejected) == (ImportStatus.done, ROWS, ROWS - bad, bad)
    with bringer.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Subscriber)) == ROWS - bad
        assert session.scalar(select(func.count()).select_from(list_member)) == ROWS - bad
        rejected = session.scalars(
            select(ImportReject.row).where(ImportReject.import_id == import_id).order_by(ImportReject.row)
        ).all()
        assert rejected == [n + 2 for n in range(0, ROWS, 100)]


def test_an_import_killed_twice_continues_without_half_rows_or_doubles(bringer, database_url):
    _unlimited(bringer)
    import_id = bringer.start(_file())
    for rows in (500, 2_000):
        child = _child(bringer, database_url, import_id)
        try:
            _wait_until(bringer, import_id, rows)
        finally:
            child.kill()
            child.wait()
        # No other process takes it while the killed one's lease lasts; then it resumes.
        assert run_import(bringer.sessions, bringer.settings, import_id, now=lambda: bringer.now)
        assert bringer.job(import_id).status is ImportStatus.applying
        bringer.now += timedelta(minutes=1)
    bringer.run(import_id)
    _require_whole(bringer, import_id)
    assert bringer.files() == []


def test_the_same_file_imported_twice_at_once_creates_no_duplicates(bringer):
    _unlimited(bringer)
    jobs = [bringer.start(_file()), bringer.start(_file())]
    threads = [Thread(target=bringer.run, args=(each,)) for each in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with bringer.sessions() as session:
        first, second = (session.get(Import, each) for each in jobs)
        assert {first.status, second.status} == {ImportStatus.done}
        good = ROWS - ROWS // 100
        assert first.added + second.added == good
        assert first.added + first.unchanged == second.added + second.unchanged == good
        assert session.scalar(select(func.count()).select_from(Subscriber)) == good
        assert session.scalar(select(func.count()).select_from(list_member)) == good
