from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailganer.audience import add_subscriber, erase_subscriber
from mailganer.audience.suppression import suppress, suppressed
from mailganer.errors import Conflict
from mailganer.models import Event, EventKind, SubscriberStatus
from mailganer.tracking import campaign_numbers, recipient_page, resubscribe_by_token, unsubscribe_by_token
from mailganer.tracking.unsubscribing import masked


def left(session, sent):
    return campaign_numbers(session, [sent.campaign.id])[sent.campaign.id].unsubscribed


def test_unsubscribing_stops_emails_and_is_remembered_against_files(session, sent, account, now):
    reader = unsubscribe_by_token(session, sent.tokens[0], now=now)
    subscriber = sent.subscribers[0]
    assert (reader.subscribed, reader.left_by_this) == (False, True)
    assert subscriber.status is SubscriberStatus.unsubscribed
    assert sent.deliveries[0].unsubscribed_at == now
    assert left(session, sent) == 1
    assert suppressed(session, account.id, [subscriber.email_key]) == {
        subscriber.email_key: SubscriberStatus.unsubscribed
    }
    assert sent.subscribers[1].status is SubscriberStatus.active


def test_unsubscribing_again_changes_nothing(session, sent, now):
    unsubscribe_by_token(session, sent.tokens[0], now=now)
    unsubscribe_by_token(session, sent.tokens[0], now=now + timedelta(days=1))
    assert sent.deliveries[0].unsubscribed_at == now
    assert left(session, sent) == 1
    assert session.scalar(select(func.count()).select_from(Event)) == 1


def test_looking_at_the_page_changes_nothing(session, sent):
    reader = recipient_page(session, sent.tokens[0])
    assert reader.subscribed
    assert not session.dirty
    assert sent.subscribers[0].status is SubscriberStatus.active


def test_undo_brings_the_reader_back(session, sent, account, now):
    unsubscribe_by_token(session, sent.tokens[0], now=now)
    reader = resubscribe_by_token(session, sent.tokens[0], now=now)
    assert reader.subscribed
    assert sent.subscribers[0].status is SubscriberStatus.active
    assert left(session, sent) == 0
    assert suppressed(session, account.id, [sent.subscribers[0].email_key]) == {}
    assert list(session.scalars(select(Event.kind).order_by(Event.id))) == [
        EventKind.unsubscribe,
        EventKind.resubscribe,
    ]


def test_undo_takes_back_only_what_this_very_email_did(session, sent, now):
    suppress(session, sent.subscribers[0], SubscriberStatus.unsubscribed, reason="by hand", now=now)
    with pytest.raises(Conflict):
        resubscribe_by_token(session, sent.tokens[0], now=now)
    assert not recipient_page(session, sent.tokens[0]).left_by_this
    assert unsubscribe_by_token(session, sent.tokens[0], now=now).left_by_this is False
    assert left(session, sent) == 0


def test_who_complained_stays_out(session, sent, now):
    unsubscribe_by_token(session, sent.tokens[0], now=now)
    suppress(session, sent.subscribers[0], SubscriberStatus.complained, reason="spam button", now=now)
    with pytest.raises(Conflict):
        resubscribe_by_token(session, sent.tokens[0], now=now)


def test_an_erased_person_has_nothing_to_leave_and_that_is_no_error(session, sent, now):
    sent.deliveries[0].subscriber_id = None
    session.flush()
    reader = unsubscribe_by_token(session, sent.tokens[0], now=now)
    assert reader.erased
    assert reader.address == ""
    assert left(session, sent) == 0


def test_an_erased_person_who_unsubscribes_stays_out(session, sent, account, now):
    subscriber, delivery = sent.subscribers[0], sent.deliveries[0]
    email_key = subscriber.email_key
    erase_subscriber(session, subscriber)
    assert suppressed(session, account.id, [email_key]) == {}
    assert recipient_page(session, sent.tokens[0]).subscribed

    for _time in range(2):
        reader = unsubscribe_by_token(session, sent.tokens[0], now=now)
        assert (reader.erased, reader.subscribed, reader.address) == (True, False, "")
    assert not recipient_page(session, sent.tokens[0]).subscribed
    assert suppressed(session, account.id, [email_key]) == {email_key: SubscriberStatus.unsubscribed}
    session.refresh(delivery)
    assert (delivery.unsubscribed_at, left(session, sent)) == (now, 1)
    assert (delivery.email, email_key in delivery.email_key) == ("", False)
    with pytest.raises(Conflict):
        add_subscriber(session, account, email=email_key, now=now, settings=None)


def test_who_was_erased_and_added_again_is_unsubscribed_by_the_earlier_email(
    session, sent, account, make, now
):
    email = sent.subscribers[0].email
    erase_subscriber(session, sent.subscribers[0])
    again = make.subscriber(account, email)
    other = make.subscriber(make.account("other@example.com"), email)
    unsubscribe_by_token(session, sent.tokens[0], now=now)
    session.refresh(again)
    assert again.status is SubscriberStatus.unsubscribed
    assert other.status is SubscriberStatus.active
    assert suppressed(session, other.account_id, [email]) == {}
    assert left(session, sent) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SubscriberStatus.bounced, SubscriberStatus.unsubscribed),
        (SubscriberStatus.complained, SubscriberStatus.complained),
    ],
)
def test_the_weightier_status_of_an_erased_person_is_kept(session, sent, account, now, before, after):
    email_key = sent.subscribers[0].email_key
    suppress(session, sent.subscribers[0], before, reason="earlier", now=now)
    erase_subscriber(session, sent.subscribers[0])
    unsubscribe_by_token(session, sent.tokens[0], now=now)
    assert suppressed(session, account.id, [email_key]) == {email_key: after}


def test_going_and_coming_for_ever_does_not_fill_the_database(session, sent, now):
    for _time in range(30):
        unsubscribe_by_token(session, sent.tokens[0], now=now)
        resubscribe_by_token(session, sent.tokens[0], now=now)
    assert session.scalar(select(func.count()).select_from(Event)) == 20
    assert left(session, sent) == 0


def test_an_address_is_shown_to_its_owner_only():
    assert masked("anna.ivanova@example.org") == "a•••@example.org"
