"""Messages that are duplicate, late or obsolete: the rows decide, and nothing happens twice."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from mailganer.models import Campaign, CampaignStatus, Sender
from mailganer.sending import in_doubt, tasks
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script


def test_two_clocks_start_a_campaign_once(due: Any, open_works: Any, script: Script, statuses: Any) -> None:
    campaign = due(30)
    first, second = open_works(script=script), open_works(script=script)
    for _each in range(4):
        first.tick()
        second.tick()
    assert statuses(campaign.id) == {"sent": 30}
    assert set(script.got.values()) == {1}


def test_a_clock_that_stood_still_for_an_hour_makes_good_all_of_it_at_once(
    due: Any, open_works: Any, clock: Any, script: Script, statuses: Any, make: Any
) -> None:
    accounts = [make.account(f"owner{number}@example.com", plan="pro") for number in range(3)]
    campaigns = [due(5, make.sender(account), account, send_at=clock.now) for account in accounts]
    clock.forward(hours=1)
    open_works(now=clock, script=script).run(5)
    assert [statuses(each.id) for each in campaigns] == [{"sent": 5}] * 3


def test_every_task_may_come_again_after_all_is_done(
    due: Any, open_works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    campaign = due(10)
    works = open_works(script=script)
    works.run(4)
    assert reload(campaign).status is CampaignStatus.finished
    for _again in range(2):
        assert not plan(works.context, campaign.id)
        assert LaneRunner(works.context, campaign.senders[0].id).run(5).settled == 0
        assert in_doubt.look_up(works.context, campaign.senders[0].id) == 0
    assert statuses(campaign.id) == {"sent": 10}
    assert set(script.got.values()) == {1}


@pytest.mark.parametrize("gone", [Campaign, Sender])
def test_tasks_about_what_was_deleted_do_nothing(
    due: Any, open_works: Any, script: Script, sessions: Any, gone: Any
) -> None:
    campaign = due(10)
    works = open_works(script=script)
    calls = tick(works.context)  # started; later messages are about something that will be gone
    sender_id = campaign.senders[0].id
    with sessions.begin() as session:
        session.execute(delete(gone).where(gone.id == (campaign.id if gone is Campaign else sender_id)))
    assert [call.task for call in calls if call.task in ("plan", "run_lane")] == ["plan"]
    plan(works.context, campaign.id)
    assert LaneRunner(works.context, sender_id).run(5).settled == 0
    assert in_doubt.look_up(works.context, sender_id) == 0
    works.run(2)
    assert script.got == {}


def test_a_tick_that_follows_another_one_within_a_second_does_nothing_and_a_later_one_does(
    due: Any,
    open_works: Any,
    clock: Any,
    script: Script,
    reload: Any,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    works = open_works(now=clock, script=script)
    monkeypatch.setattr(tasks, "sending_context", lambda: works.context)
    monkeypatch.setattr(tasks, "enqueue", lambda *what: True)
    monkeypatch.setattr(tasks, "is_empty", lambda app: True)
    tasks.run_tick()
    first, second = due(1), due(1, account=make.account(plan="pro"), send_at=clock.now + timedelta(days=1))
    clock.forward(seconds=0.9)
    tasks.run_tick()
    assert reload(first).status is CampaignStatus.scheduled
    clock.forward(seconds=0.1)
    tasks.run_tick()
    assert reload(first).status is CampaignStatus.sending
    clock.forward(hours=-8)  # a tick "in eight hours" does not count as a recent one
    second.send_at = clock.now
    make.commit()
    tasks.run_tick()
    assert reload(second).status is CampaignStatus.sending


def test_of_two_ticks_at_once_one_does_the_work(due: Any, open_works: Any, clock: Any, reload: Any) -> None:
    works = open_works(now=clock)
    second = timedelta(seconds=1)
    tick(works.context, second)
    campaign = due(1)
    assert tick(works.context, second) == []
    assert reload(campaign).status is CampaignStatus.scheduled
    clock.forward(seconds=1)
    assert [call.task for call in tick(works.context, second)] == ["plan"]
