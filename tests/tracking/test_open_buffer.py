"""Opens that are buffered for a short time and written together."""

import time
from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from mailganer.db import utcnow
from mailganer.models import Campaign, Delivery, DeliveryStatus, Event, token_text
from mailganer.tracking import Numbers, OpenBuffer, Opening, campaign_numbers, open_buffer
from tests.support.pace import within
from tests.support.sent import batches_are_true, sent_campaign

PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
APPLE = "Mozilla/5.0"
SCANNER = "BarracudaCentral/1.0"


@pytest.fixture
def sent(session, make, account, now):
    """Three emails; the first is in doubt."""
    readers = make.list(account)
    subscribers = [make.subscriber(account, lists=(readers,)) for _ in range(3)]
    campaign = make.campaign(account, (readers,), (make.sender(account),))
    deliveries = sent_campaign(session, campaign, subscribers, now, [DeliveryStatus.in_doubt])
    session.commit()
    return campaign.id, [(each.id, bytes(each.token)) for each in deliveries]


@pytest.fixture
def opens(sessions, monkeypatch):
    """A buffer that writes when the test asks for it."""
    monkeypatch.setattr(OpenBuffer, "_start", lambda self: None)
    return OpenBuffer(lambda: sessions)


def numbers(sessions, campaign_id):
    with sessions() as session:
        return campaign_numbers(session, [campaign_id])[campaign_id]


def away():
    raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))


def test_opens_are_counted_as_if_each_had_been_written_by_itself(sessions, sent, opens, now):
    campaign_id, emails = sent
    (first, one), (second, two), (_third, three) = emails
    for token, agent in ((one, APPLE), (two, PERSON), (one, PERSON), (three, SCANNER), (bytes(16), PERSON)):
        opens.add(Opening(token, agent, now))
    opens.add(Opening(two, PERSON, now + timedelta(seconds=5)))
    assert numbers(sessions, campaign_id) == Numbers()
    assert opens.flush()
    assert numbers(sessions, campaign_id) == Numbers(opened_certain=2, opens=4, machine_opens=1)
    with sessions() as session:
        assert session.get(Delivery, second).first_opened_at == now
        assert session.get(Delivery, first).status is DeliveryStatus.sent  # an opened email has arrived
        assert batches_are_true(session, campaign_id)
        assert session.scalar(select(func.count()).select_from(Event)) == 5


def test_what_was_written_is_not_written_again(sessions, sent, opens, now):
    campaign_id, emails = sent
    opens.add(Opening(emails[1][1], PERSON, now))
    opens.flush()
    opens.flush()
    assert numbers(sessions, campaign_id).opens == 1


def test_a_campaign_that_does_not_count_opens_gets_none(session, sessions, sent, opens, now):
    campaign_id, emails = sent
    session.get(Campaign, campaign_id).track_opens = False
    session.commit()
    opens.add(Opening(emails[1][1], PERSON, now))
    opens.flush()
    assert numbers(sessions, campaign_id) == Numbers()


def test_more_than_fit_into_one_transaction_are_all_written(sessions, sent, opens, now, monkeypatch):
    monkeypatch.setattr(open_buffer, "AT_ONCE", 3)
    campaign_id, emails = sent
    for number in range(10):
        opens.add(Opening(emails[number % 3][1], PERSON, now))
    opens.flush()
    assert numbers(sessions, campaign_id).opens == 10


def test_opens_wait_in_their_order_for_a_database_that_is_away(sessions, sent, opens, monkeypatch):
    campaign_id, emails = sent
    early = utcnow()
    opens.add(Opening(emails[1][1], PERSON, early))
    opens.add(Opening(emails[1][1], PERSON, early + timedelta(seconds=1)))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(opens, "_sessions", away)
        assert not opens.flush()
    assert [each["event"] for each in logs] == ["opens.not_written"]
    assert opens.flush()
    assert numbers(sessions, campaign_id).opens == 2
    with sessions() as session:
        assert session.get(Delivery, emails[1][0]).first_opened_at == early


def test_who_asks_at_once_is_not_held_by_a_database_that_is_away(sent, opens, now, monkeypatch):
    monkeypatch.setattr(open_buffer, "LONGEST_LOOK", 0.2)
    monkeypatch.setattr(opens, "_sessions", away)
    opens.add(Opening(sent[1][1][1], PERSON, now))
    begun = time.monotonic()
    opens.catch_up()
    assert time.monotonic() - begun < within(5)


def test_an_open_that_waited_too_long_is_lost_and_the_log_says_so(sessions, sent, opens, now, monkeypatch):
    campaign_id, emails = sent
    opens.add(Opening(emails[1][1], PERSON, now - timedelta(days=365)))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(opens, "_sessions", away)
        opens.flush()
    assert {"event": "opens.lost", "number": 1, "log_level": "error"} in logs
    opens.flush()
    assert numbers(sessions, campaign_id) == Numbers()


def test_a_full_buffer_blocks_no_request_and_the_log_says_what_was_lost(
    sessions, sent, opens, now, monkeypatch
):
    monkeypatch.setattr(open_buffer, "MOST_WAITING", 2)
    campaign_id, emails = sent
    for _ in range(5):
        opens.add(Opening(emails[1][1], PERSON, now))
    with capture_logs() as logs:
        opens.flush()
    assert {"event": "opens.lost", "number": 3, "log_level": "error"} in logs
    assert numbers(sessions, campaign_id).opens == 2


@pytest.fixture
def be_late(opens, sent, monkeypatch):
    """Leave an open in the buffer that was due a second ago."""

    def be_late():
        with monkeypatch.context() as patch:
            patch.setattr(open_buffer, "LATE", timedelta(days=1))
            opens.add(Opening(sent[1][1][1], PERSON, utcnow() - timedelta(seconds=1)))

    return be_late


@pytest.fixture
def late(opens, be_late, monkeypatch):
    monkeypatch.setattr(open_buffer, "LONGEST_HOLD", 60)
    be_late()
    return opens


def another(opens, token):
    thread = Thread(target=opens.add, args=(Opening(token, PERSON, utcnow()),), daemon=True)
    thread.start()
    return thread


def test_who_comes_while_writes_are_late_is_held_until_they_have_caught_up(sessions, sent, late):
    campaign_id, emails = sent
    held = another(late, emails[1][1])
    held.join(0.3)
    assert held.is_alive()
    assert late.flush()
    held.join(10)
    assert not held.is_alive()
    late.flush()
    assert numbers(sessions, campaign_id).opens == 2


def test_no_one_is_held_by_a_database_that_is_away(sent, late, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(late, "_sessions", away)
        assert not late.flush()
    free = another(late, sent[1][1][1])
    free.join(10)
    assert not free.is_alive()


def test_a_database_that_does_not_answer_holds_someone_once_for_a_moment(sent, late, be_late, monkeypatch):
    token = sent[1][1][1]
    monkeypatch.setattr(open_buffer, "LONGEST_HOLD", 0.01)
    late.add(Opening(token, PERSON, utcnow()))
    monkeypatch.setattr(open_buffer, "LONGEST_HOLD", 60)
    free = another(late, token)
    free.join(10)
    assert not free.is_alive()
    assert late.flush()  # it is available again
    be_late()
    held = another(late, token)
    held.join(0.3)
    assert held.is_alive()
    late.flush()
    held.join(10)


def test_the_thread_writes_by_itself_and_closing_writes_the_rest(sessions, sent, now):
    from tests.support.ports import wait_until

    campaign_id, emails = sent
    opens = OpenBuffer(lambda: sessions)
    opens.add(Opening(emails[1][1], PERSON, now))
    wait_until(lambda: numbers(sessions, campaign_id).opens == 1, 10, what="the open")
    opens.add(Opening(emails[1][1], PERSON, now))
    opens.close()
    assert numbers(sessions, campaign_id).opens == 2


@pytest.mark.parametrize("odd", ["", "x", "я" * 22, "a" * 3000, "=" * 22])
def test_what_cannot_be_a_token_is_no_open(odd, now):
    assert Opening.of(odd, agent=PERSON, at=now) is None


def test_of_a_user_agent_without_end_no_more_is_kept_in_memory_than_is_looked_at(now):
    opening = Opening.of(token_text(bytes(16)), agent="Mozilla/5.0 (" + "x" * 200_000, at=now)
    assert len(opening.agent) == 1000
