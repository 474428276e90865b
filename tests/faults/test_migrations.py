"""Migrations of a database in use, and migrations that are killed."""

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, String, column, event, func, insert, inspect, select, table, text
from sqlalchemy.exc import IntegrityError

from mailganer.audience import tasks as audience_tasks
from mailganer.db import make_engine, make_sessions
from mailganer.migrations import current, downgrade, migrate, newest, revisions
from mailganer.models import (
    Account,
    CampaignStatus,
    Import,
    PeriodicJobRun,
    RestoreMark,
    Subscriber,
    SubscriberCount,
    SubscriberList,
    SubscriberStatus,
    metadata,
)
from mailganer.models.meta import UTCDateTime
from mailganer.sending import tasks
from mailganer.sending.scheduler.tick import tick
from tests.support.ports import wait_until

from .child import die, end_of, fork

SOME_LATER_VERSION = "9999"


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, databases: Any, database_url: str) -> Iterator[str]:
    """A database without a table, of the same kind."""
    url = databases.fresh("sqlite" if database_url.startswith("sqlite") else "postgresql", empty=True)
    yield url
    databases.drop(url)


def schema_of(engine: Engine) -> dict[str, Any]:
    """Return everything that a migration could have omitted, as plain values."""
    found = inspect(engine)
    return {
        table: (
            [(each["name"], str(each["type"]), each["nullable"]) for each in found.get_columns(table)],
            sorted((each["name"], each["column_names"]) for each in found.get_indexes(table)),
            sorted(
                (each["name"] or "", each["constrained_columns"]) for each in found.get_foreign_keys(table)
            ),
        )
        for table in sorted(found.get_table_names())
    }


def changes(engine: Engine) -> list[str]:
    """Record the statements that change something."""
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
            seen.append(statement)

    return seen


def migrate_and_die(url: str, nth: int | None) -> None:
    """Kill the process before the ``nth`` change; None: after all changes, before the commit."""
    engine = make_engine(url)
    seen = changes(engine)

    @event.listens_for(engine, "before_cursor_execute")
    def look(*_: Any) -> None:
        if nth is not None and len(seen) > nth:
            die()

    @event.listens_for(engine, "commit")
    def last(*_: Any) -> None:
        die()

    migrate(engine)


@pytest.mark.parametrize("since", [None, "0001"], ids=["empty", "first"])
def test_a_migration_killed_anywhere_has_done_nothing_and_is_done_by_the_next(
    empty_url: str, engine: Engine, databases: Any, since: str | None
) -> None:
    half_done = make_engine(empty_url)
    if since:
        migrate(half_done, since)
    before = schema_of(half_done)
    half_done.dispose()
    for nth in (0, 1, 3, None):
        assert end_of(fork(lambda: migrate_and_die(empty_url, nth))) == -signal.SIGKILL  # noqa: B023
        assert current(half_done) == since
        assert schema_of(half_done) == before
    migrate(half_done)
    assert current(half_done) == newest()
    assert schema_of(half_done) == schema_of(engine)
    migrate(half_done)
    assert schema_of(half_done) == schema_of(engine)
    half_done.dispose()


def test_several_who_migrate_at_once_do_it_once(empty_url: str, engine: Engine) -> None:
    children = [fork(lambda: migrate(make_engine(empty_url))) for _each in range(3)]
    assert [end_of(child) for child in children] == [0, 0, 0]
    migrated = make_engine(empty_url)
    assert schema_of(migrated) == schema_of(engine)
    migrated.dispose()


def test_models_and_migrations_say_the_same(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def stamp(engine: Engine, version: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_of_an_older_version_stops_in_the_middle_and_continues_when_it_fits_again(
    due: Any, parts: Any, engine: Engine, smtp_server: Any, statuses: Any, deliveries: Any, reload: Any
) -> None:
    campaign = due(400, sender_values={"per_second": 40.0})
    parts.start("worker", "beat")
    try:
        wait_until(lambda: len(smtp_server.emails) > 10, timeout=90)
        stamp(engine, SOME_LATER_VERSION)  # as the newer version's migration leaves it
        wait_until(lambda: "The database has schema 9999" in parts.output(), timeout=60, what="its word")
        wait_until(lambda: not statuses(campaign.id)["sending"], timeout=60, what="the emails on their way")
        left = len(smtp_server.emails)
        assert left < 400
        assert "in_doubt" not in statuses(campaign.id)
        # After several ticks no recipient has been claimed.
        wait_until(lambda: parts.output().count("mailganer.tick") > 3, timeout=60)
        assert len(smtp_server.emails) == left
        stamp(engine, newest())
        wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=120)
    except AssertionError as error:
        pytest.fail(f"{error}\n{statuses(campaign.id)}\n{parts.output()}")
    assert smtp_server.counts == Counter(row.email for row in deliveries(campaign.id))


def back_to_0002(engine: Engine) -> None:
    downgrade(engine, "0002")


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_of_a_newer_version_waits_for_the_migration(
    due: Any, parts: Any, engine: Engine, smtp_server: Any, deliveries: Any, reload: Any
) -> None:
    campaign = due(20)
    back_to_0002(engine)
    parts.start("worker", "beat")
    try:
        wait_until(lambda: "The database has schema 0002" in parts.output(), timeout=90, what="its word")
        wait_until(lambda: parts.output().count("mailganer.tick") > 3, timeout=60)
        assert not smtp_server.emails
        assert "Traceback" not in parts.output()
        migrate(engine)
        wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=90)
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    assert smtp_server.counts == Counter(row.email for row in deliveries(campaign.id))
    assert "it continues" in parts.output()


@pytest.mark.parametrize("name", ["tick", "plan", "run_lane", "look_up", "import", "reconcile_counts"])
def test_no_task_touches_a_database_of_another_version(
    name: str, due: Any, works: Any, engine: Engine, statuses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = due(3)
    tick(works.context)
    stamp(engine, SOME_LATER_VERSION)
    monkeypatch.setattr(tasks, "sending_context", lambda: works.context)
    monkeypatch.setattr(audience_tasks, "worker_process", lambda: works.context)
    task = {
        "tick": tasks.run_tick,
        "plan": lambda: tasks.plan_campaign(campaign.id),
        "run_lane": lambda: tasks.run_lane(campaign.senders[0].id),
        "look_up": lambda: tasks.look_up(campaign.senders[0].id),
        "import": lambda: audience_tasks.run_import(1),
        "reconcile_counts": lambda: audience_tasks.reconcile_counts(0),
    }[name]
    seen = changes(works.context.engine)
    task()
    assert seen == []
    assert statuses(campaign.id) == {}


@pytest.fixture
def before_0015(empty_url: str) -> Iterator[Engine]:
    """A database of the version in which marks and the last look-up were heartbeats."""
    older = make_engine(empty_url)
    migrate(older, "0014")
    rows = {"mark abc": "2026-11-23 09:00", "look_up": "2026-11-23 09:01", "plan 7": "2026-11-23 09:02"}
    with older.begin() as connection:
        for name, moment in {**rows, "beat": "2026-11-23 09:03"}.items():
            seen_at = datetime.fromisoformat(f"{moment}+00:00")
            connection.execute(insert(HEARTBEATS), {"name": name, "seen_at": seen_at})
    yield older
    older.dispose()


HEARTBEATS = table("heartbeat", column("name", String), column("seen_at", UTCDateTime))


def test_marks_and_look_ups_keep_their_times_when_they_leave_the_heartbeats(before_0015: Engine) -> None:
    def known(engine: Engine) -> tuple[Any, ...]:
        with engine.connect() as connection:
            names = connection.scalars(select(HEARTBEATS.c.name).order_by(HEARTBEATS.c.name)).all()
            moments = connection.execute(select(HEARTBEATS.c.name, HEARTBEATS.c.seen_at)).all()
            return names, {name: moment for name, moment in moments if name != "plan 7"}

    older = known(before_0015)
    migrate(before_0015)
    with before_0015.connect() as connection:
        (mark,) = connection.execute(select(RestoreMark.name, RestoreMark.moment)).all()
        (job,) = connection.execute(select(PeriodicJobRun.name, PeriodicJobRun.ran_at)).all()
    assert known(before_0015)[0] == ["beat"]
    assert mark == ("abc", older[1]["mark abc"])
    assert job == ("look_up", older[1]["look_up"])
    downgrade(before_0015, "0014")
    assert known(before_0015) == (["beat", "look_up", "mark abc"], older[1])


def test_a_late_tick_of_the_version_before_moves_no_mark_on(before_0015: Engine) -> None:
    """It would move its file on, too, and the database would seem to be restored from an older copy."""
    migrate(before_0015)
    with pytest.raises(IntegrityError), before_0015.begin() as connection:
        connection.execute(insert(HEARTBEATS), {"name": "mark abc", "seen_at": datetime.now(UTC)})


@pytest.mark.parametrize("revision", revisions()[1:])
def test_every_migration_can_be_taken_back_and_done_again(empty_url: str, revision: str) -> None:
    database = make_engine(empty_url)
    before = revisions()[revisions().index(revision) - 1]
    migrate(database, before)
    older = schema_of(database)
    migrate(database, revision)
    newer = schema_of(database)
    downgrade(database, before)
    assert (current(database), schema_of(database)) == (before, older)
    migrate(database, revision)
    assert schema_of(database) == newer
    database.dispose()


def test_imports_of_the_version_before_keep_the_lists_that_were_made_for_them(
    engine: Engine, make: Any, session: Any
) -> None:
    account = make.account()
    lists = [make.list(account, name) for name in ("made for a file", "there before")]
    for each, moment in zip(
        lists, (lists[0].created_at, lists[1].created_at + timedelta(seconds=1)), strict=True
    ):
        session.add(Import(account_id=account.id, list_id=each.id, filename="x", path="x", created_at=moment))
    session.commit()
    downgrade(engine, "0012")
    migrate(engine)
    found = session.execute(
        select(SubscriberList.name, Import.made_list).join(Import, Import.list_id == SubscriberList.id)
    )
    assert {tuple(row) for row in found} == {("made for a file", True), ("there before", False)}


def test_subscribers_of_the_version_before_are_counted(engine: Engine, make: Any, session: Any) -> None:
    account = make.account()
    make.subscribers(account, 3, make.list(account), make.list(account))
    make.subscriber(account, status=SubscriberStatus.bounced)
    make.subscriber(make.account(), status=SubscriberStatus.unsubscribed)
    session.commit()
    every = select(SubscriberCount.list_id, SubscriberCount.status, SubscriberCount.number)
    counted = sorted(session.execute(every).all(), key=str)
    session.commit()
    downgrade(engine, "0015")
    migrate(engine)
    assert sorted(session.execute(every).all(), key=str) == counted
    assert len(counted) == 5


def test_what_was_there_before_survives_going_back_and_forth(
    due: Any, engine: Engine, session: Any, statuses: Any, works: Any
) -> None:
    campaign = due(3)
    works.run(3)
    session.commit()
    downgrade(engine, "0001")
    assert current(engine) == "0001"
    migrate(engine)
    assert statuses(campaign.id) == {"sent": 3}


def test_an_import_can_be_undone_by_the_version_that_had_a_row_for_each_subscriber(empty_url: str) -> None:
    engine = make_engine(empty_url)
    migrate(engine)
    now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    with make_sessions(engine).begin() as session:
        account = Account(email="anna@example.com", plan="free", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(account_id=account.id, name="Readers", created_at=now)
        session.add(lst)
        session.flush()
        job = Import(account_id=account.id, list_id=lst.id, filename="a.csv", path="a.csv", created_at=now)
        session.add(job)
        session.flush()
        for n, import_id in enumerate((job.id, None)):
            email = f"reader{n}@example.org"
            session.add(
                Subscriber(
                    account_id=account.id,
                    email=email,
                    email_key=email,
                    import_id=import_id,
                    created_at=now,
                    updated_at=now,
                )
            )
        job.added_from, job.added_to = session.execute(
            select(func.min(Subscriber.id), func.max(Subscriber.id))
        ).one()
    downgrade(engine, "0016")
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT email, created, joined, before FROM import_change"
                " JOIN subscriber ON id = subscriber_id"
            )
        )
        assert [tuple(row) for row in rows] == [("reader0@example.org", True, True, None)]
    engine.dispose()
