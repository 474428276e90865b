"""Ending doubts while others work on the same campaign, and asking servers that are slow or away."""

import time
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import text, update

from mailganer.backends import Message, Outcome, Receipt, Scope
from mailganer.errors import TooFast, Unreachable
from mailganer.models import Campaign, CampaignStatus, DeliveryStatus, Sender, SenderStatus
from mailganer.sending import in_doubt, resolve
from mailganer.sending.in_doubt import LOOK_UP_EVERY
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.backoff import LOOK_UP_AFTER, LOOK_UP_FOR, LOOK_UP_LAST, LOOK_UP_PAUSE
from tests.faults.conftest import at
from tests.sending.scripted import Script, accept, receipt

two_writers = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

DOUBTFUL = receipt(Outcome.in_doubt, scope=Scope.connection)


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script) -> Any:
    return open_works(clock, script)


@pytest.fixture
def doubtful(due: Any, works: Any, script: Script) -> Any:
    """A campaign with all emails settled, one of them in doubt; no tick has finished it yet."""

    def answer(message: Message) -> Receipt:
        return DOUBTFUL(message) if "000002" in message.recipient else accept(message)

    script.answer = answer
    campaign = due(3)
    works.run(2)
    script.answer = accept
    return campaign


# --- while another process finishes the campaign


@two_writers
def test_an_email_is_sent_again_though_its_campaign_was_finished_after_the_page_was_read(
    doubtful: Any, works: Any, clock: Any, sessions: Any, statuses: Any, reload: Any
) -> None:
    with sessions.begin() as session:
        read = session.get_one(Campaign, doubtful.id)
        assert read.status is CampaignStatus.sending
        works.tick()
        assert reload(doubtful).status is CampaignStatus.finished
        assert resolve(session, read, "again", by="anna@example.com", now=clock.now) == 1
    assert reload(doubtful).status is CampaignStatus.sending
    works.run(4)
    assert statuses(doubtful.id) == {"sent": 3}


@two_writers
def test_a_tick_finishes_no_campaign_of_which_an_email_is_just_being_sent_again(
    doubtful: Any, works: Any, clock: Any, sessions: Any, statuses: Any, reload: Any
) -> None:
    with sessions.begin() as session:
        read = session.get_one(Campaign, doubtful.id)
        assert resolve(session, read, "again", by="anna@example.com", now=clock.now) == 1
        works.tick()
    assert reload(doubtful).status is CampaignStatus.sending
    works.run(4)
    assert statuses(doubtful.id) == {"sent": 3}


@two_writers
def test_an_email_the_server_never_had_is_sent_again_though_its_campaign_is_just_being_finished(
    doubtful: Any,
    works: Any,
    clock: Any,
    script: Script,
    sessions: Any,
    statuses: Any,
    reload: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holds = Event()

    def finishes_slowly() -> None:
        with sessions.begin() as session:
            session.execute(
                update(Campaign)
                .where(Campaign.id == doubtful.id)
                .values(status=CampaignStatus.finished, finished_at=clock.now)
            )
            holds.set()
            time.sleep(0.5)

    rival = Thread(target=finishes_slowly)

    def begin(*_: Any) -> None:
        rival.start()
        assert holds.wait(10)

    at(monkeypatch, in_doubt, "reopen_campaign", 1, begin)
    script.accepted = lambda message_id: False
    clock.forward(seconds=LOOK_UP_LAST.total_seconds())
    assert in_doubt.look_up(works.context, doubtful.senders[0].id) == 1
    rival.join(10)
    assert reload(doubtful).status is CampaignStatus.sending
    works.run(4)
    assert statuses(doubtful.id) == {"sent": 3}


def test_a_finished_campaign_in_which_someone_waits_continues(
    doubtful: Any, works: Any, clock: Any, sessions: Any, statuses: Any, reload: Any
) -> None:
    with sessions.begin() as session:
        read = session.get_one(Campaign, doubtful.id)
        resolve(session, read, "again", by="anna@example.com", now=clock.now)
        session.execute(text("UPDATE campaign SET status = 'finished'"))
    clock.forward(seconds=LOOK_UP_EVERY.total_seconds())
    works.run(4)
    assert statuses(doubtful.id) == {"sent": 3}
    assert reload(doubtful).status is CampaignStatus.finished


# --- asking a server that is slow or away


@pytest.fixture
def many_doubts(due: Any, works: Any, script: Script, clock: Any, sessions: Any) -> Any:
    """A campaign of five emails that are all in doubt and due to be looked up."""
    script.answer = DOUBTFUL
    campaign = due(5)
    for _email in range(5):
        works.run(1)
        with sessions.begin() as session:  # without the rest after each email in doubt
            session.execute(update(Sender).values(status=SenderStatus.ready, sleeps_until=None, failures=0))
    clock.forward(seconds=LOOK_UP_AFTER.total_seconds())
    return campaign


@pytest.mark.slow
def test_a_mailbox_that_is_away_for_a_while_is_asked_again(
    doubtful: Any, works: Any, clock: Any, script: Script, statuses: Any
) -> None:
    asked = []

    def away(message_id: str) -> bool:
        asked.append(clock.now)
        if len(asked) < 4:
            raise Unreachable("The mailbox does not answer.")
        return True

    script.accepted = away
    for _minute in range(90):
        works.tick()
        clock.forward(minutes=1)
    assert statuses(doubtful.id) == {"sent": 3}
    assert [(later - asked[0]) / LOOK_UP_PAUSE for later in asked] == [0, 1, 2, 3]


@pytest.mark.slow
def test_after_a_day_no_one_asks_any_more_and_the_doubt_stays(
    doubtful: Any, works: Any, clock: Any, script: Script, statuses: Any, deliveries: Any
) -> None:
    asked = []

    def away(message_id: str) -> bool:
        asked.append(clock.now)
        raise Unreachable("The mailbox does not answer.")

    script.accepted = away
    for _quarter in range(4 * 30):
        works.tick()
        clock.forward(minutes=15)
    assert statuses(doubtful.id) == {"sent": 2, "in_doubt": 1}
    assert LOOK_UP_FOR <= asked[-1] - asked[0] <= LOOK_UP_FOR + 2 * LOOK_UP_PAUSE
    assert deliveries(doubtful.id)[1].not_before is None


def test_a_backend_that_breaks_while_it_is_asked_is_asked_again_later(
    doubtful: Any, works: Any, clock: Any, script: Script, deliveries: Any
) -> None:
    def broken(message_id: str) -> bool:
        raise KeyError("somebody else's mistake")

    script.accepted = broken
    clock.forward(seconds=LOOK_UP_AFTER.total_seconds())
    assert in_doubt.look_up(works.context, doubtful.senders[0].id) == 0
    assert deliveries(doubtful.id)[1].not_before == clock.now + LOOK_UP_PAUSE


def test_no_one_else_is_called_to_a_mailbox_that_is_just_being_asked(
    doubtful: Any, works: Any, clock: Any, script: Script
) -> None:
    rung: list[str] = []

    def slow(message_id: str) -> bool:
        clock.forward(seconds=LOOK_UP_EVERY.total_seconds())
        rung.extend(call.task for call in tick(works.context))
        assert in_doubt.look_up(works.context, doubtful.senders[0].id) == 0
        return True

    script.accepted = slow
    clock.forward(seconds=LOOK_UP_AFTER.total_seconds())
    assert in_doubt.look_up(works.context, doubtful.senders[0].id) == 1
    assert "look_up" not in rung


def test_a_slow_mailbox_is_asked_for_some_seconds_and_about_the_rest_at_the_next_turn(
    many_doubts: Any,
    works: Any,
    clock: Any,
    script: Script,
    statuses: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert statuses(many_doubts.id) == {"in_doubt": 5}
    passed = 0.0
    monkeypatch.setattr(in_doubt, "elapsed", lambda: passed)

    def slow(message_id: str) -> bool:
        nonlocal passed
        passed += in_doubt.TURN * 0.6
        return True

    script.accepted = slow
    sender_id = many_doubts.senders[0].id
    assert in_doubt.look_up(works.context, sender_id) == 2
    assert in_doubt.look_up(works.context, sender_id) == 2
    assert in_doubt.look_up(works.context, sender_id) == 1
    assert statuses(many_doubts.id) == {"sent": 5}


def test_a_mailbox_that_is_away_is_knocked_at_once_for_all_its_emails(
    many_doubts: Any, works: Any, clock: Any, script: Script, deliveries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_doubt, "AT_ONCE", 2)
    asked = []

    def away(message_id: str) -> bool:
        asked.append(message_id)
        raise Unreachable("The mailbox does not answer.")

    script.accepted = away
    for _look in range(3):
        in_doubt.look_up(works.context, many_doubts.senders[0].id)
    assert len(asked) == 1
    assert {row.not_before for row in deliveries(many_doubts.id)} == {clock.now + LOOK_UP_PAUSE}
    assert {row.status for row in deliveries(many_doubts.id)} == {DeliveryStatus.in_doubt}


def test_a_time_that_the_server_names_is_kept_to_before_it_is_asked_again(
    many_doubts: Any, works: Any, clock: Any, script: Script, deliveries: Any
) -> None:
    def wait(message_id: str) -> bool:
        raise TooFast("Enough questions for now.", "429 wait", retry_after=7200)

    script.accepted = wait
    in_doubt.look_up(works.context, many_doubts.senders[0].id)
    assert {row.not_before for row in deliveries(many_doubts.id)} == {clock.now + timedelta(hours=2)}


def test_a_no_from_before_an_email_was_sent_again_says_nothing_about_the_new_doubt(
    doubtful: Any, works: Any, clock: Any, script: Script, sessions: Any, statuses: Any
) -> None:
    def another_is_faster(message_id: str) -> bool:
        script.answer = DOUBTFUL
        with sessions.begin() as session:
            read = session.get_one(Campaign, doubtful.id)
            resolve(session, read, "again", by="anna@example.com", now=clock.now)
        works.run(2)
        script.answer = accept
        return False

    script.accepted = another_is_faster
    clock.forward(seconds=LOOK_UP_LAST.total_seconds())
    assert in_doubt.look_up(works.context, doubtful.senders[0].id) == 0
    works.run(3)
    assert statuses(doubtful.id) == {"sent": 2, "in_doubt": 1}
    assert len(script.seen) == 4
