"""A plan's limit is divided evenly among campaigns of several senders, and the forecast matches."""

import random
from collections import Counter as Sums
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import process_time

import pytest

from mailganer.campaigns.forecast import Forecast, Wait
from mailganer.campaigns.plan_shares import CampaignDemand, plan_shares
from mailganer.campaigns.sending_hours import Hours
from mailganer.campaigns.simulated import Lane, Sending
from mailganer.campaigns.simulation import play
from mailganer.campaigns.turns import PLENTY, CampaignShare, floor_after, line_up
from mailganer.quota.rolling_counter import RollingCounter

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60
DAY = 24 * 60


# --- the rule


def demand(number: int, used: int, left: int = PLENTY, senders: tuple[int, ...] = (0,)) -> CampaignDemand:
    return CampaignDemand(number, used, left, senders)


def allowed(remaining: int, demands: list[CampaignDemand], senders: dict[int, int]) -> list[int]:
    plan = plan_shares(remaining, demands, senders)
    return [plan.turn(CampaignShare(each.campaign_id, 0)).left for each in demands]


def test_campaigns_of_two_senders_have_half_of_the_plan_each() -> None:
    two = [demand(1, 0), demand(2, 0, senders=(1,))]
    assert allowed(500, two, {0: PLENTY, 1: PLENTY}) == [250, 250]


def test_who_has_had_less_in_the_last_day_comes_first() -> None:
    two = [demand(1, 400), demand(2, 0, senders=(1,))]
    assert allowed(100, two, {0: PLENTY, 1: PLENTY}) == [0, 100]


def test_what_a_small_sender_cannot_send_goes_to_the_others() -> None:
    two = [demand(1, 0), demand(2, 0, senders=(1,))]
    assert allowed(500, two, {0: PLENTY, 1: 100}) == [400, 100]


def test_campaigns_of_one_small_sender_keep_no_more_than_it_can_send() -> None:
    three = [demand(1, 0), demand(2, 0, senders=(1,)), demand(3, 0, senders=(1,))]
    assert allowed(500, three, {0: PLENTY, 1: 100}) == [400, 50, 50]


def test_a_plan_with_room_for_all_keeps_nobody_back() -> None:
    two = [demand(1, 0, left=80), demand(2, 0, left=30, senders=(1,))]
    assert allowed(500, two, {0: PLENTY, 1: PLENTY}) == [470, 420]


# --- plan and run


@dataclass
class Campaign:
    id: int
    left: int
    starts: int  # minute
    senders: tuple[int, ...]
    hours: Hours | None = None
    had: dict[int, int] = field(default_factory=dict)
    used: Sums[int] = field(default_factory=Sums)
    days: Sums[date] = field(default_factory=Sums)

    def __post_init__(self) -> None:
        self.had = dict.fromkeys(self.senders, 0)

    def begun(self, minute: int) -> bool:
        return self.left > 0 and self.starts <= minute

    def is_open(self, minute: int) -> bool:
        return self.begun(minute) and (self.hours is None or self.hours.is_open(moment(minute)))

    def opens_soon(self, minute: int) -> bool:
        return self.begun(minute) and (
            self.hours is None or self.hours.next_open(moment(minute)) <= moment(minute + DAY)
        )


@dataclass
class Mailbox:
    quota: int | None
    a_minute: int
    floor: int = 0
    used: Sums[int] = field(default_factory=Sums)

    def free(self, minute: int) -> int:
        return PLENTY if self.quota is None else self.quota - of_a_day(self.used, minute)


def moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def of_a_day(used: "Sums[int]", minute: int) -> int:
    return sum(number for m, number in used.items() if m >= minute - DAY)


@dataclass
class Machine:
    """Sends as the lanes of several senders do: window after window, in any order within a minute."""

    limit: int
    mailboxes: list[Mailbox]
    window: int
    rnd: random.Random

    def run(self, campaigns: list[Campaign], days: int = 40) -> None:
        self.campaigns, minute = campaigns, MINUTE
        while any(each.left for each in campaigns) and minute < MINUTE + days * DAY:
            budgets = [mailbox.a_minute for mailbox in self.mailboxes]
            while able := [
                n for n, budget in enumerate(budgets) if budget and self.window_of(n, minute, budget)
            ]:
                n = self.rnd.choice(able)
                chosen, size = self.window_of(n, minute, budgets[n])
                budgets[n] -= self.send(chosen, n, minute, min(size, self.rnd.randrange(1, self.window + 1)))
            minute = self.after(minute)

    def after(self, minute: int) -> int:
        """The next minute in which something may change."""
        used = [each.used for each in (*self.campaigns, *self.mailboxes)]
        found = [min((m for m in each if m >= minute - DAY), default=minute) + DAY + 1 for each in used]
        found += [each.starts for each in self.campaigns if each.starts > minute]
        if any(self.window_of(n, minute + 1, 1) for n in range(len(self.mailboxes))):
            return minute + 1
        for each in self.campaigns:
            if each.begun(minute + 1) and each.hours and not each.is_open(minute + 1):
                found.append(int(each.hours.next_open(moment(minute + 1)).timestamp()) // 60)
        return min((m for m in found if m > minute), default=minute + 1)

    def turns(self, n: int, minute: int) -> tuple[list[CampaignShare], bool]:
        remaining = self.limit - sum(of_a_day(each.used, minute) for each in self.campaigns)
        free = {number: mailbox.free(minute) for number, mailbox in enumerate(self.mailboxes)}
        demands = [
            CampaignDemand(
                each.id,
                of_a_day(each.used, minute),
                each.left,
                [s for s in each.senders if free[s]],
            )
            for each in self.campaigns
            if each.opens_soon(minute)
        ]
        plan = plan_shares(remaining, demands, {s: number for s, number in free.items() if number})
        found = [
            plan.turn(CampaignShare(each.id, max(each.had[n], self.mailboxes[n].floor), each.left))
            for each in self.campaigns
            if each.is_open(minute) and n in each.had
        ]
        return [turn for turn in found if turn.left], plan.enough

    def window_of(self, n: int, minute: int, budget: int) -> tuple[Campaign, int] | None:
        remaining = self.limit - sum(of_a_day(each.used, minute) for each in self.campaigns)
        remaining = min(remaining, self.mailboxes[n].free(minute))
        if remaining <= 0:
            return None
        choices = line_up(self.turns(n, minute)[0], remaining, min(self.window, budget))
        return next(
            (
                (each, first.size)
                for first in choices[:1]
                for each in self.campaigns
                if each.id == first.campaign_id
            ),
            None,
        )

    def send(self, chosen: Campaign, n: int, minute: int, size: int) -> int:
        mailbox, (turns, counts) = self.mailboxes[n], self.turns(n, minute)
        chosen.left -= size
        if counts:
            counted = size if len(turns) > 1 else 0
            chosen.had[n] = max(chosen.had[n], mailbox.floor) + counted
            mailbox.floor = max(mailbox.floor, floor_after(turns, chosen.id, counted))
        for used in (chosen.used, mailbox.used):
            used[minute] += size
        chosen.days[moment(minute).date()] += size
        return size


def foreseen(campaigns: list[Campaign], ours: Campaign, limit: int, mailboxes: list[Mailbox]) -> Forecast:
    mine = list(ours.senders)
    order = mine + [n for n in range(len(mailboxes)) if n not in mine]
    lanes = [Lane(f"s{n}", RollingCounter.of(mailboxes[n].quota, ()), mailboxes[n].a_minute) for n in order]
    rivals = [
        Sending(
            each.id, each.left, moment(each.starts), each.hours, {order.index(n): 0 for n in each.senders}
        )
        for each in campaigns
        if each is not ours
    ]
    return play(
        ours.left,
        moment(ours.starts),
        lanes[: len(mine)],
        RollingCounter.of(limit, ()),
        "UTC",
        ours.hours,
        campaign_id=ours.id,
        rivals=rivals,
        other_lanes=lanes[len(mine) :],
    )


def days_of(forecast: Forecast) -> dict[date, int]:
    return {day.date: day.emails for day in forecast.days}


def plan_and_run(campaigns: list[Campaign], limit: int, mailboxes: list[Mailbox], rnd: random.Random) -> None:
    plans = [days_of(foreseen(campaigns, each, limit, mailboxes)) for each in campaigns]
    Machine(limit, mailboxes, rnd.choice([1, 8, 500]), rnd).run(campaigns)
    assert plans == [dict(each.days) for each in campaigns]


HOURS = [
    Hours.from_json({"days": list(range(1, 8)), "from": begins, "to": ends, "timezone": "UTC"})
    for begins, ends in (("10:00", "12:00"), ("22:00", "02:00"), ("07:00", "20:00"))
]


def some(rnd: random.Random, *, several: bool, quotas: bool) -> tuple[int, list[Mailbox], list[Campaign]]:
    """A limit, senders and campaigns; with ``several``, some of these send through two."""
    limit = rnd.randrange(20, 200)
    mailboxes = [
        Mailbox(rnd.choice([None, limit // 4, limit]) if quotas else None, rnd.choice([2, 1000]))
        for _each in range(rnd.randrange(2, 5))
    ]
    campaigns = [
        Campaign(
            number,
            rnd.randrange(1, 3 * limit),
            MINUTE + rnd.randrange(4) * rnd.randrange(1000),
            tuple(sorted(rnd.sample(range(len(mailboxes)), rnd.choice([1, 2]) if several else 1))),
            rnd.choice([None, None, None, *HOURS]),
        )
        for number in rnd.sample(range(10**6), 4)
    ]
    return limit, mailboxes, campaigns


@pytest.mark.parametrize("seed", range(16))
def test_random_campaigns_of_several_senders_leave_on_the_days_foreseen(seed: int) -> None:
    rnd = random.Random(seed)
    limit, mailboxes, campaigns = some(rnd, several=seed % 2 == 0, quotas=seed % 2 == 1)
    plan_and_run(campaigns, limit, mailboxes, rnd)


@pytest.mark.parametrize("seed", range(8))
def test_no_campaign_starves(seed: int) -> None:
    rnd = random.Random(seed)
    limit, mailboxes, campaigns = some(rnd, several=True, quotas=True)
    emails = [each.left for each in campaigns]
    Machine(limit, mailboxes, rnd.choice([8, 500]), rnd).run(campaigns)
    for campaign, number in zip(campaigns, emails, strict=True):
        quota = min(mailboxes[n].quota or limit for n in campaign.senders)
        first, last = min(campaign.days), max(campaign.days)
        assert campaign.left == 0
        # The days in between: never less than the part of a day that all campaigns at once would leave it.
        between = [campaign.days[day] for day in days_between(first, last)]
        assert sum(between) >= len(between) * (min(quota, limit) // len(campaigns)), (number, campaign.days)


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range(1, (last - first).days)]


def test_a_small_campaign_of_another_sender_has_half_of_every_day() -> None:
    mailboxes = [Mailbox(None, 1000), Mailbox(None, 1000)]
    large, small = Campaign(1, 5000, MINUTE, (0,)), Campaign(2, 300, MINUTE + 30, (1,))
    plan_and_run([large, small], 500, mailboxes, random.Random(1))
    assert list(small.days.values()) == [250, 50]


def test_a_slow_sender_does_not_hold_up_the_others() -> None:
    fast, slow = Campaign(1, 3000, MINUTE, (0,)), Campaign(2, 3000, MINUTE, (1,))
    mailboxes = [Mailbox(None, 1000), Mailbox(100, 1000)]
    plan_and_run([fast, slow], 500, mailboxes, random.Random(1))
    assert list(fast.days.values())[:3] == [400, 400, 400]


def test_the_forecast_says_what_the_plan_keeps_waiting() -> None:
    large, small = Campaign(1, 600, MINUTE, (0,)), Campaign(2, 600, MINUTE, (1,))
    found = foreseen([large, small], large, 200, [Mailbox(None, 1000), Mailbox(None, 1000)])
    assert found.first_pause is not None
    assert (found.first_pause.wait, found.first_pause.limit) == (Wait.plan, 200)
    assert found.first_pause.until - NOW <= timedelta(days=1, minutes=1)


def test_a_forecast_among_many_campaigns_is_quick() -> None:
    rnd = random.Random(1)
    lanes = [Lane(f"s{n}", RollingCounter.of(2000, ()), 60) for n in range(5)]
    rivals = [Sending(10 + n, 10_000, NOW, had={n % 5: 0}) for n in range(20)]
    begun = process_time()
    found = play(
        rnd.randrange(900_000, 1_000_000),
        NOW,
        lanes[:1],
        RollingCounter.of(5000, ()),
        "UTC",
        rivals=rivals,
        other_lanes=lanes[1:],
    )
    assert process_time() - begun < 3
    assert found.finishes_at is None
