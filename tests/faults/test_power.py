"""A power cut: worker, beat, web, broker and PostgreSQL die at once and start again together."""

import json
import urllib.request
from typing import Any

import pytest

from mailganer.models import CampaignStatus
from tests.sending.test_crash import check_the_pledge
from tests.support.databases import Databases
from tests.support.ports import free_port, wait_until
from tests.support.redis import Redis

RECIPIENTS = 150
ON_THE_WIRE = 2 * 8  # connections, emails on each


@pytest.fixture
def database_url(safe_database_url: str) -> str:
    return safe_database_url


@pytest.fixture
def broker_url(broker: Redis) -> str:
    return broker.url


@pytest.fixture
def port(ini_values: dict[str, str]) -> int:
    port = free_port()
    ini_values["mailganer.listen"] = f"127.0.0.1:{port}"
    return port


def health(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return json.load(answer)


def test_everything_killed_at_once_again_and_again_settles_itself_when_it_is_back(
    port: int,
    due: Any,
    parts: Any,
    smtp_server: Any,
    broker: Redis,
    safe_databases: Databases,
    deliveries: Any,
    reload: Any,
) -> None:
    campaign = due(RECIPIENTS)
    postgresql = safe_databases.postgresql
    parts.start("web", "beat", "worker")
    try:
        for enough in (15, 70):
            wait_until(lambda: len(smtp_server.emails) >= enough, timeout=90, every=0.01)  # noqa: B023
            parts.cut()
            broker.kill()
            postgresql.cut()
            postgresql.start()
            broker.start()
            parts.start("web", "beat", "worker")
        wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=120)
        wait_until(lambda: health(port)["status"] == "ok", what="every part to be well")
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    check_the_pledge(smtp_server, deliveries(campaign.id), RECIPIENTS)
    doubtful = [row for row in deliveries(campaign.id) if row.status.value == "in_doubt"]
    assert len(doubtful) <= 2 * ON_THE_WIRE
