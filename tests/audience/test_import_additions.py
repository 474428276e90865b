"""Subscribers added by an import carry its id; everything else that it did has a row of its own."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailganer.audience import (
    count_without_emails,
    create_list,
    delete_list,
    due_imports,
    is_being_undone,
    run_import,
    suppress,
    undo_import,
)
from mailganer.audience.imports import file_batches
from mailganer.models import Import, ImportChange, Subscriber, SubscriberList, SubscriberStatus

ODD = ["\\N", "\\", "a\\tb", 'say "hi"', "'quoted'", "a\tb", "two\nlines", "{x}", "Ёлка 🎄", "null"]


@pytest.fixture
def bring(bringer):
    """Import a file; return its id."""
    return lambda content, **options: bringer.bring(content, **options).id


def changes_of(bringer, import_id: int) -> list[tuple[str, bool, bool]]:
    with bringer.sessions() as session:
        rows = session.execute(
            select(Subscriber.email, ImportChange.created, ImportChange.joined)
            .join(Subscriber, Subscriber.id == ImportChange.subscriber_id)
            .where(ImportChange.import_id == import_id)
            .order_by(Subscriber.email)
        )
        return [tuple(row) for row in rows]


def undo(bringer, import_id: int) -> None:
    with bringer.sessions.begin() as session:
        undo_import(session, session.get_one(Import, import_id), bringer.now)
    assert run_import(bringer.sessions, bringer.settings, import_id, now=lambda: bringer.now)


def test_added_subscribers_need_no_rows_for_undoing(bringer, bring):
    import_id = bring("email,name\n" + "".join(f"r{n}@example.org,Anna\n" for n in range(50)))
    assert changes_of(bringer, import_id) == []
    undo(bringer, import_id)
    assert bringer.subscribers() == {}
    with bringer.sessions() as session:
        job = session.get_one(Import, import_id)
        assert (job.added_from, job.added_to, is_being_undone(session, job)) == (None, None, False)


def test_an_undo_that_was_interrupted_goes_on_with_those_who_are_left(bringer, bring, monkeypatch):
    monkeypatch.setattr("mailganer.audience.imports.actions._UNDONE_AT_ONCE", 3)
    monkeypatch.setattr(file_batches, "AT_ONCE", 4)
    import_id = bring("email\n" + "".join(f"r{n}@example.org\n" for n in range(12)))
    with bringer.sessions.begin() as session:
        undo_import(session, session.get_one(Import, import_id), bringer.now)
    assert len(bringer.subscribers()) == 9
    with bringer.sessions() as session:
        assert is_being_undone(session, session.get_one(Import, import_id))
        assert due_imports(session, bringer.now) == [import_id]
    assert run_import(bringer.sessions, bringer.settings, import_id, now=lambda: bringer.now)
    assert bringer.subscribers() == {}
    with bringer.sessions() as session:
        assert due_imports(session, bringer.now) == []


def test_a_later_row_about_an_added_subscriber_is_recorded_once(bringer, bring, monkeypatch):
    monkeypatch.setattr(file_batches, "AT_ONCE", 2)
    import_id = bring(
        "email,name,city\na@example.org,Anna,\nb@example.org,Boris,\na@example.org,Anya,Omsk\nb@example.org,,\n"
        "a@example.org,Anya,Tula\n"
    )
    job = bringer.job(import_id)
    assert (job.added, job.updated, job.unchanged) == (2, 0, 3)
    assert changes_of(bringer, import_id) == [("a@example.org", True, True)]
    undo(bringer, import_id)
    assert bringer.subscribers() == {}


def test_undoing_one_file_keeps_what_another_added(bringer, bring):
    first = bring("email,name\na@example.org,Anna\nb@example.org,Boris\n")
    bringer.now += timedelta(minutes=1)
    second = bring("email,name\na@example.org,Anya\nc@example.org,Clara\n")
    bringer.now += timedelta(minutes=1)
    undo(bringer, second)
    assert {key: each.first_name for key, each in bringer.subscribers().items()} == {
        "a@example.org": "Anna",
        "b@example.org": "Boris",
    }
    undo(bringer, first)
    assert bringer.subscribers() == {}


def test_undoing_an_import_keeps_those_whom_one_of_a_deleted_list_added(bringer, bring):
    first = bring("email\na@example.org\n")
    with bringer.sessions.begin() as session:
        delete_list(session, session.get_one(SubscriberList, bringer.list.id))
    with bringer.sessions.begin() as session:
        again = create_list(session, bringer.account.id, name="Again", now=bringer.now)
    second = bring("email,name\na@example.org,Anna\n", lst=again)  # on SQLite with the id of the first
    assert bringer.job(second).updated == 1
    undo(bringer, second)
    with bringer.sessions() as session:
        assert session.execute(select(Subscriber.email, Subscriber.import_id)).all() == [
            ("a@example.org", None)
        ]
    assert first <= second


def test_a_subscriber_with_the_id_of_a_deleted_one_is_not_undone(bringer, bring):
    import_id = bring("email\na@example.org\nb@example.org\n")
    with bringer.sessions.begin() as session:
        deleted = session.scalars(select(Subscriber).where(Subscriber.email_key == "b@example.org")).one()
        session.delete(deleted)
        session.flush()
        session.add(
            Subscriber(
                id=deleted.id,  # SQLite gives it again
                account_id=bringer.account.id,
                email="new@example.org",
                email_key="new@example.org",
                created_at=bringer.now,
                updated_at=bringer.now,
            )
        )
    undo(bringer, import_id)
    with bringer.sessions() as session:
        assert session.scalars(select(Subscriber.email)).all() == ["new@example.org"]


def test_an_import_that_was_deleted_with_its_list_adds_no_one(bringer, bring):
    """SQLite gives its id to the next import."""
    with bringer.sessions.begin() as session:
        other = create_list(session, bringer.account.id, name="Other", now=bringer.now)
    bring("email,name\na@example.org,Anna\nb@example.org,Boris\n", lst=other)
    with bringer.sessions.begin() as session:
        delete_list(session, session.get_one(SubscriberList, other.id))
    import_id = bring("email,name\na@example.org,Anya\nc@example.org,Clara\n")
    assert bringer.job(import_id).updated == 1
    assert changes_of(bringer, import_id) == [("a@example.org", False, True)]
    undo(bringer, import_id)
    with bringer.sessions() as session:
        people = session.execute(select(Subscriber.email, Subscriber.first_name).order_by(Subscriber.id))
        assert [tuple(each) for each in people] == [("a@example.org", "Anna"), ("b@example.org", "Boris")]


def test_those_who_get_no_emails_are_counted_however_they_are_recorded(bringer, bring):
    import_id = bring(
        "email,status\na@example.org,subscribed\nb@example.org,unsubscribed\nc@example.org,subscribed\n"
    )
    with bringer.sessions.begin() as session:
        person = session.scalars(select(Subscriber).where(Subscriber.email_key == "c@example.org")).one()
        suppress(session, person, SubscriberStatus.bounced, reason="550", now=bringer.now)
    with bringer.sessions() as session:
        assert count_without_emails(session, session.get_one(Import, import_id)) == 2
    assert changes_of(bringer, import_id) == [("b@example.org", True, True)]


def test_values_reach_the_database_as_they_are(bringer, bring):
    content = "email;first name;note\n" + "".join(
        f'r{n}@example.org;"{name}";"{value}"\n'
        for n, (name, value) in enumerate(
            (text.replace('"', '""') if text.isprintable() else "x", text.replace('"', '""')) for text in ODD
        )
    )
    for values in (ODD, [f"{each}!" for each in ODD]):  # added, then changed
        bring(content if values is ODD else content.replace('"\n', '!"\n'))
        people = bringer.subscribers()
        assert [people[f"r{n}@example.org"].fields["note"] for n in range(len(ODD))] == [
            each.removeprefix("'") if each.startswith("'=") else each for each in values
        ]
        assert [people[f"r{n}@example.org"].first_name for n in range(len(ODD))] == [
            text if text.isprintable() else "x" for text in ODD
        ]
    with bringer.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Subscriber)) == len(ODD)
