"""Subscribers, lists and suppression, on both databases."""

import re
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from mailganer import audience
from mailganer.audience.csv_cells import original_cell
from mailganer.audience.fields import RESERVED
from mailganer.campaigns.values import BUILTIN
from mailganer.errors import Conflict, InputError, LimitReached, NotFound
from mailganer.models import (
    Account,
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
    Import,
    ImportReject,
    Subscriber,
    SubscriberStatus,
    Suppression,
    list_member,
)


@pytest.fixture
def add(session, account, now, settings):
    def add(email="anna@example.com", **values):
        return audience.add_subscriber(session, account, email=email, now=now, settings=settings, **values)

    return add


# Adding and changing


def test_a_subscriber_is_added_with_all_fields(session, account, add, make_list):
    lst = make_list(account)
    added = add(
        "Anna@Example.com",
        first_name=" Анна ",
        birthday="14.05.1990",
        fields={"city": "Омск", "Любимый цвет": "синий", "empty": ""},
        lists=[lst],
    )
    subscriber = added.subscriber
    assert (added.created, added.note) == (True, None)
    assert (subscriber.email, subscriber.email_key, subscriber.first_name) == (
        "Anna@Example.com",
        "anna@example.com",
        "Анна",
    )
    assert (subscriber.birthday, subscriber.fields) == (
        date(1990, 5, 14),
        {"city": "Омск", "lyubimyy_tsvet": "синий"},
    )
    assert [each.id for each in subscriber.lists] == [lst.id]


def test_an_existing_subscriber_joins_the_list_and_is_filled_in(account, add, make_list):
    add(first_name="Анна", fields={"city": "Омск"})
    lst = make_list(account)
    again = add("ANNA@example.com", last_name="Иванова", fields={"age": 36}, lists=[lst])
    subscriber = again.subscriber
    assert not again.created
    assert (subscriber.first_name, subscriber.last_name) == ("Анна", "Иванова")
    assert subscriber.fields == {"city": "Омск", "age": 36}
    assert [each.id for each in subscriber.lists] == [lst.id]


def test_every_wrong_field_is_said_at_once(add, session):
    with pytest.raises(InputError) as wrong:
        add("nobody", first_name="a\nb", birthday="31.02.1990", fields={"x": "y" * 10_001})
    assert wrong.value.fields.keys() == {"email", "first_name", "birthday", "fields"}
    assert session.scalar(select(func.count()).select_from(Subscriber)) == 0


def test_a_full_plan_takes_no_one_new_but_those_who_are_there(session, account, now, settings):
    small = replace(settings, plans=(replace(settings.plans[0], max_subscribers=1),))
    audience.add_subscriber(session, account, email="a@example.com", now=now, settings=small)
    with pytest.raises(LimitReached):
        audience.add_subscriber(session, account, email="b@example.com", now=now, settings=small)
    again = audience.add_subscriber(
        session, account, email="a@example.com", first_name="A", now=now, settings=small
    )
    assert again.subscriber.first_name == "A"


def test_lists_of_others_take_no_one(add, make, make_list):
    theirs = make_list(make.account("other@example.com"))
    with pytest.raises(NotFound):
        add(lists=[theirs])


def test_a_change_merges_fields_and_replaces_lists(session, account, add, make_list, now):
    one, two = make_list(account, "One"), make_list(account, "Two")
    subscriber = add(fields={"city": "Омск", "age": "36"}, lists=[one]).subscriber
    audience.update_subscriber(
        session,
        subscriber,
        {"fields": {"city": None, "shoe": 38}, "lists": [two], "first_name": "Алёна", "birthday": "--02-29"},
        now,
    )
    assert subscriber.fields == {"age": "36", "shoe": 38}
    assert [each.name for each in subscriber.lists] == ["Two"]
    assert subscriber.birthday == date(1604, 2, 29)
    assert [each.id for each in audience.search_subscribers(session, account.id, query="алена").items] == [
        subscriber.id
    ]


def test_an_address_can_be_changed_but_not_to_another_subscribers(session, add, now):
    add("boris@example.com")
    subscriber = add().subscriber
    with pytest.raises(InputError) as wrong:
        audience.update_subscriber(session, subscriber, {"email": "BORIS@example.com"}, now)
    assert wrong.value.fields.keys() == {"email"}
    audience.update_subscriber(session, subscriber, {"email": "Anna.New@example.com"}, now)
    assert (subscriber.email, subscriber.email_key) == ("Anna.New@example.com", "anna.new@example.com")


# Unsubscribing and subscribing again


def test_who_unsubscribed_gets_nothing_and_stays_so_when_added_again(session, account, add, make_list, now):
    lst = make_list(account)
    subscriber = add(lists=[lst]).subscriber
    assert audience.unsubscribe(session, subscriber, reason="link", now=now)
    assert not audience.unsubscribe(session, subscriber, reason="again", now=now)
    assert session.execute(audience.recipients(account.id, [lst.id])).all() == []
    again = add()
    assert again.subscriber.status is SubscriberStatus.unsubscribed
    assert again.note
    assert subscriber.status_reason == "link"


def test_only_the_recipient_can_subscribe_again(session, account, add, make_list, now):
    lst = make_list(account)
    subscriber = add(lists=[lst]).subscriber
    audience.unsubscribe(session, subscriber, reason="link", now=now)
    assert audience.resubscribe(session, subscriber, now=now)
    assert not audience.resubscribe(session, subscriber, now=now)
    assert session.scalars(select(Suppression)).all() == []
    assert len(session.execute(audience.recipients(account.id, [lst.id])).all()) == 1


def test_a_weightier_reason_is_never_replaced_by_a_lighter_one(session, add, now):
    subscriber = add().subscriber
    audience.suppress(session, subscriber, SubscriberStatus.bounced, reason="550", now=now)
    audience.suppress(session, subscriber, SubscriberStatus.complained, reason="spam", now=now)
    assert not audience.unsubscribe(session, subscriber, reason="link", now=now)
    assert not audience.suppress(session, subscriber, SubscriberStatus.bounced, reason="550", now=now)
    assert subscriber.status is SubscriberStatus.complained
    with pytest.raises(Conflict):
        audience.resubscribe(session, subscriber, now=now)
    with pytest.raises(ValueError, match="active"):
        audience.suppress(session, subscriber, SubscriberStatus.active, reason="", now=now)


def test_suppression_is_the_accounts_own_and_no_plain_hash(session, account, add, make, now):
    audience.unsubscribe(session, add().subscriber, reason="link", now=now)
    other = make.account("other@example.com")
    keys = ["anna@example.com", "boris@example.com"]
    assert audience.suppressed(session, account.id, keys) == {
        "anna@example.com": SubscriberStatus.unsubscribed
    }
    assert audience.suppressed(session, other.id, keys) == {}
    digest = session.scalars(select(Suppression.digest)).one()
    assert digest == audience.suppression_digest(account.suppression_key, "anna@example.com")
    assert digest != audience.suppression_digest(other.suppression_key, "anna@example.com")


# Erasing


def test_erasing_leaves_no_trace_but_the_memory_that_they_left(session, account, add, make, make_list, now):
    canary = "canary.иванова@example.com"
    lst = make_list(account)
    subscriber = add(canary, first_name="Canary", fields={"note": "Canary"}, lists=[lst]).subscriber
    other = add("boris@example.com", lists=[lst]).subscriber
    campaign = make.campaign(account, (lst,))
    for number, each in enumerate((subscriber, other)):
        delivery = Delivery(
            id=campaign.id * 10_000_000 + number,
            campaign_id=campaign.id,
            subscriber_id=each.id,
            email=each.email,
            email_key=each.email_key,
            token=bytes([number]) * 16,
            status=DeliveryStatus.pending if number else DeliveryStatus.sent,
            reply=f"250 ok <{each.email}>",
            dated_at=now,
        )
        session.add(delivery)
        session.add(
            Event(
                campaign_id=campaign.id,
                delivery_id=delivery.id,
                kind=EventKind.open,
                at=now,
                agent="Canary/1.0",
            )
        )
    job = Import(account_id=account.id, list_id=lst.id, filename="x", path="x.csv", created_at=now)
    session.add(job)
    session.flush()
    session.add(
        ImportReject(import_id=job.id, row=2, code="birthday", detail="", cells=[canary.upper(), "x"])
    )
    session.add(
        ImportReject(import_id=job.id, row=3, code="birthday", detail="", cells=["boris@example.com"])
    )
    session.flush()
    audience.unsubscribe(session, subscriber, reason="link", now=now)

    audience.erase_subscriber(session, subscriber)
    session.commit()

    assert session.scalars(select(Subscriber.email)).all() == ["boris@example.com"]
    gone, kept = session.scalars(select(Delivery).order_by(Delivery.id)).all()
    assert (gone.email, gone.subscriber_id, gone.reply) == ("", None, None)
    assert (kept.email, kept.subscriber_id) == ("boris@example.com", other.id)
    assert session.scalars(select(Event.agent).order_by(Event.id)).all() == ["", "Canary/1.0"]
    assert session.scalars(select(ImportReject.row)).all() == [3]
    assert session.execute(select(list_member.c.subscriber_id)).scalars().all() == [other.id]
    assert audience.suppressed(session, account.id, [canary]) == {canary: SubscriberStatus.unsubscribed}
    with pytest.raises(Conflict):
        add(canary)


def test_two_erased_subscribers_of_one_campaign_do_not_collide(session, account, add, make, now):
    campaign = make.campaign(account)
    for number in range(2):
        subscriber = add(f"r{number}@example.com").subscriber
        session.add(
            Delivery(
                id=campaign.id * 10_000_000 + number,
                campaign_id=campaign.id,
                subscriber_id=subscriber.id,
                email=subscriber.email,
                email_key=subscriber.email_key,
                token=bytes([number]) * 16,
                dated_at=now,
            )
        )
        session.flush()
        audience.erase_subscriber(session, subscriber)
    assert len(set(session.scalars(select(Delivery.email_key)))) == 2


def test_who_never_left_can_be_added_again_after_being_erased(session, add):
    audience.erase_subscriber(session, add().subscriber)
    assert add().created


# Recipients of a campaign


def test_recipients_are_the_active_subscribers_of_some_lists_each_once_in_order(
    session, account, make, make_list, now
):
    one, two, none = make_list(account, "One"), make_list(account, "Two"), make_list(account, "None")
    both = make.subscriber(account, "both@example.com", (one, two))
    first = make.subscriber(account, "first@example.com", (one,))
    left = make.subscriber(account, "left@example.com", (one, two))
    waiting = make.subscriber(account, "w@example.com", (two,), status=SubscriberStatus.unconfirmed)
    make.subscriber(account, "nowhere@example.com")
    make.subscriber(make.account("other@example.com"), "both@example.com")
    audience.unsubscribe(session, left, reason="x", now=now)
    query = audience.recipients(account.id, [one.id, two.id])
    assert [row.id for row in session.execute(query)] == [both.id, first.id]
    assert [row.id for row in session.execute(query.where(Subscriber.id > both.id).limit(1))] == [first.id]
    assert audience.recipient_count(session, account.id, [one.id, two.id]) == 2
    assert audience.recipient_count(session, account.id, []) == 0
    assert session.execute(audience.recipients(account.id, [none.id])).all() == []
    excluded = audience.excluded_counts(session, account.id, [one.id, two.id])
    assert (excluded.places, excluded.subscribers, excluded.repeats, excluded.recipients) == (6, 4, 2, 2)
    assert (excluded.unsubscribed, excluded.unconfirmed, excluded.bounced) == (1, 1, 0)
    assert waiting.status is SubscriberStatus.unconfirmed


def test_lists_are_counted_in_one_go_and_never_across_accounts(session, account, make, make_list, now):
    one, two = make_list(account, "One"), make_list(account, "Two")
    make.subscribers(account, 3, one)
    audience.unsubscribe(session, session.scalars(select(Subscriber)).first(), reason="x", now=now)
    counts = audience.list_counts(session, [one.id, two.id])
    assert counts[one.id][SubscriberStatus.active] == 2
    assert counts[one.id][SubscriberStatus.unsubscribed] == 1
    assert set(counts[two.id].values()) == {0}


def test_a_list_that_a_campaign_goes_to_stays(session, account, make, make_list):
    lst = make_list(account)
    campaign = make.campaign(account, (lst,), status="scheduled")
    with pytest.raises(Conflict):
        audience.delete_list(session, lst)
    campaign.status = "finished"
    session.flush()
    subscriber = make.subscriber(account, lists=(lst,))
    audience.delete_list(session, lst)
    session.expire_all()
    assert subscriber.lists == []


# Searching


def test_pages_of_subscribers_continue_where_the_last_one_ended(session, account, make):
    ids = make.subscribers(account, 7)
    seen, after = [], None
    while True:
        page = audience.search_subscribers(session, account.id, after=after, limit=3)
        seen += [subscriber.id for subscriber in page.items]
        after = page.next
        if after is None:
            break
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("анна", ["anna@example.com"]),
        ("ИВАНОВА анна", ["anna@example.com"]),
        ("петр", ["petr@example.com"]),
        ("Семен", ["petr@example.com"]),
        ("anna@example.com", ["anna@example.com"]),
        ("example.com", ["petr@example.com", "anna@example.com"]),
        ("100%", []),
        ("_", []),
        ("' or 1=1 --", []),
        ("", ["petr@example.com", "anna@example.com"]),
    ],
)
def test_subscribers_are_found_by_any_part_of_name_and_address(session, account, make, query, found):
    make.subscriber(account, "anna@example.com", first_name="Анна", last_name="Иванова")
    make.subscriber(account, "petr@example.com", first_name="Пётр", last_name="Семёнов")
    make.subscriber(make.account("other@example.com"), "anna@example.com", first_name="Анна")
    page = audience.search_subscribers(session, account.id, query=query)
    assert [subscriber.email for subscriber in page.items] == found


# Fields


def test_known_fields_say_how_many_have_them(session, account, make, make_list):
    lst = make_list(account)
    make.subscriber(account, "a@example.com", (lst,), first_name="A", fields={"city": "x"})
    make.subscriber(
        account, "b@example.com", (lst,), birthday=date(1990, 1, 1), fields={"city": "", "age": "3"}
    )
    make.subscriber(account, "c@example.com", fields={"shoe": "38"}, status=SubscriberStatus.bounced)
    known = {field.name: (field.filled, field.seen) for field in audience.known_fields(session, account.id)}
    assert known == {
        "email": (3, 3),
        "first_name": (1, 3),
        "last_name": (0, 3),
        "birthday": (1, 3),
        "city": (1, 3),
        "age": (1, 3),
        "shoe": (1, 3),
    }
    here = [field.name for field in audience.known_fields(session, account.id, [lst.id])]
    assert "shoe" not in here
    names = ["city", "age", "first_name", "birthday", "email", "nothing"]
    assert audience.filled_counts(session, account.id, [lst.id], names) == {
        "city": 1,
        "age": 1,
        "first_name": 1,
        "birthday": 1,
        "email": 2,
        "nothing": 0,
    }


def test_no_field_takes_a_name_that_emails_use_already():
    assert BUILTIN <= RESERVED
    for name in BUILTIN | {"for", "in", "loop", "email", "first_name"}:
        assert audience.slug(name) not in RESERVED
        assert audience.slug(name) != name


def test_values_of_emails_cannot_be_covered_by_fields(account, make):
    subscriber = make.subscriber(
        account, "a@example.com", first_name="A", fields={"email": "evil", "city": "x"}
    )
    assert audience.subscriber_values(subscriber, ()) == {
        "email": "a@example.com",
        "first_name": "A",
        "last_name": "",
        "birthday": None,
        "city": "x",
    }


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+7 999", "'+7 999"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("a;=1+1", "a;'=1+1"),
        ('a; "=1', "a;' \"=1"),
        ("one\n-2+3", "one\n'-2+3"),
        ("x\t@SUM(A1);+1", "x\t'@SUM(A1);'+1"),
        ("a;'=1", "a;''=1"),
        ("a-b; c", "a-b; c"),
        ("a, =b", "a, =b"),
        (' "=1', "' \"=1"),
        ("＝1", "'＝1"),
        ("﹦1", "'﹦1"),
        ("\u3000=1", "'\u3000=1"),
        ("\ufeff+1", "'\ufeff+1"),
        ("\x1f@x", "'\x1f@x"),
        ("a|=1", "a|'=1"),
        ("a\x0b-1", "a\x0b'-1"),
        ("a\u2028\u200b=1", "a\u2028'\u200b=1"),
        ("a-1|b", "a-1|b"),
        ("Анна", "Анна"),
        ("anna@example.com", "anna@example.com"),
        ("", ""),
    ],
)
def test_no_spreadsheet_computes_an_exported_cell(cell, safe):
    assert audience.safe_cell(cell) == safe
    assert original_cell(safe) == cell


def test_an_account_that_is_new_has_a_key_of_its_own(session, make):
    keys = {make.account().suppression_key for _number in range(3)}
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)
    assert session.scalar(select(func.count()).select_from(Account)) == 3


@given(st.text(alphabet="a=+-@;|\t\r\n\x0b\u2028\u3000\u200b'\" ,＝﹢", max_size=12))
def test_a_guarded_cell_is_nowhere_computed_and_comes_back_as_it_was(text):
    safe = audience.safe_cell(text)
    assert original_cell(safe) == text
    for cell in re.split("[;|\t\r\n\x0b\u2028]", safe):
        assert not cell.lstrip(' \u3000\u200b"').startswith(("=", "+", "-", "@", "＝", "﹢"))
