"""Sending through Celery: real workers, a real beat, real brokers."""

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


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_hundred_small_senders_are_not_kept_waiting_by_a_large_one(
    due: Callable[..., Campaign], parts: Any, smtp_server: Any, statuses: Any, make: Any
) -> None:
    due(8_000, sender_values={"max_connections": 16})
    small = []
    for number in range(100):
        account = make.account(f"small{number}@example.com", plan="pro")
        small.append(due(2, make.sender(account, smtp_server), account))
    parts.start("worker", "beat")
    try:
        wait_until(lambda: sum(statuses(small[0].id).values()) == 2, timeout=60, what="the first plan")
        # Half a minute on a quiet machine; other tests share the machine.
        for each in small:
            wait_until(
                lambda each=each: statuses(each.id) == {"sent": 2},
                timeout=180,
                every=0.2,
                what="each of them",
            )
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
