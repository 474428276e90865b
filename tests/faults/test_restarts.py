"""PostgreSQL stops during all kinds of work and starts again: a real server, real emails."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailganer import ledger
from mailganer.backends import smtp_pipeline
from mailganer.models import CampaignStatus
from mailganer.sending.context import open_sending_context
from mailganer.sending.scheduler.plan import plan as plan_campaign
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.journal import Journal
from mailganer.sending.worker.lane import LaneLease, LaneRunner
from mailganer.sending.worker.lane_turn import LaneTurn, WindowDispatcher
from mailganer.sending.worker.window_settler import WindowSettler
from tests.support.databases import Databases
from tests.support.ports import wait_until

from .child import Place, end_of, fork, kill, stops
from .conftest import with_one_connection

RECIPIENTS = 60
AWAY = 0.3  # seconds until it is started again; attempts until then fail

Arm = Callable[[Place], None]


@pytest.fixture
def database_url(safe_database_url: str) -> str:
    return safe_database_url


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


# Where the lane is when the database goes away.
STAGES: dict[str, Arm] = {
    "before the lane is taken": lambda place: stops(place, LaneLease, "acquire"),
    "before the claim": lambda place: stops(place, ledger, "claim"),
    "between the claim and the mark": lambda place: stops(place, ledger, "claim", after=True),
    "a window marked": lambda place: stops(place, ledger, "open_window", 3, after=True),
    "the mark committed": lambda place: stops(place, WindowDispatcher, "send", 3),
    "the final dot written": lambda place: stops(place, smtp_pipeline, "_read_content_reply", 5),
    "the answer noted": lambda place: stops(place, Journal, "answered", 5, after=True),
    "between the answers and the settling": lambda place: stops(place, WindowSettler, "settle", 3),
    "the window settled": lambda place: stops(place, ledger, "settle", 3, after=True),
    "the settlement committed": lambda place: stops(place, LaneTurn, "_record", 3),
    "giving all back": lambda place: stops(place, LaneRunner, "_leave"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_database_that_is_started_again_at_any_step_loses_no_email_and_sends_none_twice(
    campaign_to: Any,
    works: Any,
    server: Any,
    settings: Any,
    statuses: Any,
    reload: Any,
    safe_databases: Databases,
    place: Place,
    stage: str,
) -> None:
    campaign = campaign_to(RECIPIENTS)
    tick(works.context)
    plan_campaign(works.context, campaign.id)

    def work() -> None:
        STAGES[stage](place)
        LaneRunner(with_one_connection(open_sending_context(settings)), campaign.senders[0].id).run(30)

    child = fork(work)
    try:
        place.await_child()
        safe_databases.postgresql.kill()
        place.go_on()
        time.sleep(AWAY)
        safe_databases.postgresql.start()
        assert end_of(child) == 0, "the lane broke"
    except BaseException:
        kill(child)
        raise
    works.run(4)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert server.counts == Counter({f"reader{n:06}@example.org": 1 for n in range(1, RECIPIENTS + 1)})
    assert reload(campaign).status is CampaignStatus.finished


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_commit_that_is_written_and_never_answered_is_neither_done_twice_nor_taken_for_lost(
    campaign_to: Any,
    works: Any,
    server: Any,
    settings: Any,
    statuses: Any,
    reload: Any,
    safe_databases: Databases,
    place: Place,
    nth: int,
) -> None:
    campaign = campaign_to(RECIPIENTS)
    tick(works.context)
    plan_campaign(works.context, campaign.id)

    def work() -> None:
        context = with_one_connection(open_sending_context(settings))
        stops(place, context.engine.dialect, "do_commit", nth)
        LaneRunner(context, campaign.senders[0].id).run(30)

    postgresql = safe_databases.postgresql
    child = fork(work)
    try:
        place.await_child()
        postgresql.hold_commits()
        place.go_on()
        wait_until(postgresql.held, what="the commit")
        postgresql.kill()
        postgresql.release_commits()
        time.sleep(AWAY)
        postgresql.start()
        assert end_of(child) == 0, "the lane broke"
    except BaseException:
        kill(child)
        raise
    works.run(4)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert set(server.counts.values()) == {1}
    assert reload(campaign).status is CampaignStatus.finished


def test_worker_and_beat_continue_whenever_the_database_comes_back(
    due: Any, parts: Any, smtp_server: Any, deliveries: Any, reload: Any, safe_databases: Databases
) -> None:
    campaign = due(200)
    parts.start("beat", "worker")
    postgresql = safe_databases.postgresql
    try:
        for enough in (10, 50, 100):
            wait_until(lambda: len(smtp_server.emails) > enough, timeout=60, every=0.01)  # noqa: B023
            postgresql.kill()
            time.sleep(1.0)
            postgresql.start()
        wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=90)
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    assert smtp_server.counts == Counter(row.email for row in deliveries(campaign.id))
    assert {row.status.value for row in deliveries(campaign.id)} == {"sent"}
    assert parts.runs("worker"), parts.output()
    assert "Traceback" not in parts.output()


def test_pages_say_so_while_the_database_is_away_and_are_there_when_it_is_back(
    anna: Any,
    safe_databases: Databases,
) -> None:
    safe_databases.postgresql.kill()
    try:
        with capture_logs() as logs:
            refused = anna.get("/campaigns", status=503)
            assert anna.get("/healthz", status=503).json["down"] == ["database"]
        assert "Mailganer cannot access its data right now" in refused
        assert not any(each.get("exc_info") for each in logs)
    finally:
        safe_databases.postgresql.start()
    anna.get("/campaigns", status=200)
    assert anna.get("/healthz", status=200).json["database"] == "ok"


@pytest.fixture
def broker_url(redis_server: Any) -> str:
    """One kind is enough: the broker has no part in this."""
    return redis_server.url
