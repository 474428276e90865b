"""An idle installation: most ticks run a few statements, and due work is found at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mailganer.models import BEAT_ID, CampaignStatus, Heartbeat
from mailganer.sending import tasks
from mailganer.sending.scheduler.tick import IDLE_EVERY
from tests.support.statements import statements

from .scripted import Script

BEAT = 7


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script, monkeypatch: pytest.MonkeyPatch) -> Any:
    works = open_works(now=clock, script=script)
    monkeypatch.setattr(tasks, "sending_context", lambda: works.context)
    monkeypatch.setattr(tasks, "enqueue", lambda *message: True)
    monkeypatch.setattr(tasks, "is_empty", lambda app: True)
    monkeypatch.setattr(tasks, "_NOTED_BEATS", {})
    return works


@pytest.fixture
def tick(works: Any, clock: Any) -> Callable[[], int]:
    """Run the tick of a beat two seconds after the last one; return the number of its statements."""

    def run() -> int:
        clock.forward(seconds=2)
        with statements(works.context.engine) as seen:
            tasks.run_tick(BEAT)
        return len(seen)

    return run


def test_while_nothing_is_sent_most_ticks_run_a_few_statements(tick: Callable[[], int]) -> None:
    full = tick()
    counts = [tick() for _each in range(8)]
    assert full > 20
    assert (
        sum(count <= 5 for count in counts) == 6
    )  # one, within a transaction, and the version of the schema
    assert max(counts) > 20  # other jobs run every few seconds


def test_the_heartbeats_of_an_idle_installation_stay_young(
    tick: Callable[[], int], sessions: Any, clock: Any
) -> None:
    for _each in range(20):
        tick()
        with sessions() as session:
            seen = session.scalar(select(Heartbeat.seen_at).where(Heartbeat.name == "beat"))
        assert clock.now - seen <= IDLE_EVERY + timedelta(seconds=2)
    with sessions() as session:
        assert session.get(Heartbeat, f"{BEAT_ID}{BEAT}") is not None


@pytest.mark.parametrize("wait", [timedelta(0), timedelta(seconds=3)], ids=["now", "later"])
def test_a_campaign_is_sent_at_the_first_tick_after_it_is_due(
    due: Any, tick: Callable[[], int], clock: Any, script: Script, reload: Any, wait: timedelta
) -> None:
    tick()
    campaign = due(3, send_at=clock.now + wait)
    while clock.now < campaign.send_at:
        assert not script.seen
        tick()
    tick()
    assert len(script.seen) == 3
    for _each in range(3):
        tick()
    assert reload(campaign).status is CampaignStatus.finished
