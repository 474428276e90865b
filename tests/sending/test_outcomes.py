"""What a server's answer does to its recipient, to the sender and to the campaign."""

import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from mailganer.backends import Message, Outcome, Receipt, Scope
from mailganer.campaigns import state_changes
from mailganer.errors import LoginRefused, Unreachable
from mailganer.i18n.translator import translate_sentence
from mailganer.models import (
    Campaign,
    CampaignStatus,
    DeliveryStatus,
    Reason,
    Sender,
    SenderStatus,
    Subscriber,
    SubscriberStatus,
)
from tests.sending.scripted import Script, accept, receipt


@pytest.fixture
def works(open_works: Callable[..., Any], clock: Any, script: Script) -> Any:
    return open_works(clock, script)


def sender_of(campaign: Campaign) -> Sender:
    return campaign.senders[0]


def only(recipient: str, answer: Callable[[Message], Receipt]) -> Callable[[Message], Receipt]:
    return lambda message: answer(message) if message.recipient == recipient else accept(message)


def test_a_refused_recipient_has_failed_and_the_others_get_their_email(
    due: Any, works: Any, script: Script, statuses: Any, deliveries: Any, reload: Any
) -> None:
    script.answer = only("reader000003@example.org", receipt(Outcome.refused, "550 5.1.1 no such user"))
    campaign = due(10)
    works.run()
    assert statuses(campaign.id) == {"sent": 9, "failed": 1}
    failed = next(row for row in deliveries(campaign.id) if row.email == "reader000003@example.org")
    assert (failed.reason, failed.reply) == (Reason.refused, "550 5.1.1 no such user")
    assert reload(campaign).status is CampaignStatus.finished


def test_an_address_that_does_not_exist_is_not_written_to_again(
    due: Any, works: Any, script: Script, deliveries: Any, sessions: Any
) -> None:
    script.answer = only("reader000003@example.org", receipt(Outcome.refused, "550 5.1.1 no such user"))
    campaign = due(5)
    works.run()
    with sessions() as session:
        gone = session.get_one(Subscriber, deliveries(campaign.id)[2].subscriber_id)
        assert (gone.status, gone.status_reason) == (SubscriberStatus.bounced, "550 5.1.1 no such user")


def test_every_recipient_who_has_no_mailbox_is_remembered_with_the_servers_words_about_them(
    due: Any, works: Any, script: Script, sessions: Any
) -> None:
    script.answer = lambda message: receipt(Outcome.refused, f"550 5.1.1 no {message.recipient}")(message)
    due(9)
    works.run()
    with sessions() as session:
        for subscriber in session.query(Subscriber):
            assert subscriber.status_reason == f"550 5.1.1 no {subscriber.email}"


@pytest.mark.slow
def test_a_full_mailbox_is_tried_again_later_and_given_up_after_a_day(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, deliveries: Any, reload: Any
) -> None:
    tries = []

    def full(message: Message) -> Receipt:
        tries.append(clock.now)
        return Receipt(message.id, Outcome.deferred, "452 4.2.2 mailbox full")

    script.answer = only("reader000002@example.org", full)
    campaign = due(3)
    for minutes in [5] * 60 + [30] * 42:  # 26 hours, the shortest waits first
        works.tick()
        clock.forward(minutes=minutes)
    assert statuses(campaign.id) == {"sent": 2, "failed": 1}
    assert deliveries(campaign.id)[1].reason is Reason.expired
    waits = [second - first for first, second in pairwise(tries)]
    assert waits[:4] == [timedelta(minutes=each) for each in (5, 15, 60, 180)]
    assert tries[-1] - tries[0] < timedelta(hours=24)
    assert reload(campaign).status is CampaignStatus.finished


@pytest.mark.parametrize("why", ["the account rests", "the campaign is paused"])
def test_a_day_on_which_no_one_could_be_asked_is_not_held_against_a_full_mailbox(
    due: Any,
    works: Any,
    script: Script,
    clock: Any,
    sessions: Any,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    why: str,
) -> None:
    script.answer = only("reader000002@example.org", receipt(Outcome.deferred, "452 4.2.2 mailbox full"))
    campaign = due(3)
    works.run(3)
    with sessions.begin() as session:
        if why == "the account rests":
            sender = session.get_one(Sender, sender_of(campaign).id)
            sender.status, sender.sleeps_until = SenderStatus.sleeping, clock.now + timedelta(hours=25)
        else:
            state_changes.pause(session, session.get_one(Campaign, campaign.id), clock.now)
    clock.forward(hours=26)
    with sessions() as session:
        state_changes.resume(session, session.get_one(Campaign, campaign.id), clock.now)
        session.commit()
    works.run(3)
    assert deliveries(campaign.id)[1].attempts == 2
    assert statuses(campaign.id) == {"sent": 2, "pending": 1}
    for _hour in range(5):
        clock.forward(hours=1)
        works.run(2)
    assert deliveries(campaign.id)[1].attempts == 5
    assert statuses(campaign.id) == {"sent": 2, "failed": 1}
    assert reload(campaign).status is CampaignStatus.finished


def test_a_lost_connection_is_not_the_users_failure_and_no_attempt(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, deliveries: Any, reload: Any
) -> None:
    script.answer = receipt(Outcome.deferred, "421 4.3.2 closing", scope=Scope.connection)
    campaign = due(4)
    works.run(2)
    assert statuses(campaign.id) == {"pending": 4}
    assert {row.attempts for row in deliveries(campaign.id)} == {0}
    sender = reload(sender_of(campaign))
    assert sender.status is SenderStatus.sleeping
    assert "421 4.3.2 closing" in translate_sentence(sender.error)
    script.answer = accept
    clock.forward(minutes=1)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 4}
    assert (reload(sender).failures, reload(sender).error) == (0, None)


def test_a_server_out_of_reach_stops_its_sender_after_five_tries_and_loses_no_email(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    def unreachable() -> None:
        raise Unreachable("The server does not answer.")

    script.connecting = unreachable
    campaign = due(4)
    for _each in range(20):
        works.run(2)
        if reload(sender_of(campaign)).status is SenderStatus.failing:
            break
        clock.forward(minutes=1)
    assert script.connections == 5
    assert reload(sender_of(campaign)).error == "The server does not answer."
    assert statuses(campaign.id) == {"pending": 4}
    script.connecting = lambda: None
    clock.forward(minutes=31)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 4}


def test_a_backend_that_breaks_while_it_connects_lets_its_sender_rest_and_says_so(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    def broken() -> None:
        raise KeyError("somebody else's mistake")

    script.connecting = broken
    campaign = due(4)
    works.run(5)
    assert script.connections == 1, "it is not tried at every tick"
    sender = reload(sender_of(campaign))
    assert sender.status is SenderStatus.sleeping
    assert "broken" in translate_sentence(sender.error)
    script.connecting = lambda: None
    clock.forward(minutes=1)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 4}


def test_a_backend_that_breaks_while_it_closes_holds_up_no_one(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    def broken() -> None:
        raise KeyError("somebody else's mistake")

    script.closing = broken
    campaign = due(4)
    works.run(4)
    assert "lease-renewer" not in {thread.name for thread in threading.enumerate()}
    assert statuses(campaign.id) == {"sent": 4}
    assert reload(campaign).status is CampaignStatus.finished


def test_a_refused_password_stops_its_sender_at_once_and_is_not_tried_again(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    def refuse() -> None:
        raise LoginRefused("The server refused the password.", "535 5.7.8 no")

    script.connecting = refuse
    campaign = due(4)
    for _each in range(10):
        works.run(2)
        clock.forward(hours=1)
    assert script.connections == 1
    sender = reload(sender_of(campaign))
    assert (sender.status, translate_sentence(sender.error)) == (
        SenderStatus.failing,
        "The server refused the password. 535 5.7.8 no",
    )
    assert statuses(campaign.id) == {"pending": 4}
    assert reload(campaign).status is CampaignStatus.sending


def test_a_login_that_fails_in_the_middle_keeps_the_rest_pending(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    def answer(message: Message) -> Receipt:
        if len(script.seen) < 3:
            return accept(message)
        return Receipt(message.id, Outcome.unauthorised, "535 5.7.8 gone", None, Scope.account)

    script.answer = answer
    campaign = due(10)
    works.run()
    assert statuses(campaign.id) == {"sent": 3, "pending": 7}
    assert "535 5.7.8 gone" in translate_sentence(reload(sender_of(campaign)).error)
    assert len(script.seen) == 4


@pytest.mark.slow
def test_enough_for_today_puts_the_sender_to_sleep_until_its_oldest_email_is_a_day_old(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    begun = clock.now

    def answer(message: Message) -> Receipt:
        if sum(script.got.values()) < 5 or clock.now >= begun + timedelta(hours=24):
            return accept(message)
        return Receipt(message.id, Outcome.exhausted, "550 5.4.5 Daily user sending limit exceeded")

    script.answer = answer
    campaign = due(12)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 5, "pending": 7}
    sender = reload(sender_of(campaign))
    assert sender.status is SenderStatus.sleeping
    assert sender.sleeps_until == begun + timedelta(hours=24, minutes=1)
    assert sender.learned_per_day == 5
    for _each in range(75):
        clock.forward(hours=1)
        works.run(2)
    assert statuses(campaign.id)["failed"] == 0
    assert statuses(campaign.id)["sent"] == 12
    assert set(script.got.values()) == {1}


def test_a_connection_that_dies_with_an_email_leaves_it_in_doubt_for_ever(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, deliveries: Any
) -> None:
    script.answer = only("reader000002@example.org", receipt(Outcome.in_doubt, scope=Scope.connection))
    campaign = due(3)
    for _each in range(50):
        works.tick()
        clock.forward(hours=1)
    assert statuses(campaign.id) == {"sent": 2, "in_doubt": 1}
    assert deliveries(campaign.id)[1].reason is Reason.disconnected
    assert len(script.seen) == 3


@pytest.mark.parametrize(("found", "becomes"), [(True, "in_doubt sent"), (False, "in_doubt again")])
def test_a_doubtful_email_is_looked_up_where_the_server_can_tell(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, found: bool, becomes: str
) -> None:
    script.answer = only("reader000002@example.org", receipt(Outcome.in_doubt, scope=Scope.connection))
    asked: list[str] = []

    def accepted(message_id: str) -> bool:
        asked.append(message_id)
        return found

    script.accepted = accepted
    campaign = due(3)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 2, "in_doubt": 1}
    script.answer = accept
    for _each in range(15):
        clock.forward(minutes=1)
        works.tick()
    assert statuses(campaign.id) == {"sent": 3}
    assert len(script.seen) == (3 if found else 4)
    assert f"\r\nMessage-ID: {asked[0]}\r\n".encode() in script.seen[1].content


def test_an_email_refused_for_what_it_is_pauses_the_campaign_and_fails_no_recipient(
    due: Any, works: Any, script: Script, statuses: Any, deliveries: Any, reload: Any
) -> None:
    script.answer = receipt(Outcome.refused, "554 5.7.1 looks like spam", scope=Scope.message)
    campaign = due(40)
    works.run()
    paused = reload(campaign)
    assert paused.status is CampaignStatus.paused
    assert "554 5.7.1 looks like spam" in translate_sentence(paused.paused_reason)
    assert statuses(campaign.id)["failed"] < 10
    assert len(script.seen) < 40
    waiting = [row for row in deliveries(campaign.id) if row.status is DeliveryStatus.pending]
    assert {row.first_tried_at for row in waiting} == {None}, "their day begins when it goes on"


def test_an_email_that_breaks_for_every_recipient_pauses_the_campaign(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    campaign = due(60, html="<p>{{ 1 // (city|length - city|length) }}</p>")
    works.run()
    paused = reload(campaign)
    assert paused.status is CampaignStatus.paused
    assert paused.paused_reason
    assert not script.seen


def test_the_broken_value_of_one_recipient_skips_only_them(
    due: Any, works: Any, script: Script, statuses: Any, deliveries: Any
) -> None:
    campaign = due(10, html="<p>{{ 1 // (first_name|length - 5) }}</p>")  # Имя10 has five emails
    works.run()
    assert statuses(campaign.id) == {"sent": 9, "skipped": 1}
    assert deliveries(campaign.id)[9].reason is Reason.render_error


def test_a_value_of_one_recipient_that_exceeds_the_limits_skips_only_them(
    due: Any, works: Any, script: Script, statuses: Any, deliveries: Any
) -> None:
    # Harmless for a value of one character, and so it is when the campaign is checked and compiled.
    campaign = due(
        10,
        html="<p>x</p>{% set x = first_name|replace('И', 'a') %}"
        "{% if x.endswith('10') %}{% set x = 'a' * 9900 %}{% set y = x.replace('a', 'a' * 9) %}"
        + "{% if y.rfind('ab' ~ x ~ x ~ x ~ x) %}{% endif %}" * 20
        + "{% endif %}",
    )
    works.run()
    assert statuses(campaign.id) == {"sent": 9, "skipped": 1}
    assert deliveries(campaign.id)[9].reason is Reason.render_error
    assert "too many" in deliveries(campaign.id)[9].reply


def test_a_sentence_about_the_email_of_one_recipient_is_stored_with_its_values(
    due: Any, works: Any, deliveries: Any, session: Any
) -> None:
    campaign = due(3, html="<p>{{ city }}</p>")
    session.scalars(select(Subscriber).order_by(Subscriber.id)).all()[1].fields = {"city": "x" * 10_001}
    session.commit()
    works.run()
    kept = deliveries(campaign.id)[1]
    assert kept.reason is Reason.render_error
    assert translate_sentence(kept.reply, "ru") == "Поле «city» у этого получателя длиннее 10 000 символов."
