"""Imports while others use the same subscribers, lists and imports: nothing deadlocks, nothing is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from mailganer import audience, subscriber_counts
from mailganer.audience.imports import file_batches, import_steps, undo, writing
from mailganer.models import Import, ImportStatus, Subscriber, SubscriberList

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def background():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def wait_until_blocked(sessions, future) -> None:
    """Return when the other thread waits for a lock of this one, or has finished."""
    until = time.monotonic() + 10
    while not future.done() and time.monotonic() < until:
        with sessions() as session:
            if session.scalar(WAITING):
                return
        time.sleep(0.02)
    assert future.done(), "neither waits nor finishes"


def once(function):
    """Return a function that does its work the first time it is called."""
    called = threading.Event()

    def call() -> None:
        if not called.is_set():
            called.set()
            function()

    return call


@on_postgresql
def test_an_import_goes_on_while_another_is_undone(bringer, sessions, settings, now, monkeypatch, background):
    monkeypatch.setattr(file_batches, "AT_ONCE", 2)
    running = bringer.start("email,name\n" + "".join(f"r{n}@example.org,Anna\n" for n in range(8)))
    while bringer.job(running).added < 4:
        audience.run_import(sessions, settings, running, now=lambda: now, seconds=0)
    undone = bringer.bring("email,name\nr0@example.org,Boris\nr1@example.org,Boris\n").id
    monkeypatch.setattr("mailganer.audience.imports.run.ATTEMPTS", 1)
    futures = []

    def next_batch() -> None:
        futures.append(background.submit(bringer.run, running))
        wait_until_blocked(sessions, futures[0])

    start, of_others = once(next_batch), undo._of_other_imports

    def with_account_locked(*args):
        start()
        return of_others(*args)

    monkeypatch.setattr(undo, "_of_other_imports", with_account_locked)
    with sessions.begin() as session:
        audience.undo_import(session, session.get(Import, undone), now + timedelta(seconds=5))
    job = futures[0].result(20)
    assert (job.status, job.added, job.lease_until) == (ImportStatus.done, 8, None)
    assert {each.first_name for each in bringer.subscribers().values()} == {"Anna"}


@on_postgresql
@pytest.mark.parametrize("what", ["edited", "erased"])
def test_who_is_edited_or_erased_during_a_batch_is_neither_overwritten_nor_in_the_way(
    bringer, sessions, now, monkeypatch, background, what
):
    bringer.bring("email,name,city\nr0@example.org,Anna,Omsk\nr1@example.org,Anna,Omsk\n")
    subscriber_id = bringer.subscribers()["r0@example.org"].id
    values = {"fields": {"phone": "123"}, "last_name": "Petrova"}

    def change() -> None:
        with sessions.begin() as session:
            subscriber = session.get(Subscriber, subscriber_id)
            if what == "edited":
                audience.update_subscriber(session, subscriber, values, now + timedelta(seconds=1))
            else:
                audience.erase_subscriber(session, subscriber)

    futures, read = [], writing.existing_subscribers

    def read_and_change(*args, **options):
        found = read(*args, **options)
        futures.append(background.submit(change))
        wait_until_blocked(sessions, futures[0])
        return found

    monkeypatch.setattr(writing, "existing_subscribers", read_and_change)
    job = bringer.bring("email,city\nr0@example.org,Tula\nr1@example.org,Tula\n")
    futures[0].result(20)
    assert (job.status, job.updated) == (ImportStatus.done, 2)
    subscribers = bringer.subscribers()
    assert subscribers["r1@example.org"].fields == {"city": "Tula"}
    if what == "edited":
        edited = subscribers["r0@example.org"]
        assert (edited.last_name, edited.fields["phone"]) == ("Petrova", "123")
    else:
        assert "r0@example.org" not in subscribers


def test_a_batch_that_the_database_rolled_back_for_another_is_repeated_at_once(bringer, monkeypatch):
    class Deadlock(Exception):
        sqlstate = "40P01"

    monkeypatch.setattr(file_batches, "AT_ONCE", 2)
    write, failures = import_steps.write_subscribers, [None, Deadlock("deadlock detected"), None, None]

    def written(*args):
        result = write(*args)
        if failures and (failure := failures.pop(0)):
            raise OperationalError("INSERT", {}, failure)
        return result

    monkeypatch.setattr(import_steps, "write_subscribers", written)
    job = bringer.bring("email\n" + "".join(f"r{n}@example.org\n" for n in range(6)))
    assert (job.status, job.rows, job.added, job.lease_until) == (ImportStatus.done, 6, 6, None)
    assert len(bringer.subscribers()) == 6


@on_postgresql
def test_a_list_deleted_while_someone_is_added_to_it_leaves_no_counts(
    session, sessions, account, make_list, make_subscriber, now, background
):
    lst, anna = make_list(account, "Gone"), make_subscriber(account, "anna@example.com")
    session.commit()
    list_id, account_id, anna_id = lst.id, account.id, anna.id
    session.close()

    def delete() -> None:
        with sessions.begin() as other:
            audience.delete_list(other, other.get(SubscriberList, list_id))

    with sessions.begin() as adding:
        audience.add_to_list(
            adding, adding.get(SubscriberList, list_id), adding.get(Subscriber, anna_id), now
        )
        deleted = background.submit(delete)
        wait_until_blocked(sessions, deleted)
    deleted.result(20)
    assert session.get(SubscriberList, list_id) is None
    assert subscriber_counts.count_differences(session, account_id) == []


def test_errors_of_the_database_do_not_list_parameters(sessions, account, make_subscriber, session):
    make_subscriber(account, "anna@example.com")
    session.commit()
    insert = text("INSERT INTO subscriber (account_id, first_name) VALUES (:account, :name)")
    with sessions() as other, pytest.raises(IntegrityError) as raised:
        other.execute(insert, {"account": account.id, "name": "Anna-Maria"})
    assert "[SQL parameters hidden" in str(raised.value)
