"""Search in two steps: the newest subscribers first, then all, on PostgreSQL by an index of words."""

import random
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, text

from mailganer import audience
from mailganer.audience import search_index, subscriber_search, tasks
from mailganer.audience.search_index import SEARCH_INDEX, ensure_search_index
from mailganer.db import utcnow
from mailganer.migrations import current
from mailganer.models import Subscriber, SubscriberStatus, list_member

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
PEOPLE = 120


@pytest.fixture
def many(session, account, make_list, make_subscriber, monkeypatch):
    """Subscribers of two lists with a few names; a search looks at the newest 20 first."""
    monkeypatch.setattr(subscriber_search, "NEWEST", 20)
    dice = random.Random(7)
    lists = [make_list(account, "One"), make_list(account, "Two")]
    statuses = [SubscriberStatus.active] * 3 + [SubscriberStatus.unsubscribed, SubscriberStatus.bounced]
    for number in range(PEOPLE):
        make_subscriber(
            account,
            f"reader{number}@example{number % 3}.org",
            first_name=dice.choice(["Anna", "Алёна", "Boris", "100%"]),
            last_name="Zakharova" if number < 5 else dice.choice(["Petrova", "Ivanov_a", ""]),
            status=dice.choice(statuses),
            lists=tuple(each for each in lists if dice.random() < 0.4),
        )
    session.commit()
    return [each.id for each in lists]


def expected(session, account, query, status, list_id):
    """Return the ids that match, newest first, compared one by one."""
    words = query.lower().replace("ё", "е").split()
    found = []
    for subscriber in session.scalars(select(Subscriber).order_by(Subscriber.id.desc())):
        on_lists = session.scalars(
            select(list_member.c.list_id).where(list_member.c.subscriber_id == subscriber.id)
        ).all()
        if (
            all(word in subscriber.search_key for word in words)
            and status in (None, subscriber.status)
            and (list_id is None or list_id in on_lists)
        ):
            found.append(subscriber)
    return found


QUERIES = [
    "",
    "anna",
    "алена",
    "zakharova",
    "nobody",
    "za",
    "petrova boris",
    "100%",
    "ivanov_a",
    "example1",
    "_",
    "READER7@example1.org",
    "nobody@example1.org",
]


@pytest.mark.parametrize("indexed", [False, True])
def test_every_page_of_every_search_is_that_of_comparing_one_by_one(session, engine, account, many, indexed):
    account_id = account.id
    session.rollback()
    if indexed:
        assert ensure_search_index(engine, start_at=0) is (engine.dialect.name == "postgresql")
    for query in QUERIES:
        for status in (None, SubscriberStatus.bounced, SubscriberStatus.complained):
            for list_id in (None, *many):
                right = [each.id for each in expected(session, account, query, status, list_id)]
                found, after = [], None
                while True:
                    page = audience.search_subscribers(
                        session,
                        account_id,
                        query=query,
                        status=status,
                        list_id=list_id,
                        after=after,
                        limit=7,
                    )
                    found += [each.id for each in page.items]
                    if (after := page.next) is None:
                        break
                assert found == right, (query, status, list_id)


def test_matches_are_counted_up_to_a_limit(session, account, many, monkeypatch):
    for query in QUERIES:
        for list_id in (None, *many):
            right = expected(session, account, query, None, list_id)
            counts = audience.found_counts(session, account.id, query, list_id)
            assert (counts.total, counts.more) == (len(right), False), (query, list_id)
            for status, number in counts.by_status.items():
                assert number == sum(each.status is status for each in right)
    monkeypatch.setattr(subscriber_search, "MOST_COUNTED", 4)
    assert audience.found_counts(session, account.id, "zakharova").more
    assert audience.found_counts(session, account.id, "anna").more
    assert not audience.found_counts(session, account.id, "nobody").more
    assert not audience.found_counts(session, account.id, "reader7@example1.org").more


@on_postgresql
def test_the_index_is_built_when_there_are_enough_subscribers_and_once(session, engine, many):
    session.rollback()
    assert not ensure_search_index(engine)  # a hundred subscribers need none
    assert ensure_search_index(engine, start_at=0)
    assert ensure_search_index(engine)


@on_postgresql
def test_an_index_whose_building_was_interrupted_is_built_again(session, engine, many):
    session.rollback()
    assert ensure_search_index(engine, start_at=0)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(:name)"),
            {"name": SEARCH_INDEX},
        )
    assert ensure_search_index(engine, start_at=0)


@on_postgresql
def test_without_the_extension_a_search_reads_all(session, engine, account, many, monkeypatch):
    session.rollback()
    monkeypatch.setattr(search_index, "_EXTENSION", "CREATE EXTENSION IF NOT EXISTS no_such_extension")
    assert not ensure_search_index(engine, start_at=0)
    page = audience.search_subscribers(session, account.id, query="zakharova")
    assert len(page.items) == 5
    assert session.scalar(select(func.count()).select_from(Subscriber)) == PEOPLE


@pytest.mark.parametrize("large", [False, True])
def test_a_large_import_has_the_index_built_at_once(engine, sessions, settings, bringer, monkeypatch, large):
    worker = SimpleNamespace(
        engine=engine, sessions=sessions, settings=settings, schema=lambda: current(engine), now=utcnow
    )
    queued = []
    monkeypatch.setattr(tasks, "worker_process", lambda: worker)
    monkeypatch.setattr(tasks, "enqueue", lambda _app, *message: queued.append(message))
    monkeypatch.setattr(tasks, "LARGE_IMPORT", 2 if large else 3)
    tasks.run_import(bringer.start("email\nanna@example.com\nboris@example.com\n"))
    assert queued == ([("reconcile_counts", 0)] if large else [])
