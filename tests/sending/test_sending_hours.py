"""Sending hours: nothing is sent outside them, and no process polls meanwhile."""

from datetime import datetime, timedelta
from typing import Any

from mailganer.backends import Message, Receipt
from mailganer.models import CampaignStatus, SenderStatus
from mailganer.sending.scheduler.tick import tick
from tests.sending.scripted import Script, accept

OFFICE_HOURS = {"days": [1, 2, 3, 4, 5], "from": "12:30", "to": "18:00", "timezone": "Europe/Moscow"}


def test_before_the_hours_nothing_leaves_and_no_one_is_woken(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    campaign = due(30, hours=OFFICE_HOURS)  # it is noon in Moscow
    works = open_works(clock, script)
    works.run(3)
    assert not script.got
    assert reload(campaign).status is CampaignStatus.sending
    assert reload(campaign).resting_until == clock.now + timedelta(minutes=30)
    assert reload(campaign.senders[0]).status is SenderStatus.ready
    assert [call for call in tick(works.context) if call.task == "run_lane"] == []
    clock.forward(minutes=30)
    works.run(3)
    assert len(script.got) == 30


def test_when_the_hours_end_the_email_on_its_way_is_the_last(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    left: list[datetime] = []

    def answer(message: Message) -> Receipt:
        left.append(clock.now)
        clock.forward(seconds=1)
        return accept(message)

    script.answer = answer
    campaign = due(60, hours={**OFFICE_HOURS, "from": "09:00"})
    works = open_works(clock, script)
    closes = clock.now + timedelta(hours=6)
    clock.now = closes - timedelta(seconds=20)
    works.run(4)
    assert len(left) == 20
    assert max(left) < closes
    assert reload(campaign).resting_until == closes + timedelta(hours=15)
    clock.now = closes + timedelta(hours=15)
    works.run(4)
    assert reload(campaign).status is CampaignStatus.finished
    assert set(script.got.values()) == {1}


def test_one_campaign_that_rests_does_not_hold_up_another(
    due: Any, make: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    resting = due(5, hours=OFFICE_HOURS)
    values = {"status": CampaignStatus.scheduled, "send_at": clock.now}
    going = make.campaign(resting.account, tuple(resting.lists), tuple(resting.senders), **values)
    make.commit()
    open_works(clock, script).run(4)
    assert reload(going).status is CampaignStatus.finished
    assert reload(resting).status is CampaignStatus.sending
