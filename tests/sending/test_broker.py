"""An unavailable broker: no process waits for it longer than the outage lasts."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from mailganer.models import CampaignStatus
from tests.support.embedded_broker import EmbeddedBroker
from tests.support.ports import wait_until
from tests.support.redis import Redis


@pytest.fixture(params=[Redis, EmbeddedBroker], ids=["redis", "embedded"])
def broker(request: pytest.FixtureRequest) -> Iterator[Redis | EmbeddedBroker]:
    server = request.param()
    yield server
    server.stop()


@pytest.fixture
def broker_url(broker: Redis | EmbeddedBroker) -> str:
    """Of a broker of the test's own, which may be killed."""
    return broker.url


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_broker_that_dies_and_comes_back_neither_ends_the_worker_nor_costs_an_email(
    due: Any, parts: Any, smtp_server: Any, deliveries: Any, reload: Any, broker: Any
) -> None:
    campaign = due(1500)
    parts.start("beat", "worker")
    try:
        for enough in (100, 400, 700, 1000):
            wait_until(lambda: len(smtp_server.emails) > enough, timeout=60, every=0.02)  # noqa: B023
            broker.kill()
            broker.start()
        wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=90)
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    assert smtp_server.counts == Counter(row.email for row in deliveries(campaign.id))
    assert parts.runs("worker"), parts.output()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_keeps_listening_after_the_broker_was_started_again_twenty_times(
    due: Any, parts: Any, smtp_server: Any, statuses: Any, reload: Any, broker: Any
) -> None:
    first = due(400)
    parts.start("beat", "worker")
    try:
        wait_until(lambda: smtp_server.emails, timeout=60)
        for _each in range(20):
            broker.kill()
            broker.start()
        wait_until(lambda: reload(first).status is CampaignStatus.finished, timeout=90)
        second = due(50)
        wait_until(lambda: reload(second).status is CampaignStatus.finished, timeout=60)
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    assert parts.runs("worker"), parts.output()
    assert (statuses(first.id), statuses(second.id)) == ({"sent": 400}, {"sent": 50})
