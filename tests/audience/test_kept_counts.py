"""Kept counts of subscribers: after every operation they are what counting would give, on both databases."""

import contextlib
import random
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, func, insert, select, update

import mailganer
from mailganer import audience, subscriber_counts
from mailganer.audience import tasks
from mailganer.audience.suppression import reinstate, resubscribe, suppress
from mailganer.errors import Conflict
from mailganer.migrations import current
from mailganer.models import (
    Account,
    Import,
    ImportStatus,
    Subscriber,
    SubscriberCount,
    SubscriberList,
    SubscriberStatus,
    list_member,
)

PACKAGE = Path(mailganer.__file__).parent
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
HEADER = "email,first_name,status\n"


def wrong(session, account):
    return subscriber_counts.count_differences(session, account.id)


class Operations:
    """Random operations through the functions that pages, API, workers and imports call."""

    def __init__(self, seed, sessions, account, bringer, settings, now):
        self.dice = random.Random(seed)
        self.sessions, self.account, self.bringer, self.settings, self.now = (
            sessions,
            account,
            bringer,
            settings,
            now,
        )

    def some(self, session, model):
        ids = session.scalars(
            select(model.id).where(model.account_id == self.account.id).order_by(model.id)
        ).all()
        return session.get(model, self.dice.choice(ids)) if ids else None

    def address(self):
        return f"reader{self.dice.randrange(25)}@example.org"

    def add(self, session):
        lists = [self.some(session, SubscriberList)] if self.dice.random() < 0.7 else []
        account = session.get(Account, self.account.id)
        with contextlib.suppress(Conflict):  # suppressed and erased
            audience.add_subscriber(
                session, account, email=self.address(), lists=lists, now=self.now, settings=self.settings
            )

    def set_lists(self, session):
        if subscriber := self.some(session, Subscriber):
            lists = {self.some(session, SubscriberList) for _each in range(2)}
            audience.update_subscriber(session, subscriber, {"lists": lists}, self.now)

    def remove(self, session):
        if subscriber := self.some(session, Subscriber):
            audience.remove_from_list(session, self.some(session, SubscriberList), subscriber)

    def unsubscribe(self, session):
        if subscriber := self.some(session, Subscriber):
            audience.unsubscribe(session, subscriber, reason="click", now=self.now)

    def bounce(self, session):
        if subscriber := self.some(session, Subscriber):
            suppress(session, subscriber, SubscriberStatus.bounced, reason="550 no", now=self.now)

    def reinstate(self, session):
        if subscriber := self.some(session, Subscriber):
            reinstate(session, subscriber, reason="550 no", now=self.now)

    def resubscribe(self, session):
        if (subscriber := self.some(session, Subscriber)) and subscriber.status in (
            SubscriberStatus.unsubscribed,
            SubscriberStatus.active,
        ):
            resubscribe(session, subscriber, now=self.now)

    def change_name(self, session):
        if subscriber := self.some(session, Subscriber):
            name = self.dice.choice(["", "Anna", "Boris"])
            audience.update_subscriber(session, subscriber, {"first_name": name}, self.now)

    def erase(self, session):
        if subscriber := self.some(session, Subscriber):
            audience.erase_subscriber(session, subscriber)

    def new_list(self, session):
        audience.create_list(session, self.account.id, name=f"List {self.dice.random()}", now=self.now)

    def delete_list(self, session):
        lists = audience.lists_of(session, self.account.id)
        if len(lists) > 2:
            audience.delete_list(session, lists[-1])

    def fold(self, session):
        subscriber_counts.fold(session, at_once=self.dice.choice([2, 5, 1000]))

    def import_file(self):
        statuses = ("", "active", "unsubscribed", "bounced", "complained", "unconfirmed")
        rows = [
            f"{self.address()},Anna,{self.dice.choice(statuses)}"
            for _each in range(self.dice.randrange(1, 12))
        ]
        with self.sessions() as session:
            lst = self.some(session, SubscriberList)
        self.bringer.bring(HEADER + "\n".join(rows) + "\n", lst=lst)

    def undo_import(self):
        with self.sessions.begin() as session:
            done = select(Import).where(Import.status == ImportStatus.done).order_by(Import.id)
            jobs = session.scalars(done).all()
            if not jobs:
                return
            job = self.dice.choice(jobs)
            audience.undo_import(session, job, self.now)
        self.bringer.run(job.id)

    def run(self, number):
        small = [
            *[self.add] * 4,
            *[self.set_lists] * 2,
            self.remove,
            *[self.unsubscribe] * 2,
            *[self.bounce] * 2,
            self.reinstate,
            self.resubscribe,
            self.erase,
            *[self.change_name] * 2,
            self.new_list,
            self.delete_list,
            *[self.fold] * 2,
        ]
        for step in range(number):
            if self.dice.random() < 0.15:
                self.dice.choice([self.import_file, self.import_file, self.undo_import])()
            else:
                with self.sessions.begin() as session:
                    self.dice.choice(small)(session)
            with self.sessions() as session:
                assert wrong(session, self.account) == [], step
                self.check_kept_results(session, step)

    def check_kept_results(self, session, step):
        """Compare what is kept about the recipients of all lists, and of one, with a count of each."""
        lists = session.scalars(select(SubscriberList.id).order_by(SubscriberList.id)).all()
        for list_ids in (lists, lists[:1]):
            members = select(list_member.c.subscriber_id).where(list_member.c.list_id.in_(list_ids))
            counted = dict.fromkeys(SubscriberStatus, 0)
            named = 0
            for subscriber in session.scalars(select(Subscriber).where(Subscriber.id.in_(members))):
                counted[subscriber.status] += 1
                named += subscriber.status is SubscriberStatus.active and subscriber.first_name != ""
            found = audience.excluded_counts(session, self.account.id, list_ids)
            assert found.recipients == counted.pop(SubscriberStatus.active), step
            assert {status.value: getattr(found, status.value) for status in counted} == {
                status.value: number for status, number in counted.items()
            }, step
            assert found.places == session.scalar(select(func.count()).select_from(members.subquery())), step
            assert audience.filled_counts(session, self.account.id, list_ids, ["first_name"]) == {
                "first_name": named
            }, step


@pytest.mark.parametrize("seed", range(3))
def test_kept_counts_equal_counted_ones_after_random_operations(
    seed, sessions, account, bringer, settings, now, make_list, session
):
    make_list(account, "Second")
    session.commit()
    operations = Operations(seed, sessions, account, bringer, settings, now)
    operations.run(60)
    with sessions.begin() as other:
        before = audience.status_counts(other, account.id)
        subscriber_counts.fold(other)
        assert audience.status_counts(other, account.id) == before
        counted = other.execute(select(Subscriber.status, func.count()).group_by(Subscriber.status)).all()
        assert {status: number for status, number in before.items() if number} == dict(tuple(counted))
        rows = other.execute(select(SubscriberCount.list_id, SubscriberCount.status)).all()
        assert len(rows) == len(set(rows)), "fold leaves one row for each count"


def test_what_is_rolled_back_is_not_counted(session, sessions, account, make_list, make_subscriber):
    lst = make_list(account)
    anna = make_subscriber(account, "anna@example.com", lists=(lst,))
    session.commit()
    with sessions() as other:  # killed before the commit, and while folding
        audience.unsubscribe(other, other.get(Subscriber, anna.id), reason="click", now=anna.created_at)
        subscriber_counts.fold(other)
        other.rollback()
    assert wrong(session, account) == []
    assert audience.list_counts(session, [lst.id])[lst.id][SubscriberStatus.active] == 1


def test_a_list_with_the_id_of_a_deleted_one_begins_at_zero(
    session, account, make_list, make_subscriber, now
):
    lst = make_list(account)
    make_subscriber(account, "anna@example.com", lists=(lst,))
    audience.delete_list(session, lst)
    again = make_list(account, "Again")
    assert sum(audience.list_counts(session, [again.id])[again.id].values()) == 0
    assert wrong(session, account) == []


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@on_postgresql
@pytest.mark.parametrize("first", ["join", "unsubscribe"])
def test_a_status_and_a_membership_that_change_together_are_counted_once(
    session, sessions, account, make_list, make_subscriber, now, first
):
    lst = make_list(account)
    anna = make_subscriber(account, "anna@example.com")
    session.commit()

    def join(other):
        audience.add_to_list(other, other.get(SubscriberList, lst.id), other.get(Subscriber, anna.id), now)

    def unsubscribe(other):
        audience.unsubscribe(other, other.get(Subscriber, anna.id), reason="click", now=now)

    works = [join, unsubscribe] if first == "join" else [unsubscribe, join]

    def second():
        with sessions.begin() as other:
            works[1](other)

    with sessions.begin() as other:
        works[0](other)
        waiting = in_thread(second)
        waiting.join(0.3)
        assert waiting.is_alive(), "the second change waits for the first"
    waiting.join(10)
    assert wrong(session, account) == []
    assert audience.list_counts(session, [lst.id])[lst.id][SubscriberStatus.unsubscribed] == 1


@on_postgresql
def test_an_import_and_unsubscribes_of_its_subscribers_are_counted_exactly(
    session, sessions, account, bringer, make_list, make_subscriber, now
):
    readers = [make_subscriber(account, f"reader{n}@example.org") for n in range(30)]
    session.commit()
    content = HEADER + "".join(f"reader{n}@example.org,Anna,\n" for n in range(40))

    def unsubscribe():
        for reader in readers:
            with sessions.begin() as other:
                audience.unsubscribe(other, other.get(Subscriber, reader.id), reason="click", now=now)
                subscriber_counts.fold(other)

    leaving = in_thread(unsubscribe)
    bringer.bring(content)
    leaving.join(20)
    assert wrong(session, account) == []
    found = audience.status_counts(session, account.id, list_id=bringer.list.id)
    assert {status: number for status, number in found.items() if number} == {
        SubscriberStatus.unsubscribed: 30,
        SubscriberStatus.active: 10,
    }


@on_postgresql
def test_two_folds_at_the_same_time_count_nothing_twice(session, sessions, account, now):
    for _each in range(6):
        subscriber_counts.add_to_counts(session, account.id, 7, {SubscriberStatus.active: 1})
    session.commit()

    def second():
        with sessions.begin() as other:
            subscriber_counts.fold(other)

    with sessions.begin() as other:
        assert subscriber_counts.fold(other) == 6
        waiting = in_thread(second)
        waiting.join(0.3)
    waiting.join(10)
    assert session.scalars(select(SubscriberCount.number).where(SubscriberCount.list_id == 7)).all() == [6]


def test_the_nightly_job_corrects_what_was_changed_behind_the_program(
    session, sessions, account, make_list, make_subscriber, make_account, now, engine, monkeypatch
):
    make_account()
    worker = SimpleNamespace(engine=engine, sessions=sessions, schema=lambda: current(engine))
    lst = make_list(account)
    make_subscriber(account, "anna@example.com", lists=(lst,))
    boris = make_subscriber(account, "boris@example.com")
    session.execute(insert(list_member), {"list_id": lst.id, "subscriber_id": boris.id, "added_at": now})
    session.execute(update(Subscriber).values(status=SubscriberStatus.complained))
    subscriber_counts.add_to_counts(session, account.id, 10**9, {SubscriberStatus.active: 5})  # of no list
    session.commit()
    account_id, list_id = account.id, lst.id
    found = wrong(session, account)
    assert {(each.list_id, each.status, each.missing) for each in found} == {
        (None, SubscriberStatus.active, -2),
        (None, SubscriberStatus.complained, 2),
        (list_id, SubscriberStatus.active, -1),
        (list_id, SubscriberStatus.complained, 2),
        (10**9, SubscriberStatus.active, -5),
    }
    session.rollback()
    (after,) = tasks.before_first_account(session, now)
    monkeypatch.setattr(tasks, "worker_process", lambda: worker)
    tasks.reconcile_counts(after)
    assert subscriber_counts.reconcile(sessions, account_id) == []
    assert audience.list_counts(session, [lst.id])[lst.id][SubscriberStatus.complained] == 2


@on_postgresql
def test_two_corrections_at_the_same_time_correct_once(session, sessions, account, make_subscriber):
    make_subscriber(account, "anna@example.com")
    session.execute(delete(SubscriberCount))
    session.commit()
    threads = [in_thread(lambda: subscriber_counts.reconcile(sessions, account.id)) for _each in range(3)]
    for thread in threads:
        thread.join(10)
    assert wrong(session, account) == []


WRITES = re.compile(
    r"(?:insert|delete|update)\((?:list_member|Subscriber)\)|\bSubscriber\(\s|session\.delete\((?:subscriber|lst)\)"
    r"|\bsubscriber\.status\b[^=\n]*(?<![=!])= |bulk\.(?:add|join)\("
    r"|\bupsert\(session, list_member\)|INSERT INTO (?:subscriber|list_member) "
)
NOT_COUNTED = {"audience/imports/additions.py"}  # writes which import added a subscriber
WRITERS = {
    "audience/imports/bulk_rows.py",
    "audience/imports/undo.py",
    "audience/imports/writing.py",
    "audience/lists.py",
    "audience/subscribers.py",
    "audience/suppression.py",
    "drill/installation.py",
}


def test_modules_that_write_subscribers_or_memberships_are_known_and_count_them():
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "versions" not in path.parts and WRITES.search(path.read_text())
    }
    assert found == WRITERS | NOT_COUNTED, (
        "call mailganer.subscriber_counts for each change, then add the module here"
    )
    for name in WRITERS:
        assert re.search(r"subscriber_counts\b|add_to_counts", (PACKAGE / name).read_text()), name
