"""Counts of recipients are kept until a subscriber or a membership that they depend on changes."""

import pytest
from sqlalchemy import event

from mailganer import audience, subscriber_counts
from mailganer.models import Subscriber, SubscriberList


@pytest.fixture
def counting(engine):
    """The statements that read subscribers or memberships."""
    seen = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, *_):
        if "FROM subscriber " in f"{statement} " or "FROM list_member" in statement:
            seen.append(statement)

    return seen


@pytest.fixture
def two(account, make_list, make_subscriber, make):
    lists = (make_list(account, "One"), make_list(account, "Two"))
    make_subscriber(account, "anna@example.com", lists=lists, first_name="Anna")
    make_subscriber(account, "boris@example.com", lists=lists[1:])
    make.commit()
    return [each.id for each in lists]


def test_recipients_of_several_lists_are_counted_once(session, account, two, counting):
    account_id = account.id
    for _each in range(3):
        assert audience.recipient_count(session, account_id, two) == 2
        assert audience.excluded_counts(session, account_id, two[::-1]).places == 3
        assert audience.filled_counts(session, account_id, two, ["first_name"]) == {"first_name": 1}
        assert audience.known_fields(session, account_id)[1].filled == 1
    assert len(counting) == 3, counting


def test_recipients_of_one_list_are_never_counted(session, account, two, counting):
    account_id = account.id
    assert audience.recipient_count(session, account_id, two[1:]) == 2
    assert audience.excluded_counts(session, account_id, two[:1]).subscribers == 1
    assert counting == []


def test_a_change_of_another_list_or_account_counts_nothing_again(
    session, account, make_account, two, make_list, make_subscriber, make, now, counting
):
    account_id, other = account.id, make_list(account, "Three")
    anna = session.query(Subscriber).filter_by(email_key="anna@example.com").one()
    audience.recipient_count(session, account_id, two)
    counting.clear()
    make_subscriber(make_account(), "clara@example.com")
    make.commit()
    counting.clear()
    audience.recipient_count(session, account_id, two)
    assert counting == []
    audience.add_to_list(session, session.get(SubscriberList, other.id), anna, now)
    counting.clear()
    audience.recipient_count(session, account_id, two)
    assert counting == []


def test_a_count_of_changes_that_were_rolled_back_is_not_used(session, sessions, account, two, now, settings):
    account_id = account.id
    session.rollback()

    def add(other, email):
        lists = [other.get(SubscriberList, two[0])]
        owner = other.get(type(account), account_id)
        audience.add_subscriber(other, owner, email=email, lists=lists, now=now, settings=settings)

    with sessions() as other:
        add(other, "clara@example.com")
        assert audience.recipient_count(other, account_id, two) == 3
        other.rollback()
    with sessions.begin() as other:
        subscriber = other.query(Subscriber).filter_by(email_key="boris@example.com").one()
        audience.add_to_list(other, other.get(SubscriberList, two[0]), subscriber, now)
        audience.unsubscribe(other, subscriber, reason="click", now=now)
    with sessions() as other:
        assert audience.recipient_count(other, account_id, two) == 1


def test_folding_changes_no_version(session, account, two):
    before = subscriber_counts.versions(session, account.id, two)
    assert subscriber_counts.fold(session) > 0
    assert subscriber_counts.versions(session, account.id, two) == before
    subscriber_counts.note_new_values(session, account.id)
    assert subscriber_counts.versions(session, account.id, two) != before
