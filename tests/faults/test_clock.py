"""Clocks that are set: no letter waits for the hours that a clock went back, none goes out twice."""

from typing import Any

import pytest

from mailganer.models import CampaignStatus
from mailganer.sending.lane import Lane
from mailganer.sending.office import open_office
from tests.sending.scripted import Script

from .child import dies, end_of, fork


@pytest.mark.parametrize("hours", [8, -8])
def test_a_clock_set_in_the_middle_of_a_campaign_costs_nobody_a_letter(
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
        dies(Lane, "_finish")  # all is settled, and the batch not given back yet
        office, sender_id = open_office(settings, clock), campaign.senders[0].id
        lane = Lane(office, sender_id, stopped=lambda: lane._settled > 0)
        lane.run(30)

    assert end_of(fork(work)) < 0
    clock.forward(hours=-8)
    works.run(3)
    clock.forward(minutes=2)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 30}, "the batch is held by nobody"
    assert reload(campaign).status is CampaignStatus.finished
