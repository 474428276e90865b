"""The same through Celery: real workers, a real beat, real brokers."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mailganer.models import Campaign
from tests.support.ports import wait_until


def settled(statuses: Callable[[int], Counter[str]], campaign: Campaign) -> Callable[[], bool]:
    def all_settled() -> bool:
        found = statuses(campaign.id)
        return bool(found) and not found["pending"] and not found["sending"]

    return all_settled


def test_a_worker_and_a_clock_send_a_campaign(
    due: Callable[..., Campaign], parts: Any, smtp_server: Any, statuses: Any
) -> None:
    campaign = due(300)
    parts.start("worker", "beat")
    try:
        wait_until(settled(statuses, campaign), timeout=40, what="the campaign")
    except AssertionError as error:
        pytest.fail(f"{error}\n{statuses(campaign.id)}\n{parts.output()}")
    assert statuses(campaign.id) == {"sent": 300}
    assert set(smtp_server.counts.values()) == {1}
