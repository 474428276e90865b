"""The first emails of a campaign leave while its other recipients are still being planned."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mailganer.models import Campaign, CampaignPlanning, CampaignStatus, Lane
from mailganer.sending import tasks
from mailganer.sending.scheduler import plan as planning
from mailganer.sending.scheduler.due_work import DueWork
from mailganer.sending.scheduler.tick import tick

from .scripted import Script

RECIPIENTS = 45
FIRST, CHUNK = 2, 10


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One worker process that plans in small chunks, and a broker that records what is enqueued."""
    works = open_works(now=clock, script=script)
    monkeypatch.setattr(planning, "FIRST_CHUNK", FIRST)
    monkeypatch.setattr(planning, "CHUNK", CHUNK)
    monkeypatch.setattr(tasks, "sending_context", lambda: works.context)
    monkeypatch.setattr(tasks, "is_empty", lambda app: True)
    return works


@pytest.fixture
def chunks(script: Script, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For every planned chunk, the emails that were sent and the messages that were enqueued before it."""
    found: list[tuple[int, int]] = []
    messages: list[tuple[Any, ...]] = []
    plan_some = planning._plan_some

    def noted(session: Any, campaign_id: int, now: Any) -> bool | None:
        found.append((len(script.seen), messages.count(("run_lane", campaign_id, 0))))
        return plan_some(session, campaign_id, now)

    def enqueue(_app: Any, task: str, *ids: int) -> bool:
        messages.append((task, *ids))
        return True

    monkeypatch.setattr(planning, "_plan_some", noted)
    monkeypatch.setattr(tasks, "enqueue", enqueue)
    return found


def test_the_only_process_sends_after_two_chunks(
    due: Any, works: Any, script: Script, chunks: list[tuple[int, int]], statuses: Any
) -> None:
    campaign = due(RECIPIENTS)
    tasks.run_tick()
    sent_before = [sent for sent, _messages in chunks]
    assert sent_before == [0, 0, FIRST + CHUNK, FIRST + CHUNK, FIRST + 3 * CHUNK, FIRST + 3 * CHUNK]
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert set(script.got.values()) == {1}


def test_the_first_chunk_wakes_a_free_process_and_planning_goes_on_beside_it(
    due: Any, works: Any, clock: Any, session: Any, chunks: list[tuple[int, int]], reload: Any
) -> None:
    campaign = due(RECIPIENTS)
    assert campaign.senders[0].id == campaign.id  # the messages are counted by it
    until = clock.now + timedelta(minutes=1)
    session.add(Lane(sender_id=campaign.senders[0].id, number=0, lease_until=until, process="another"))
    session.commit()
    tick(works.context)
    tasks._do(works.context, DueWork(works.context), tasks.TaskCall("plan", (campaign.id,)), 30)
    assert [sent for sent, _messages in chunks] == [0] * 6
    assert reload(campaign).planned_at
    session.query(Lane).delete()
    session.commit()


def test_a_process_is_woken_once_and_before_the_second_chunk(
    due: Any, works: Any, chunks: list[tuple[int, int]]
) -> None:
    campaign = due(RECIPIENTS)
    assert campaign.senders[0].id == campaign.id
    tick(works.context)
    tasks._do(works.context, DueWork(works.context), tasks.TaskCall("plan", (campaign.id,)), 30)
    assert [messages for _sent, messages in chunks] == [0, 1]


def test_a_plan_that_makes_way_can_be_continued_by_another_process_at_once(
    due: Any, open_works: Any, works: Any, session: Any, deliveries: Callable[..., list[Any]]
) -> None:
    campaign = due(RECIPIENTS)
    tick(works.context)
    assert planning.plan(works.context, campaign.id, yields=lambda: True)
    assert session.query(CampaignPlanning).count() == 0
    session.commit()
    assert len(deliveries(campaign.id)) == FIRST
    assert planning.plan(open_works().context, campaign.id)
    assert len(deliveries(campaign.id)) == RECIPIENTS


def test_the_rest_of_a_plan_ends_no_lane_early_and_a_new_campaign_does(
    due: Any, works: Any, make: Any, session: Any
) -> None:
    campaign = due(RECIPIENTS)
    tick(works.context)
    planning.plan(works.context, campaign.id, yields=lambda: True)
    work = DueWork(works.context)
    assert not work.has_unplanned_campaigns()
    assert work.has_unplanned_campaigns(begun=True)
    new = make.campaign(campaign.account, tuple(campaign.lists), tuple(campaign.senders))
    new.status, new.started_at = CampaignStatus.sending, make.now
    session.commit()
    assert work.has_unplanned_campaigns()
    assert session.get_one(Campaign, new.id).planned == 0
    session.commit()
