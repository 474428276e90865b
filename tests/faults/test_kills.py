"""``kill -9`` at every step of sending an email."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from mailganer import ledger
from mailganer.backends import smtp_pipeline
from mailganer.backends.wire import Wire
from mailganer.models import CampaignStatus, Reason, Window
from mailganer.sending.context import open_sending_context
from mailganer.sending.scheduler import plan
from mailganer.sending.scheduler.plan import plan as plan_campaign
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.connection_pool import ConnectionPool
from mailganer.sending.worker.delivery_renderer import DeliveryRenderer
from mailganer.sending.worker.journal import Journal
from mailganer.sending.worker.lane import LaneRunner
from mailganer.sending.worker.lane_turn import LaneTurn, WindowDispatcher
from tests.support.ports import wait_until

from .child import die, dies, end_of, fork
from .conftest import with_one_connection

RECIPIENTS = 60

Arm = Callable[[], None]


def dies_in_the_body() -> None:
    """Half of an email is on the wire when the process dies."""
    write = Wire.write
    emails = 0

    def half(self: Wire, data: bytes, seconds: float) -> None:
        nonlocal emails
        emails += b"\r\nMessage-ID: " in data
        if emails == 5:
            self._sock.sendall(data[: len(data) // 2])
            die()
        write(self, data, seconds)

    Wire.write = half  # type: ignore[method-assign]


# When the process dies, how many emails are in doubt then, and whether the server has had them.
STAGES: dict[str, tuple[Arm, int, bool]] = {
    "printing": (lambda: dies(DeliveryRenderer, "render", 5), 0, False),
    "a batch claimed": (lambda: dies(ledger, "claim", 2, after=True), 0, False),
    "a window marked": (lambda: dies(ledger, "open_window", 3, after=True), 0, False),
    "the mark committed": (lambda: dies(WindowDispatcher, "send", 3), 0, False),
    "the journal begun": (lambda: dies(Journal, "begin", 3, after=True), 0, False),
    "noted as handed over": (lambda: dies(Journal, "handed", 5, after=True), 1, False),
    "the envelope taken": (lambda: dies(smtp_pipeline, "_open_envelope", 5, after=True), 1, False),
    "half of the body written": (dies_in_the_body, 1, False),
    "the final dot written": (lambda: dies(smtp_pipeline, "_read_content_reply", 5), 1, True),
    "the answer heard": (lambda: dies(Journal, "answered", 5), 1, True),
    "the answer noted": (lambda: dies(Journal, "answered", 5, after=True), 0, True),
    "the window settled": (lambda: dies(ledger, "settle", 3, after=True), 0, True),
    "the settlement committed": (lambda: dies(LaneTurn, "_record", 3), 0, True),
    "before the goodbye": (lambda: dies(ConnectionPool, "close"), 0, True),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_killed_at_any_step_leaves_in_doubt_what_was_on_the_wire_and_nothing_else(
    campaign_to: Any,
    works: Any,
    server: Any,
    settings: Any,
    deliveries: Any,
    reload: Any,
    pledge: Any,
    stage: str,
) -> None:
    arm, doubts, taken = STAGES[stage]
    campaign = campaign_to(RECIPIENTS)
    tick(works.context)
    plan_campaign(works.context, campaign.id)

    def work() -> None:
        arm()
        LaneRunner(with_one_connection(open_sending_context(settings)), campaign.senders[0].id).run(30)

    assert end_of(fork(work)) == -signal.SIGKILL
    works.run(4)
    doubtful = pledge(server.counts, deliveries(campaign.id))
    assert [row.reason for row in doubtful] == [Reason.interrupted] * doubts
    for row in doubtful:
        if taken:
            wait_until(lambda: row.email in server.counts, what="the server to have read it")  # noqa: B023
        else:
            assert row.email not in server.counts
    assert reload(campaign).status is CampaignStatus.finished


def test_a_worker_killed_with_emails_overlapping_leaves_no_more_in_doubt_than_overlapped(
    campaign_to: Any, works: Any, server: Any, settings: Any, deliveries: Any, pledge: Any
) -> None:
    server.features = ("PIPELINING", "CHUNKING", "8BITMIME")
    campaign = campaign_to(RECIPIENTS)
    tick(works.context)
    plan_campaign(works.context, campaign.id)

    def work() -> None:
        dies(Journal, "answered", 30)
        LaneRunner(with_one_connection(open_sending_context(settings)), campaign.senders[0].id).run(30)

    assert end_of(fork(work)) == -signal.SIGKILL
    works.run(4)
    assert 1 <= len(pledge(server.counts, deliveries(campaign.id))) <= 8


def test_a_planner_killed_in_the_middle_is_followed_by_another_and_no_one_is_planned_twice(
    campaign_to: Any,
    works: Any,
    server: Any,
    settings: Any,
    statuses: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "CHUNK", 10)
    campaign = campaign_to(RECIPIENTS)
    tick(works.context)

    def work() -> None:
        dies(plan, "add_batches", 3, after=True)
        plan_campaign(open_sending_context(settings), campaign.id)

    assert end_of(fork(work)) == -signal.SIGKILL
    assert statuses(campaign.id) == {"pending": 20}
    works.run(5)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert set(server.counts.values()) == {1}


def test_a_tick_killed_half_way_is_made_good_by_the_next(
    campaign_to: Any, works: Any, server: Any, settings: Any, statuses: Any
) -> None:
    campaign = campaign_to(5)

    def work() -> None:
        from mailganer.sending.scheduler import tick as module

        dies(module, "_finish", after=True)
        tick(open_sending_context(settings))

    assert end_of(fork(work)) == -signal.SIGKILL
    works.run(4)
    assert statuses(campaign.id) == {"sent": 5}
    assert set(server.counts.values()) == {1}


def test_a_machine_that_is_gone_with_its_journal_leaves_its_whole_window_in_doubt(
    campaign_to: Any,
    works: Any,
    clock: Any,
    open_works: Any,
    server: Any,
    settings: Any,
    deliveries: Any,
    sessions: Any,
    pledge: Any,
) -> None:
    campaign = campaign_to(RECIPIENTS)
    tick(works.context)
    plan_campaign(works.context, campaign.id)

    def work() -> None:
        dies(Journal, "handed", 5, after=True)
        LaneRunner(with_one_connection(open_sending_context(settings)), campaign.senders[0].id).run(30)

    assert end_of(fork(work)) == -signal.SIGKILL
    with sessions() as session:
        size = session.scalars(select(Window.size)).one()
    for journal in works.context.journals.glob("*.journal"):
        journal.unlink()
    clock.now = works.context.now()
    later = open_works(clock)
    later.run(3)
    assert "in_doubt" not in {row.status.value for row in deliveries(campaign.id)}  # ready again
    clock.forward(minutes=20)
    later.run(4)
    doubtful = pledge(server.counts, deliveries(campaign.id))
    assert len(doubtful) == size
