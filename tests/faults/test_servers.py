"""Faulty mail servers, through the whole pipeline: from the reply to the recipient's row."""

import time
from dataclasses import replace
from typing import Any

import pytest

from mailganer.models import CampaignStatus, Reason, SenderStatus
from mailganer.sending.context import SendingContext
from mailganer.sending.worker.refusal_pattern import BROKEN_LATELY
from mailganer.sending.worker.sender_health import MOST_BROKEN
from tests.backends.faulty import Conversation, FaultyServer, reset, take_and_reset

from .conftest import PLAIN, with_one_connection

CHUNKING = ("8BITMIME", "PIPELINING", "CHUNKING")


@pytest.fixture
def works(open_works: Any, clock: Any) -> Any:
    return open_works(clock)


@pytest.mark.parametrize("action", ["421 4.3.2 closing", reset], ids=["421", "reset"])
@pytest.mark.parametrize("stage", ["connect", "ehlo", "auth", "mail", "rcpt", "data", "content"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_server_that_leaves_before_it_has_the_email_fails_no_recipient(
    campaign_to: Any,
    works: Any,
    clock: Any,
    server: FaultyServer,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    stage: str,
    action: Any,
) -> None:
    if (stage, action) == ("content", "421 4.3.2 closing"):
        stage = "dot"  # the reply to a whole email: it was not accepted
    server.fail(stage, action)
    campaign = campaign_to(3)
    works.context = with_one_connection(works.context)
    works.run(2)
    if (stage, action) == ("content", reset) and statuses(campaign.id) != {"pending": 3}:
        # It failed after the kernel had accepted the whole email, so the outcome is unknown.
        assert statuses(campaign.id) == {"pending": 2, "in_doubt": 1}
        return
    assert statuses(campaign.id) == {"pending": 3}
    assert {row.attempts for row in deliveries(campaign.id)} == {0}
    assert reload(campaign.senders[0]).status is SenderStatus.sleeping
    server.faults.clear()
    clock.forward(minutes=1)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 3}
    assert set(server.counts.values()) == {1}


@pytest.mark.parametrize("features", [PLAIN, CHUNKING], ids=["plain", "chunking"])
def test_a_server_that_never_replies_to_an_email_leaves_few_in_doubt(
    campaign_to: Any,
    works: Any,
    clock: Any,
    server: FaultyServer,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    pledge: Any,
    features: tuple[str, ...],
) -> None:
    server.features = features
    server.fail("dot", reset)
    campaign = campaign_to(200)
    works.run(3)
    assert statuses(campaign.id)["in_doubt"] == 2  # the second connection was opened at once
    assert reload(campaign.senders[0]).status is SenderStatus.sleeping
    for _each in range(48):
        clock.forward(minutes=31)
        works.run(3)
    assert statuses(campaign.id)["in_doubt"] == MOST_BROKEN
    sender = reload(campaign.senders[0])
    assert (sender.status, sender.sleeps_until) == (SenderStatus.failing, None)
    assert "closes the connection without a reply" in sender.error
    doubtful = pledge(server.counts, deliveries(campaign.id), pending=True)
    assert len(doubtful) == 200 - statuses(campaign.id)["pending"]


class EverySecond:
    """Accept an email, and reset the connection at the next one."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, conversation: Conversation) -> None:
        self.seen += 1
        if self.seen % 2 == 0:
            take_and_reset(conversation)
        conversation.keep()
        conversation.say("250 2.0.0 Queued")


def test_a_server_that_resets_every_second_connection_leaves_few_in_doubt(
    campaign_to: Any,
    works: Any,
    clock: Any,
    server: FaultyServer,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    pledge: Any,
) -> None:
    server.fail("dot", EverySecond())
    campaign = campaign_to(60)
    works.context = with_one_connection(works.context)
    works.run(30)
    assert statuses(campaign.id)["in_doubt"] == BROKEN_LATELY
    assert reload(campaign.senders[0]).status is SenderStatus.sleeping
    for _each in range(12):
        clock.forward(minutes=5)
        works.run(5)
    assert statuses(campaign.id)["in_doubt"] <= BROKEN_LATELY + 10  # ten minutes apart in the end
    pledge(server.counts, deliveries(campaign.id), pending=True)


def test_refusals_between_broken_connections_do_not_hide_them(
    campaign_to: Any, works: Any, server: FaultyServer, statuses: Any, reload: Any
) -> None:
    server.fail("dot", take_and_reset)
    server.fail("rcpt", "550 5.1.1 No such user", skip=1, times=4)
    campaign = campaign_to(40)
    works.context = with_one_connection(works.context)
    works.run(20)
    assert statuses(campaign.id)["in_doubt"] == 2
    assert reload(campaign.senders[0]).status is SenderStatus.sleeping


def test_connections_that_break_between_accepted_emails_rest_nobody(
    campaign_to: Any, works: Any, server: FaultyServer, statuses: Any, reload: Any
) -> None:
    server.fail("dot", reset, skip=5, times=1)
    campaign = campaign_to(20)
    works.context = with_one_connection(works.context)
    works.run(6)
    assert statuses(campaign.id) == {"sent": 19, "in_doubt": 1}
    assert reload(campaign.senders[0]).status is SenderStatus.ready


def test_an_email_whose_answer_never_came_is_in_doubt_and_never_sent_again(
    campaign_to: Any, works: Any, clock: Any, server: FaultyServer, deliveries: Any, pledge: Any
) -> None:
    server.fail("dot", take_and_reset, skip=1, times=1)
    campaign = campaign_to(4)
    for _each in range(30):
        works.run(2)
        clock.forward(hours=1)
    (doubtful,) = pledge(server.counts, deliveries(campaign.id))
    assert doubtful.reason is Reason.disconnected
    assert server.counts[doubtful.email] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_server_that_goes_wrong_at_quit_changes_nothing(
    campaign_to: Any, works: Any, server: FaultyServer, statuses: Any
) -> None:
    server.fail("quit", reset)
    campaign = campaign_to(4)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 4}


@pytest.mark.parametrize("reply", ["550 5.1.1 no", "552 5.2.2 full", "553 5.1.3 bad", "554 5.7.1 no"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_refused_recipient_has_failed_alone(
    campaign_to: Any, works: Any, server: FaultyServer, statuses: Any, reload: Any, reply: str
) -> None:
    server.fail("rcpt", reply, skip=1, times=1)
    campaign = campaign_to(4)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 3, "failed": 1}
    assert reload(campaign).status is CampaignStatus.finished
    assert server.count("RCPT") == server.count("MAIL")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_server_that_offers_bdat_and_refuses_it_gets_every_email_by_data(
    campaign_to: Any, works: Any, server: FaultyServer, statuses: Any, reload: Any, monkeypatch: Any
) -> None:
    server.features = ("8BITMIME", "PIPELINING", "CHUNKING")
    monkeypatch.setattr(Conversation, "do_bdat", lambda conversation, rest: conversation.say("502 5.5.1 No"))
    campaign = campaign_to(20)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 20}
    assert set(server.counts.values()) == {1}
    assert reload(campaign.senders[0]).status is SenderStatus.ready


def late(conversation: Conversation) -> None:
    """Accept the email, and reply after the client has gone."""
    conversation.keep()
    time.sleep(1.5)
    conversation.say("250 2.0.0 Queued at last")


@pytest.mark.parametrize("features", [("8BITMIME",), ("8BITMIME", "PIPELINING", "CHUNKING")])
def test_an_answer_to_the_whole_email_that_comes_too_late_leaves_it_in_doubt_for_ever(
    campaign_to: Any,
    works: Any,
    clock: Any,
    server: FaultyServer,
    deliveries: Any,
    pledge: Any,
    reload: Any,
    features: tuple[str, ...],
) -> None:
    server.features = features
    server.fail("dot", late, skip=1, times=1)
    campaign = campaign_to(3)
    works.context = with_one_connection(impatient(works.context))
    works.run(2)
    doubtful = [row for row in deliveries(campaign.id) if row.status == "in_doubt"]
    assert {row.reason for row in doubtful} == {Reason.disconnected}
    waited_for = list(server.counts)[1]
    assert waited_for in {row.email for row in doubtful}
    for _each in range(30):
        clock.forward(hours=1)
        works.run(2)
    # As many as may be on the wire at once, each with a permanent refusal.
    assert {row.id for row in pledge(server.counts, deliveries(campaign.id))} == {row.id for row in doubtful}
    assert len(doubtful) == (1 if features == ("8BITMIME",) else len(doubtful)) <= 2
    assert reload(campaign).status is CampaignStatus.finished


def impatient(context: SendingContext) -> SendingContext:
    """Wait half a second instead of ten minutes for the reply to an email."""

    def open_backend(sender: Any) -> Any:
        backend = context.open_backend(sender)
        timeouts = replace(backend.network.timeouts, final=0.5)
        backend.network = replace(backend.network, timeouts=timeouts)
        return backend

    return replace(context, open_backend=open_backend)
