"""The disk of an SQLite file is full: what cannot be recorded is neither sent nor imported."""

import sqlite3
import time
from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import func, select

from mailganer.audience import run_import
from mailganer.audience.imports import file_batches
from mailganer.db import OUT_OF_REACH
from mailganer.models import CampaignStatus, ImportStatus, Subscriber
from mailganer.sending.worker.lane_turn import LaneTurn
from tests.audience.conftest import Bringer
from tests.sending.scripted import Script
from tests.support.databases import Databases

RECIPIENTS = 40
FULL = 0.8  # seconds

pytestmark = pytest.mark.parametrize("disk", ["mounted", "limited"], indirect=True)


@pytest.fixture
def database_url(disk: Any, databases: Databases) -> str:
    path = disk.folder / "mailganer.sqlite"
    path.write_bytes(databases.sqlite.read_bytes())
    return f"sqlite:///{path}"


def fill(disk: Any, url: str) -> None:
    """Fill it to the last byte, without a spare page in the write-ahead log."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=5)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    disk.fill()


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_nothing_leaves_while_it_is_full_and_no_one_is_lost_or_gets_two(
    due: Any,
    open_works: Any,
    statuses: Any,
    reload: Any,
    disk: Any,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    nth: int,
) -> None:
    script = Script()
    campaign = due(RECIPIENTS)
    works = open_works(script=script)
    works.tick()
    turn, turns, left, emptied = LaneTurn._settle_and_open, iter(range(1, 1000)), [], Event()

    def soon_empty() -> None:
        time.sleep(FULL)
        left.append(len(script.seen))
        disk.empty()
        emptied.set()

    def on_a_full_disk(self: LaneTurn, *arguments: Any) -> Any:
        if next(turns) == nth:
            left.append(len(script.seen))
            fill(disk, database_url)
            Thread(target=soon_empty).start()
        return turn(self, *arguments)

    monkeypatch.setattr(LaneTurn, "_settle_and_open", on_a_full_disk)
    for _each in range(2):
        with suppress(*OUT_OF_REACH):  # the tick itself: it comes again
            works.tick()
    assert emptied.wait(30), "there is no room on the disk again"
    assert left[0] == left[1], "an email left that could not be noted"
    assert "the database is in trouble" in caplog.text
    works.run(4)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert sorted(script.got.values()) == [1] * RECIPIENTS
    assert reload(campaign).status is CampaignStatus.finished


def test_an_import_stops_between_two_pieces_and_continues_when_there_is_room(
    sessions: Any,
    settings: Any,
    make: Any,
    account: Any,
    now: Any,
    disk: Any,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lst = make.list(account)
    make.commit()
    bringer = Bringer(sessions, settings, account, lst, now)
    rows = 500
    import_id = bringer.start("email\n" + "".join(f"r{n}@example.com\n" for n in range(rows)))
    monkeypatch.setattr(file_batches, "AT_ONCE", 50)
    read, pieces = file_batches.parse_rows, iter(range(1, 1000))

    def on_a_full_disk(*arguments: Any) -> Any:
        if next(pieces) == 3:
            fill(disk, database_url)
        return read(*arguments)

    monkeypatch.setattr(file_batches, "parse_rows", on_a_full_disk)
    with pytest.raises(OUT_OF_REACH):
        run_import(sessions, settings, import_id, now=lambda: now)
    disk.empty()
    job = bringer.job(import_id)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Subscriber)) == job.added == 100
    bringer.now += timedelta(minutes=1)
    assert bringer.run(import_id).status is ImportStatus.done
    assert len(bringer.subscribers()) == rows
