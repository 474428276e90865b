"""A database that is available and does not respond: locked, deadlocked, without a free connection."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.pool import QueuePool
from structlog.testing import capture_logs

from mailganer import db, ledger
from mailganer.audience import tasks as audience_tasks
from mailganer.db import make_engine
from mailganer.models import CampaignStatus, SubscriberStatus
from mailganer.sending import tasks
from mailganer.sending.worker.lane import LaneRunner
from mailganer.sending.worker.lane_turn import LaneTurn, WindowDispatcher
from mailganer.sending.worker.window_planner import WindowPlanner
from mailganer.worker_process import WorkerProcess
from tests.sending.scripted import Script
from tests.support.sent import sent_campaign, token

from .conftest import at

RECIPIENTS = 40
BUSY = 0.8  # seconds; four times the longest wait in these tests
LONGEST = 120  # seconds a lock is held when a test does not release it

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
the_other = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

# Between which steps of a lane the trouble begins: in the middle of a transaction SQLite has one writer, us.
STAGES = {
    "before the lane is taken": (LaneRunner, "_enter", 1),
    "before the first window": (LaneTurn, "_settle_and_open", 1),
    "before the first settlement": (LaneTurn, "_settle_and_open", 2),
    "before a later settlement": (LaneTurn, "_settle_and_open", 4),
    "while emails leave": (WindowDispatcher, "send", 2),
    "before the lane is given back": (LaneRunner, "_leave", 1),
}


class Rival:
    """Another client of the same database that holds its locks for a while, in its own thread."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []

    def begin(self, work: Callable[[Event], None]) -> None:
        """Return when ``work`` has reported that it holds its locks."""
        holds = Event()
        thread = Thread(target=work, args=(holds,))
        thread.start()
        self._threads.append(thread)
        assert holds.wait(10), "the rival got nothing"

    def done(self) -> None:
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def rival() -> Iterator[Rival]:
    rival = Rival()
    yield rival
    rival.done()


def writes_for(url: str, seconds: float, released: Event | None = None) -> Callable[[Event], None]:
    """A long writer of an SQLite file: until ``released`` is set, ``seconds`` at most."""

    def work(holds: Event) -> None:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        holds.set()
        (released or Event()).wait(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    return work


def locks_for(url: str, statement: str, seconds: float) -> Callable[[Event], None]:
    """A client that has locked rows on PostgreSQL."""

    def work(holds: Event) -> None:
        with other(url) as connection:
            connection.execute(text(statement))
            holds.set()
            time.sleep(seconds)

    return work


@contextmanager
def other(url: str, **options: Any) -> Iterator[Any]:
    """A separate connection, in a transaction that is rolled back unless it is committed."""
    engine = create_engine(url, **options)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def setting(url: str, name: str, value: str) -> None:
    """For all connections to this database that are opened from now on."""
    with other(url, isolation_level="AUTOCOMMIT") as connection:
        database = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE \"{database}\" SET {name} = '{value}'"))


@pytest.fixture
def each_got_one_email(script: Script, statuses: Any, reload: Any) -> Callable[[Any], None]:
    def check(campaign: Any) -> None:
        assert statuses(campaign.id) == {"sent": RECIPIENTS}
        assert sorted(script.got.values()) == [1] * RECIPIENTS
        assert reload(campaign).status is CampaignStatus.finished

    return check


# --- emails


@one_database
@pytest.mark.parametrize("stage", STAGES)
def test_a_locked_file_breaks_no_lane_and_loses_no_email(
    due: Any,
    open_works: Any,
    script: Script,
    each_got_one_email: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    campaign = due(RECIPIENTS)
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 200)
    works = open_works(script=script)
    works.tick()
    owner, name, nth = STAGES[stage]
    at(monkeypatch, owner, name, nth, lambda *_: rival.begin(writes_for(database_url, BUSY)))
    works.tick()
    rival.done()
    works.run(3)
    each_got_one_email(campaign)


@the_other
@pytest.mark.parametrize(
    ("stage", "table"),
    [
        ("before the lane is taken", "lane"),
        ("before the first window", "delivery"),
        ("before the first window", "usage"),
        ("before the first settlement", "batch"),
        ("before a later settlement", "delivery"),
        ("before a later settlement", '"window"'),
        ("before a later settlement", "sender"),
        ("before the lane is given back", "batch"),
    ],
)
def test_rows_that_someone_keeps_locked_break_no_lane_and_loses_no_email(
    due: Any,
    open_works: Any,
    script: Script,
    each_got_one_email: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    table: str,
) -> None:
    campaign = due(RECIPIENTS)
    setting(database_url, "lock_timeout", "200ms")
    works = open_works(script=script)
    works.tick()
    owner, name, nth = STAGES[stage]
    keep = f"SELECT 1 FROM {table} FOR UPDATE"
    at(monkeypatch, owner, name, nth, lambda *_: rival.begin(locks_for(database_url, keep, BUSY)))
    works.tick()
    rival.done()
    works.run(3)
    each_got_one_email(campaign)


@the_other
def test_a_deadlock_that_the_lane_has_to_give_way_in_is_tried_again(
    due: Any,
    open_works: Any,
    script: Script,
    each_got_one_email: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    campaign = due(RECIPIENTS)
    works = open_works(script=script)
    works.tick()

    def crosses(holds: Event) -> None:
        with other(database_url) as connection:
            connection.execute(text("SET deadlock_timeout = '20s'"))  # the other side is the victim
            connection.execute(text("SELECT 1 FROM batch FOR UPDATE"))
            holds.set()
            time.sleep(0.3)  # the lane has its deliveries now, and waits for the batch
            connection.execute(text("SELECT 1 FROM delivery FOR UPDATE"))

    at(monkeypatch, ledger, "settle", 2, lambda *_: rival.begin(crosses))
    works.tick()
    rival.done()
    assert "deadlock detected" in caplog.text
    works.run(3)
    each_got_one_email(campaign)


@the_other
def test_a_settlement_that_cannot_be_serialised_is_tried_again(
    due: Any,
    open_works: Any,
    script: Script,
    each_got_one_email: Any,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    campaign = due(RECIPIENTS)
    setting(database_url, "default_transaction_isolation", "repeatable read")
    works = open_works(script=script)
    works.tick()

    def overtake(session: Any, *_: Any) -> None:
        session.execute(text("SELECT count(*) FROM batch"))  # what it sees is fixed from here on
        with other(database_url) as connection:
            connection.execute(text("UPDATE batch SET lease_until = lease_until"))
            connection.commit()

    at(monkeypatch, ledger, "settle", 2, overtake)
    works.tick()
    assert "could not serialize" in caplog.text
    works.run(3)
    each_got_one_email(campaign)


@the_other
@pytest.mark.parametrize("stage", STAGES)
def test_a_pool_without_a_free_connection_breaks_no_lane_and_loses_no_email(
    due: Any,
    open_works: Any,
    script: Script,
    each_got_one_email: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    campaign = due(RECIPIENTS)
    works = open_works(script=script)
    works.tick()
    engine = create_engine(database_url, pool_size=2, max_overflow=0, pool_timeout=0.2)
    works.context = replace(works.context, engine=engine)

    def takes_all(holds: Event) -> None:
        with engine.connect(), engine.connect():
            holds.set()
            time.sleep(BUSY)

    owner, name, nth = STAGES[stage]
    at(monkeypatch, owner, name, nth, lambda *_: rival.begin(takes_all))
    works.tick()
    rival.done()
    works.run(3)
    engine.dispose()
    each_got_one_email(campaign)


@one_database
def test_refusals_are_counted_once_however_often_their_settlement_is_tried(
    due: Any, open_works: Any, script: Script, reload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten in a row would be the email's fault; four that are settled at the fourth attempt are not."""
    from mailganer.backends import Outcome, Receipt, Scope

    def answer(message: Any) -> Receipt:
        refused = message.recipient < "reader000005"
        if refused:
            return Receipt(message.id, Outcome.refused, "554 5.7.1 no", None, Scope.message)
        return Receipt(message.id, Outcome.accepted, "250 kept")

    script.answer = answer
    campaign = due(RECIPIENTS)
    works = open_works(script=script)
    works.tick()
    engine, tries = works.context.engine, count(1)
    right, error = engine.dialect.do_commit, engine.dialect.loaded_dbapi.OperationalError

    def do_commit(connection: Any) -> None:
        if 3 <= next(tries) <= 5:
            raise error("database is locked")
        right(connection)

    monkeypatch.setattr(WindowPlanner, "_largest_size", lambda self, size, room: 4)
    engine.dialect.do_commit = do_commit
    works.run(3)
    assert next(tries) > 5
    assert reload(campaign).status is CampaignStatus.finished


# --- tasks


@one_database
def test_tasks_that_meet_a_locked_database_say_so_in_one_line_and_end(
    due: Any,
    works: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
) -> None:
    campaign = due(3)
    works.tick()
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 100)
    context = replace(works.context, engine=make_engine(database_url))
    monkeypatch.setattr(tasks, "sending_context", lambda: context)
    process = WorkerProcess(settings, context.engine, context.sessions, context.now, 1.0)
    monkeypatch.setattr(audience_tasks, "worker_process", lambda: process)
    monkeypatch.setattr(tasks, "enqueue", lambda *_: True)

    def logged() -> list[Any]:
        return [record for record in caplog.records if record.name.startswith("mailganer")]

    released = Event()  # a busy machine may need longer for the three tasks than any fixed time
    rival.begin(writes_for(database_url, LONGEST, released))
    try:
        for _time in range(2):
            tasks.run_tick()
            tasks.run_lane(campaign.senders[0].id)
            audience_tasks.run_import(1)
        (line,) = logged()  # all of them met one outage, and it is not over
        assert "database is locked" in line.getMessage()
        assert not line.exc_info
    finally:
        released.set()
        rival.done()
    tasks.run_tick()
    context.engine.dispose()
    assert [each.getMessage().startswith("The database is back") for each in logged()] == [False, True]


# --- pages


def settings_form(anna: Any) -> Any:
    """The one with language and time zone."""
    return next(form for form in anna.get("/settings").forms.values() if "timezone" in form.fields)


@one_database
def test_a_page_that_cannot_write_answers_with_a_sentence_and_later_as_always(
    anna: Any,
    wsgi_app: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 100)
    wsgi_app.registry["engine"].dispose()  # those connections would wait for half a minute
    form = settings_form(anna)
    rival.begin(writes_for(database_url, BUSY))
    with capture_logs() as logs:
        refused = form.submit(status=503)
    assert "Mailganer cannot access its data right now" in refused
    assert "check whether your last change was saved" in refused
    assert refused.headers["Retry-After"] == "30"
    assert [each["event"] for each in logs] == ["page.database"]
    assert "database is locked" in logs[0]["trouble"]
    rival.done()
    form.submit(status=303)


@one_database
def test_the_api_that_cannot_write_answers_503_and_later_as_always(
    client: Any,
    wsgi_app: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 100)
    wsgi_app.registry["engine"].dispose()
    rival.begin(writes_for(database_url, BUSY))
    with capture_logs() as logs:
        refused = client.post("lists", {"name": "News"}, status=503)
    assert refused.content_type == "application/problem+json"
    assert "Try again soon" in refused.json["detail"]
    assert refused.headers["Retry-After"] == "30"
    assert not any(each.get("exc_info") for each in logs)
    rival.done()
    client.post("lists", {"name": "News"}, status=201)


@one_database
def test_an_unsubscribe_while_nothing_can_be_written_is_answered_so_and_works_later(
    app: Any,
    wsgi_app: Any,
    session: Any,
    make: Any,
    account: Any,
    database_url: str,
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people = [make.subscriber(account, lists=(make.list(account),))]
    (delivery,) = sent_campaign(
        session, make.campaign(account, (), (make.sender(account),)), people, make.now
    )
    address = f"/u/{token(delivery)}"
    session.commit()
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 100)
    wsgi_app.registry["engine"].dispose()
    rival.begin(writes_for(database_url, BUSY))
    refused = app.post(address, status=503)
    assert "This link cannot be opened right now" in refused
    assert refused.headers["Retry-After"] == "30"
    rival.done()
    app.post(address, status=200)
    session.refresh(people[0])
    assert people[0].status is SubscriberStatus.unsubscribed


@the_other
def test_a_page_for_which_no_connection_is_free_answers_with_a_sentence(anna: Any, wsgi_app: Any) -> None:
    engine: Engine = wsgi_app.registry["engine"]
    assert isinstance(engine.pool, QueuePool)
    engine.pool._timeout = 0.1
    taken = [engine.connect() for _each in range(15)]
    refused = anna.get("/campaigns", status=503)
    assert "Mailganer cannot access its data right now" in refused
    for each in taken:
        each.close()
    anna.get("/campaigns", status=200)


@the_other
def test_a_page_whose_transaction_cannot_be_serialised_is_answered_all_the_same(
    anna: Any,
    wsgi_app: Any,
    database_url: str,
) -> None:
    setting(database_url, "default_transaction_isolation", "repeatable read")
    engine: Engine = wsgi_app.registry["engine"]
    engine.dispose()
    form = settings_form(anna)
    form["timezone"] = "Asia/Tokyo"
    overtaken = count(1)

    @event.listens_for(engine, "before_cursor_execute")
    def overtake(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE account") and next(overtaken) == 1:
            with other(database_url) as rival:
                rival.execute(text("UPDATE account SET locale = locale"))
                rival.commit()

    form.submit(status=303)
    assert next(overtaken) == 3, "it was tried once more"
    assert settings_form(anna)["timezone"].value == "Asia/Tokyo"
