"""Clock changes: a clock set back delays no email, and none is sent twice."""

import time
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from mailganer import worker
from mailganer.models import CampaignStatus
from mailganer.queue import celery_config, enqueue
from mailganer.sending.context import open_sending_context
from mailganer.sending.worker.lane import LaneRunner
from mailganer.sending.worker.receipt_outcomes import WindowResult
from mailganer.settings import from_mapping
from tests.sending.scripted import Script
from tests.support.ports import wait_until

from .child import dies, end_of, fork


@pytest.mark.parametrize("hours", [8, -8])
def test_a_clock_set_in_the_middle_of_a_campaign_loses_no_email(
    due: Any, open_works: Any, clock: Any, script: Script, statuses: Any, hours: int
) -> None:
    works = open_works(now=clock, script=script)
    campaign = due(300, send_at=clock.now)
    works.tick()
    works.tick()
    clock.forward(hours=hours)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 300}
    assert set(script.got.values()) == {1}


def test_a_batch_that_a_dead_worker_held_is_free_soon_though_the_clock_was_set_back(
    due: Any, open_works: Any, clock: Any, settings: Any, script: Script, statuses: Any, reload: Any
) -> None:
    works = open_works(now=clock, script=script)
    campaign = due(30, send_at=clock.now)
    works.tick()

    def work() -> None:
        dies(LaneRunner, "_leave")  # all is settled, and the batch not released yet
        context, sender_id = open_sending_context(settings, clock), campaign.senders[0].id
        settled: list[WindowResult] = []
        LaneRunner(context, sender_id, stopped=lambda: bool(settled), progress=settled.append).run(30)

    assert end_of(fork(work)) < 0
    clock.forward(hours=-8)
    works.run(3)
    clock.forward(minutes=2)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 30}, "no lane holds the batch"
    assert reload(campaign).status is CampaignStatus.finished


def test_the_ticks_do_not_mind_a_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[float] = []
    monkeypatch.setattr(worker, "enqueue", lambda *what: rung.append(time.monotonic()))
    monkeypatch.setattr(worker, "TICK_EVERY", 0.05)
    ticker = worker.Ticker(Celery("test", set_as_current=False))
    real = time.time
    for ahead in (0, 8 * 3600, -8 * 3600):
        monkeypatch.setattr(time, "time", lambda: real() + ahead)  # noqa: B023
        before = len(rung)
        for _each in range(4):
            wait = ticker.tick()
            assert 0 <= wait <= 0.05
            time.sleep(wait)
        assert len(rung) - before >= 3


@pytest.mark.parametrize("minutes", [5, -5])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_receives_ticks_of_a_machine_whose_clock_is_minutes_away(
    due: Any, parts: Any, ini_values: Any, smtp_server: Any, reload: Any, minutes: int
) -> None:
    parts.start("worker")
    wait_until(lambda: "succeeded" in parts.output(), timeout=60, what="the tick of its own")
    campaign = due(20)
    app = Celery("elsewhere", set_as_current=False)
    app.config_from_object(celery_config(from_mapping(ini_values, environ={})))
    there = app.now
    app.now = lambda: there() + timedelta(minutes=minutes)

    def finished() -> bool:
        enqueue(app, "tick")
        return reload(campaign).status is CampaignStatus.finished

    try:
        wait_until(finished, timeout=60, every=1, what="the campaign")
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    assert set(smtp_server.counts.values()) == {1}
