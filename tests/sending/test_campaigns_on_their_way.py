"""Schedules, pauses, cancellations, recipients who unsubscribe meanwhile, doubts resolved by a user."""

from datetime import timedelta
from time import sleep
from typing import Any

import pytest

from mailganer.audience.subscribers import erase_subscriber
from mailganer.audience.suppression import unsubscribe
from mailganer.backends import Message, Outcome, Receipt, Scope
from mailganer.campaigns import state_changes
from mailganer.errors import Conflict
from mailganer.models import Campaign, CampaignStatus, FrozenEmail, Reason, Subscriber
from mailganer.sending import resolve
from tests.sending.scripted import Script, accept, receipt


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script) -> Any:
    return open_works(clock, script)


def test_a_campaign_starts_at_its_time_and_not_before(
    due: Any, works: Any, clock: Any, script: Script, statuses: Any, reload: Any
) -> None:
    campaign = due(5, send_at=clock.now + timedelta(hours=2))
    clock.forward(hours=1, minutes=59)
    works.run(3)
    assert reload(campaign).status is CampaignStatus.scheduled
    assert not script.seen
    clock.forward(minutes=1)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 5}
    assert reload(campaign).started_at == clock.now


def test_a_subscriber_on_three_lists_gets_one_email(
    make: Any, works: Any, script: Script, smtp_server: Any
) -> None:
    account = make.account(plan="pro")
    lists = tuple(make.list(account, name) for name in ("A", "B", "C"))
    make.subscriber(account, "everywhere@example.org", lists)
    make.subscriber(account, "gone@example.org", lists, status="unsubscribed")
    sender = make.sender(account, smtp_server)
    make.campaign(account, lists, (sender,), status=CampaignStatus.scheduled, send_at=make.now)
    make.commit()
    works.run(4)
    assert script.got == {"everywhere@example.org": 1}


def test_a_pause_stops_within_one_email_and_going_on_sends_the_edited_email(
    due: Any, works: Any, clock: Any, script: Script, sessions: Any, statuses: Any, deliveries: Any
) -> None:
    def answer(message: Message) -> Receipt:
        if len(script.seen) == 20:
            with sessions.begin() as session:
                state_changes.pause(session, session.get_one(Campaign, campaign.id), clock.now)
        if len(script.seen) >= 20:
            sleep(0.3)  # longer than a lane continues without a check
        return accept(message)

    script.answer = answer
    campaign = due(100)
    works.run(4)
    assert statuses(campaign.id)["sent"] <= 22
    assert statuses(campaign.id)["pending"] >= 78
    script.answer = accept
    with sessions() as session:
        paused = session.get_one(Campaign, campaign.id)
        paused.html = "<p>Corrected</p>"
        state_changes.resume(session, paused, clock.now)
        session.commit()
    works.run(4)
    assert statuses(campaign.id) == {"sent": 100}
    assert b"Corrected" not in script.seen[10].content
    assert b"Corrected" in script.seen[-1].content
    with sessions() as session:
        versions = {
            row.frozen_email_id: session.get_one(FrozenEmail, row.frozen_email_id).version
            for row in deliveries(campaign.id)
        }
    assert sorted(versions.values()) == [1, 2]


def test_a_cancelled_campaign_sends_nothing_more_and_says_so_of_every_recipient(
    due: Any, works: Any, clock: Any, script: Script, sessions: Any, statuses: Any, deliveries: Any
) -> None:
    script.limits = script.limits.__class__(per_day=30)
    campaign = due(100)
    works.run(4)
    with sessions.begin() as session:
        state_changes.cancel(session, session.get_one(Campaign, campaign.id), clock.now)
    clock.forward(days=2)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 30, "skipped": 70}
    assert {row.reason for row in deliveries(campaign.id)} == {None, Reason.cancelled}


def test_who_leaves_or_is_erased_meanwhile_gets_nothing(
    due: Any, works: Any, clock: Any, script: Script, sessions: Any, statuses: Any, deliveries: Any
) -> None:
    script.limits = script.limits.__class__(per_day=5)
    campaign = due(10)
    works.run(4)
    left, erased = deliveries(campaign.id)[7:9]
    with sessions.begin() as session:
        unsubscribe(session, session.get_one(Subscriber, left.subscriber_id), reason="", now=clock.now)
        erase_subscriber(session, session.get_one(Subscriber, erased.subscriber_id))
    clock.forward(days=2)
    works.run(5)
    assert statuses(campaign.id) == {"sent": 8, "skipped": 2}
    assert [row.reason for row in deliveries(campaign.id)[7:9]] == [Reason.unsubscribed, Reason.erased]
    assert left.email not in script.got


def test_two_senders_share_a_campaign_and_it_is_kept_who_wrote_to_whom(
    due: Any, make: Any, works: Any, script: Script, smtp_server: Any, deliveries: Any
) -> None:
    script.limits = script.limits.__class__(per_day=60)
    account = make.account(plan="pro")
    campaign = due(100, account=account)
    campaign.senders.append(make.sender(account, smtp_server, from_email="boris@example.com"))
    make.commit()
    works.run(5)
    assert set(script.got.values()) == {1}
    assert len(script.got) == 100
    froms = {message.recipient: message.sender for message in script.seen}
    names = {each.id: each.from_email for each in campaign.senders}
    assert {row.email: names[row.sender_id] for row in deliveries(campaign.id)} == froms
    assert set(froms.values()) == set(names.values())


def test_a_campaign_without_recipients_is_finished_at_once(due: Any, works: Any, reload: Any) -> None:
    campaign = due(0)
    works.run(3)
    assert reload(campaign).status is CampaignStatus.finished


def test_an_email_that_cannot_be_used_pauses_its_campaign_with_the_reason(
    due: Any, works: Any, script: Script, reload: Any
) -> None:
    campaign = due(3, html="<p>{{ first_name </p>")
    works.run(3)
    paused = reload(campaign)
    assert paused.status is CampaignStatus.paused
    assert paused.paused_reason
    assert not script.seen


@pytest.mark.parametrize(("word", "emails"), [("sent", 3), ("again", 4)])
def test_a_user_resolves_a_doubt_and_who_did_is_stored(
    due: Any,
    works: Any,
    clock: Any,
    script: Script,
    sessions: Any,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    word: str,
    emails: int,
) -> None:
    doubtful = receipt(Outcome.in_doubt, scope=Scope.connection)
    script.answer = lambda message: doubtful(message) if "000002" in message.recipient else accept(message)
    campaign = due(3)
    works.run(4)
    assert reload(campaign).status is CampaignStatus.finished
    script.answer = accept
    with sessions.begin() as session:
        row = session.get_one(Campaign, campaign.id)
        assert resolve(session, row, word, by="anna@example.com", now=clock.now) == 1
        assert resolve(session, row, word, by="boris@example.com", now=clock.now) == 0
    works.run(4)
    assert statuses(campaign.id) == {"sent": 3}
    assert len(script.seen) == emails
    assert deliveries(campaign.id)[1].decided_by == "anna@example.com"
    assert reload(campaign).status is CampaignStatus.finished


def test_nothing_is_sent_again_from_a_cancelled_campaign(
    due: Any, works: Any, clock: Any, script: Script, sessions: Any
) -> None:
    script.answer = receipt(Outcome.in_doubt, scope=Scope.connection)
    script.limits = script.limits.__class__(per_day=1)
    campaign = due(3)
    works.run(4)
    with sessions.begin() as session:
        row = session.get_one(Campaign, campaign.id)
        state_changes.cancel(session, row, clock.now)
        with pytest.raises(Conflict):
            resolve(session, row, "again", by="anna@example.com", now=clock.now)
