"""Kills, wipes and stops: no email is sent twice, none is lost, and every doubt is listed."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest
import redis
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from mailganer.models import Batch, Campaign, CampaignStatus, Delivery, DeliveryStatus, Lane, Sender, Window
from mailganer.sending.context import open_sending_context
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.sweep import sweep
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.lane import LaneRunner as Loop
from tests.support.pace import within
from tests.support.ports import wait_until

RECIPIENTS = 3000


def finished(reload: Callable[[Any], Any], campaign: Campaign) -> Callable[[], bool]:
    return lambda: reload(campaign).status is CampaignStatus.finished


def wait(parts: Any, answers: Callable[[], object], timeout: float = 90) -> None:
    try:
        wait_until(answers, timeout=timeout, every=0.02)
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")


two_shapes = pytest.mark.parametrize(
    ("database_url", "broker_url"),
    [("sqlite", "embedded"), ("postgresql", "redis")],
    ids=["on a laptop", "in production"],
    indirect=True,
)
"""Both databases and brokers, each with the one it is used with: what takes long is not done four times."""


def check_the_pledge(server: Any, deliveries: list[Delivery], subscribers: int) -> None:
    counts: Counter[str] = server.counts
    assert {email: number for email, number in counts.items() if number > 1} == {}
    doubtful = {row.email for row in deliveries if row.status is DeliveryStatus.in_doubt}
    assert {row.status.value for row in deliveries} <= {"sent", "in_doubt"}
    assert {row.email for row in deliveries} - set(counts) <= doubtful
    assert len(deliveries) == subscribers
    assert all(row.settled_at and row.reason for row in deliveries if row.email in doubtful)


@two_shapes
def test_a_worker_killed_again_and_again_sends_no_email_twice_and_loses_none(
    due: Any, parts: Any, smtp_server: Any, deliveries: Any, reload: Any
) -> None:
    campaign = due(RECIPIENTS)
    parts.start("beat", "worker")
    for enough in (200, 700, 1300):
        wait(parts, lambda: len(smtp_server.emails) >= enough)  # noqa: B023
        parts.kill("worker")
        parts.start("worker")
    wait(parts, finished(reload, campaign), 120)
    check_the_pledge(smtp_server, deliveries(campaign.id), RECIPIENTS)
    doubtful = [row for row in deliveries(campaign.id) if row.status is DeliveryStatus.in_doubt]
    assert len(doubtful) <= 3 * 2 * 8  # kills, connections, emails on the wire of each


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_broker_that_forgets_everything_does_not_stop_a_campaign(
    due: Any, parts: Any, smtp_server: Any, deliveries: Any, reload: Any, broker_url: str
) -> None:
    campaign = due(1500)
    parts.start("beat", "worker")
    wait(parts, lambda: len(smtp_server.emails) > 100)
    path = broker_url.removeprefix("redis+socket://")
    client = redis.Redis(unix_socket_path=path) if path != broker_url else redis.from_url(broker_url)
    with client:
        client.flushall()
        wait(parts, lambda: len(smtp_server.emails) > 600)
        client.flushall()
    wait(parts, finished(reload, campaign))
    assert smtp_server.counts == Counter(row.email for row in deliveries(campaign.id))


@two_shapes
def test_a_worker_asked_to_stop_leaves_nothing_in_doubt_and_gives_back_what_it_held(
    due: Any, parts: Any, smtp_server: Any, statuses: Any, sessions: Any
) -> None:
    campaign = due(RECIPIENTS)
    parts.start("beat", "worker")
    wait(parts, lambda: len(smtp_server.emails) > 200)
    begun = time.monotonic()
    parts.ask("worker")
    assert time.monotonic() - begun < within(15)
    found = statuses(campaign.id)
    assert found["pending"] > 0
    assert (found["in_doubt"], found["sending"]) == (0, 0)
    assert found["sent"] == len(smtp_server.emails)
    with sessions() as session:
        assert session.scalars(select(Window.id)).all() == []
        assert "claimed" not in session.scalars(select(Batch.state)).all()
        assert all(lane.process is None for lane in session.scalars(select(Lane)))


@two_shapes
def test_a_worker_that_is_lost_without_its_pool_leaves_nothing_in_doubt(
    due: Any, parts: Any, smtp_server: Any, statuses: Any, reload: Any, sessions: Any
) -> None:
    """As when the broker goes away at the worst time: the main process ends while its pool is sending."""
    campaign = due(RECIPIENTS)
    parts.start("beat", "worker")
    wait(parts, lambda: len(smtp_server.emails) > 200)
    pool = parts.lose("worker")
    # One that has just reported its end waits half a minute until that is read (billiard), then ends.
    wait(parts, lambda: not any(map(psutil.pid_exists, pool)), 45)
    assert statuses(campaign.id)["in_doubt"] == 0
    assert statuses(campaign.id)["pending"] > 0
    parts.start("worker")
    wait(parts, finished(reload, campaign), 120)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}, parts.output()
    assert set(smtp_server.counts.values()) == {1}


@pytest.mark.slow
def stop_between_transactions(process: int, sessions: Any) -> None:
    """Stop a process while it holds no lock in the database: others would wait until it continues."""

    def stopped() -> bool:
        os.kill(process, signal.SIGSTOP)
        try:
            with sessions() as session:
                for table in (Sender, Batch, Window):
                    session.execute(select(table.id).with_for_update(nowait=True)).all()
                return True
        except OperationalError:
            os.kill(process, signal.SIGCONT)
            return False

    wait_until(stopped, timeout=60, every=0.003)


def test_a_worker_that_slept_past_its_lease_sends_nothing_that_another_one_took_over(
    due: Any, works: Any, context: Any, smtp_server: Any, deliveries: Any, sessions: Any, settings: Any
) -> None:
    """SIGSTOP in the middle, a sweep with the lease over, SIGCONT: exactly once all the same."""
    campaign = due(RECIPIENTS)
    tick(context)
    plan(context, campaign.id)
    sender_id = campaign.senders[0].id
    child = os.fork()
    if child == 0:
        try:
            own = replace(open_sending_context(settings), lease=2.0, margin=0.5)
            Loop(own, sender_id, 0).run(60)
        finally:
            os._exit(0)
    try:
        wait_until(lambda: len(smtp_server.emails) > 100, timeout=60, every=0.005)
        stop_between_transactions(child, sessions)
        time.sleep(3.5)
        impatient = replace(context, lease=2.0, margin=0.5)
        sweep(impatient)
        with sessions() as session:
            assert session.scalars(select(Window.id)).all() == []
        Loop(impatient, sender_id, 0).run(60)
    finally:
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)
    works.run(3)
    check_the_pledge(smtp_server, deliveries(campaign.id), RECIPIENTS)
