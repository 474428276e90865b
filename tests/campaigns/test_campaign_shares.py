"""Campaigns of one sender: each day's quota is divided evenly, and the forecast matches."""

import random
from collections import Counter as Sums
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import process_time

import pytest

from mailganer.campaigns.campaign_shares import (
    PLENTY,
    CampaignShare,
    WindowChoice,
    lowest_count_after,
    order_campaigns,
    shares,
    until_done,
)
from mailganer.campaigns.simulation import simulate
from mailganer.campaigns.simulation_model import SimulatedCampaign, SimulatedLane
from mailganer.quota.rolling_counter import RollingCounter
from tests.support.pace import within

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60


# --- the rule


def one_by_one(emails: int, campaigns: list[CampaignShare]) -> list[int]:
    """The rule of ``shares``, computed email by email."""
    found = [0] * len(campaigns)
    for _each in range(emails):
        able = [n for n, campaign in enumerate(campaigns) if found[n] < campaign.left]
        if not able:
            break
        found[min(able, key=lambda n: (campaigns[n].had + found[n], campaigns[n].campaign_id))] += 1
    return found


@pytest.mark.parametrize("seed", range(40))
def test_shares_are_those_of_emails_dealt_out_one_by_one(seed: int) -> None:
    rnd = random.Random(seed)
    campaigns = [
        CampaignShare(number, rnd.randrange(20), rnd.choice([PLENTY, rnd.randrange(30)]))
        for number in rnd.sample(range(1000), rnd.randrange(1, 7))
    ]
    emails = rnd.randrange(120)
    assert shares(emails, campaigns) == one_by_one(emails, campaigns)


@pytest.mark.parametrize("seed", range(20))
def test_the_number_of_emails_until_one_is_done_is_exact(seed: int) -> None:
    rnd = random.Random(seed)
    campaigns = [
        CampaignShare(number, rnd.randrange(9), rnd.randrange(1, 20)) for number in rnd.sample(range(99), 5)
    ]
    ours, *others = campaigns
    number = until_done(ours, others)
    assert one_by_one(number, campaigns)[0] == ours.left
    assert one_by_one(number - 1, campaigns)[0] == ours.left - 1


def test_a_campaign_alone_has_windows_as_large_as_it_may() -> None:
    assert order_campaigns([CampaignShare(7, 0)], None, 500)[0].size == 500
    assert order_campaigns([CampaignShare(7, 10_000)], 480, 500)[0].size == 480


def test_who_has_had_least_comes_first_and_takes_no_more_than_its_share_of_the_day() -> None:
    small, large = CampaignShare(900, 0), CampaignShare(1, 0)
    assert order_campaigns([small, large], 500, 500) == [WindowChoice(1, 250), WindowChoice(900, 250)]
    assert order_campaigns([small, CampaignShare(1, 250)], 250, 500) == [WindowChoice(900, 250)]


def test_a_campaign_whose_batches_other_lanes_hold_keeps_its_share() -> None:
    held = CampaignShare(1, 0, left=20, free=False)
    assert order_campaigns([held, CampaignShare(2, 0)], 100, 500) == [WindowChoice(2, 80)]


# --- plan and run


@dataclass
class Campaign:
    id: int
    left: int
    starts: int  # minute
    batch: int
    had: int = 0
    days: Sums[date] = field(default_factory=Sums)


@dataclass
class Machine:
    """Send as a lane does: window after window, from committed state only.

    A window is limited by the rest of a batch, the day's quota, and the pace of a short time.
    """

    quota: int
    a_minute: int
    window: int
    rnd: random.Random
    floor: int = 0

    def run(self, campaigns: list[Campaign]) -> None:
        used: Sums[int] = Sums()
        minute = MINUTE
        while any(each.left for each in campaigns):
            pace = self.a_minute
            while pace and (remaining := self.quota - self.used(used, minute)) > 0:
                able = [each for each in campaigns if each.left and each.starts <= minute]
                if not able:
                    break
                sent = self.open(able, min(remaining, self.quota), pace)
                able_day = datetime.fromtimestamp(minute * 60, UTC).date()
                sent[0].days[able_day] += sent[1]
                used[minute] += sent[1]
                pace -= sent[1]
            minute += 1
            wakes = [each.starts for each in campaigns if each.left and each.starts > minute]
            if self.quota <= self.used(used, minute):
                minute = max(minute, min(m for m in used if m >= minute - 1440) + 1441)
            elif not [each for each in campaigns if each.left and each.starts <= minute] and wakes:
                minute = min(wakes)

    @staticmethod
    def used(used: "Sums[int]", minute: int) -> int:
        return sum(number for m, number in used.items() if m >= minute - 1440)

    def open(self, able: list[Campaign], remaining: int, pace: int) -> tuple[Campaign, int]:
        campaigns = [CampaignShare(each.id, max(each.had, self.floor)) for each in able]
        first = order_campaigns(campaigns, remaining, min(self.window, pace))[0]
        chosen = next(each for each in able if each.id == first.campaign_id)
        rest_of_batch = chosen.left % chosen.batch or chosen.batch
        number = min(first.size, chosen.left, rest_of_batch, self.rnd.randrange(1, self.window + 1))
        counted = number if len(campaigns) > 1 else 0
        chosen.had = max(chosen.had, self.floor) + counted
        chosen.left -= number
        self.floor = max(self.floor, lowest_count_after(campaigns, chosen.id, counted))
        return chosen, number


def foreseen(campaigns: list[Campaign], ours: Campaign, quota: int, a_minute: int) -> dict[date, int]:
    def at(campaign: Campaign) -> datetime:
        return datetime.fromtimestamp(campaign.starts * 60, UTC)

    rivals = [
        SimulatedCampaign(each.id, each.left, at(each), had={0: 0}) for each in campaigns if each is not ours
    ]
    lane = SimulatedLane("anna", RollingCounter.of(quota, ()), a_minute)
    found = simulate(
        ours.left, at(ours), [lane], RollingCounter.of(None, ()), "UTC", campaign_id=ours.id, rivals=rivals
    )
    return {day.date: day.emails for day in found.days}


@pytest.mark.parametrize("seed", range(30))
def test_random_campaigns_beside_each_other_leave_on_the_days_foreseen(seed: int) -> None:
    rnd = random.Random(seed)
    quota = rnd.randrange(20, 600)
    a_minute = rnd.choice([quota, 1000])  # a day's emails are sent in a minute
    campaigns = [
        Campaign(number, rnd.randrange(1, 4 * quota), MINUTE + rnd.randrange(4) * rnd.randrange(1000), batch)
        for number, batch in zip(rnd.sample(range(10**6), 5), rnd.choices([1, 20, 63, 500], k=5), strict=True)
    ]
    plans = [foreseen(campaigns, each, quota, a_minute) for each in campaigns]
    Machine(quota, a_minute, rnd.choice([1, 8, 500]), rnd).run(campaigns)
    assert plans == [dict(each.days) for each in campaigns]


def test_a_small_campaign_beside_a_large_one_has_half_of_every_day() -> None:
    large, small = Campaign(1, 5000, MINUTE, 500), Campaign(2, 300, MINUTE + 30, 38)
    days = foreseen([large, small], small, 500, 600)
    assert list(days.values()) == [250, 50]
    Machine(500, 600, 500, random.Random(1)).run([large, small])
    assert dict(small.days) == days


def test_a_slow_sender_serves_them_in_turn_over_midnight_too() -> None:
    late = MINUTE + 13 * 60  # 22:00
    campaigns = [Campaign(9, 700, late, 20), Campaign(3, 200, late, 20), Campaign(5, 90, late + 240, 20)]
    plans = [foreseen(campaigns, each, 300, 1) for each in campaigns]
    Machine(300, 1, 1, random.Random(1)).run(campaigns)
    assert plans == [dict(each.days) for each in campaigns]


def test_a_forecast_beside_a_hundred_campaigns_and_a_million_emails_is_quick() -> None:
    rnd = random.Random(1)
    rivals = [
        SimulatedCampaign(10 + n, 10_000, NOW + timedelta(minutes=rnd.randrange(3000)), had={0: 0})
        for n in range(100)
    ]
    lane = SimulatedLane("anna", RollingCounter.of(2000, ()), 60)
    begun = process_time()
    found = simulate(1_000_000, NOW, [lane], RollingCounter.of(None, ()), "UTC", rivals=rivals)
    assert process_time() - begun < within(0.5)  # 0.06 where nothing else runs
    assert found.finishes_at is None
