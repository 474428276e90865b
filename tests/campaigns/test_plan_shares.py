"""A plan's limit is divided evenly among campaigns of several senders, as the forecast has it."""

import random
from collections import Counter as Sums
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import process_time

import pytest

from mailganer.campaigns import shared_limits_simulation
from mailganer.campaigns.campaign_shares import PLENTY, CampaignShare, order_campaigns
from mailganer.campaigns.forecast import Forecast, Wait
from mailganer.campaigns.plan_shares import CampaignDemand, PlanShares, SenderQuota, plan_shares
from mailganer.campaigns.sending_hours import Hours
from mailganer.campaigns.simulation import simulate
from mailganer.campaigns.simulation_model import SimulatedCampaign, SimulatedLane
from mailganer.quota.rolling_counter import RollingCounter
from tests.support.pace import within

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60
DAY = 24 * 60


# --- the rule


def demand(number: int, used: int, left: int = PLENTY, senders: tuple[int, ...] = (0,)) -> CampaignDemand:
    return CampaignDemand(number, used, left, senders)


def allowed(remaining: int, demands: list[CampaignDemand], senders: dict[int, int]) -> list[int]:
    plan = plan_shares(remaining, demands, {number: SenderQuota(0, free) for number, free in senders.items()})
    return [
        sum(plan.share_at(CampaignShare(each.campaign_id, 0), s).left for s in each.senders)
        for each in demands
    ]


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


def test_a_plan_with_room_for_all_delays_no_email() -> None:
    two = [demand(1, 0, left=80), demand(2, 0, left=30, senders=(1,))]
    assert allowed(500, two, {0: PLENTY, 1: PLENTY}) == [80, 30]


def test_a_campaign_with_several_senders_leaves_the_only_one_of_another_to_it() -> None:
    three = [demand(1, 0, senders=(0, 1)), demand(2, 0), demand(3, 0, senders=(1, 2))]
    plan = plan_shares(PLENTY, three, {0: SenderQuota(0, 60), 1: SenderQuota(0, 40), 2: SenderQuota(0, 90)})
    assert plan.parts == {1: {0: 10, 1: 40}, 2: {0: 50}, 3: {2: 90}}


def test_the_emails_of_a_campaign_go_through_the_sender_that_has_sent_least() -> None:
    senders = {0: SenderQuota(70, 30), 1: SenderQuota(40, 60)}
    plan = plan_shares(PLENTY, [demand(1, 0, left=40, senders=(0, 1))], senders)
    assert plan.parts == {1: {0: 5, 1: 35}}


def test_a_sender_that_helps_leaves_what_is_kept_for_later_hours() -> None:
    later = demand(2, 0, left=30)._replace(later=True)
    now = demand(1, 0, left=60, senders=(0, 1))
    plan = plan_shares(80, [now, later], {0: SenderQuota(90, 50), 1: SenderQuota(0, 90)})
    assert plan.parts == {1: {1: 50}, 2: {0: 30}}
    assert plan.share_at(CampaignShare(1, 0), 0, helping=True).left == 20


# --- plan and run


@dataclass
class Campaign:
    id: int
    left: int
    starts: float  # minute
    senders: tuple[int, ...]
    hours: Hours | None = None
    used: Sums[int] = field(default_factory=Sums)
    days: Sums[date] = field(default_factory=Sums)

    def __post_init__(self) -> None:
        self.shares_from = int(self.starts)

    def begun(self, minute: int) -> bool:
        return self.left > 0 and self.shares_from <= minute

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
    used: Sums[int] = field(default_factory=Sums)

    @property
    def largest(self) -> int:
        """A window takes a quarter of a second; a slow sender's is one email."""
        return 1 if self.a_minute < 240 else self.a_minute

    def remaining(self, minute: int) -> SenderQuota:
        used = of_a_day(self.used, minute)
        return SenderQuota(used, PLENTY if self.quota is None else self.quota - used)


def moment(minute: float) -> datetime:
    return datetime.fromtimestamp(round(minute * 60), UTC)


def of_a_day(used: "Sums[int]", minute: int) -> int:
    return sum(number for m, number in used.items() if m >= minute - DAY)


@dataclass
class Machine:
    """Sends as the lanes of several senders do: window after window, in any order within a minute.

    A sender that had nothing of its own in the minute before helps the others, after these have sent.
    """

    limit: int | None
    mailboxes: list[Mailbox]
    window: int
    rnd: random.Random
    idle: set[int] = field(default_factory=set)

    def run(self, campaigns: list[Campaign], days: int = 40) -> None:
        self.campaigns, minute, first = campaigns, MINUTE, 0.0
        for each in sorted(campaigns, key=lambda each: each.starts):
            # When one starts, those that start within a minute have their shares already.
            first = each.starts if each.starts >= first + 1 else first
            each.shares_from = int(first)
        while any(each.left for each in campaigns) and minute < MINUTE + days * DAY:
            gone = max(0.0, min(each.starts for each in campaigns) - minute)
            budgets = [max(1, int(mailbox.a_minute * (1 - gone))) for mailbox in self.mailboxes]
            idle = {n for n in range(len(budgets)) if not self.window_of(n, minute, 1)}
            for helpers in (set(), self.idle & idle):
                while able := [n for n, budget in enumerate(budgets) if self.can(n, minute, budget, helpers)]:
                    n = self.rnd.choice(able)
                    budgets[n] -= self.send(n, minute, budgets[n], helping=n in helpers)
            self.idle = {n for n in idle if self.window_of(n, minute, 1, helping=True)}
            minute = self.after(minute)

    def can(self, n: int, minute: int, budget: int, helpers: set[int]) -> bool:
        own = budget and self.window_of(n, minute, budget) is not None
        return bool(own or (n in helpers and budget and self.window_of(n, minute, budget, helping=True)))

    def after(self, minute: int) -> int:
        """The next minute in which something may change."""
        used = [each.used for each in (*self.campaigns, *self.mailboxes)]
        found = [min((m for m in each if m >= minute - DAY), default=minute) + DAY + 1 for each in used]
        found += [each.shares_from for each in self.campaigns if each.shares_from > minute]
        if self.idle or any(self.window_of(n, minute + 1, 1) for n in range(len(self.mailboxes))):
            return minute + 1
        for each in self.campaigns:
            if each.begun(minute + 1) and each.hours and not each.is_open(minute + 1):
                found.append(int(each.hours.next_open(moment(minute + 1)).timestamp()) // 60)
        return min((m for m in found if m > minute), default=minute + 1)

    def plan(self, minute: int) -> PlanShares:
        demands = [
            CampaignDemand(
                each.id,
                of_a_day(each.used, minute),
                each.left,
                each.senders,
                not each.is_open(minute),
            )
            for each in self.campaigns
            if each.opens_soon(minute)
        ]
        quotas = {number: mailbox.remaining(minute) for number, mailbox in enumerate(self.mailboxes)}
        return plan_shares(self.remaining(minute), demands, quotas)

    def remaining(self, minute: int) -> int:
        if self.limit is None:
            return PLENTY
        return self.limit - sum(of_a_day(each.used, minute) for each in self.campaigns)

    def queue(self, n: int, minute: int, plan: PlanShares, *, helping: bool) -> list[CampaignShare]:
        found = [
            plan.share_at(
                CampaignShare(each.id, 0, each.left),
                n,
                helping=helping,
            )
            for each in self.campaigns
            if each.is_open(minute) and n in each.senders
        ]
        return [share for share in found if share.left]

    def window_of(
        self, n: int, minute: int, budget: int, *, helping: bool = False
    ) -> tuple[Campaign, int] | None:
        remaining = min(self.remaining(minute), self.mailboxes[n].remaining(minute).free)
        if remaining <= 0:
            return None
        plan = self.plan(minute)
        queue = self.queue(n, minute, plan, helping=helping)
        size = min(self.window, budget, self.mailboxes[n].largest)
        for first in order_campaigns(queue, remaining, size)[:1]:
            chosen = next(each for each in self.campaigns if each.id == first.campaign_id)
            return chosen, first.size
        return None

    def send(self, n: int, minute: int, budget: int, *, helping: bool) -> int:
        mailbox = self.mailboxes[n]
        window = self.window_of(n, minute, budget) or self.window_of(n, minute, budget, helping=helping)
        assert window
        chosen, size = window
        size = min(size, self.rnd.randrange(1, self.window + 1))
        chosen.left -= size
        for used in (chosen.used, mailbox.used):
            used[minute] += size
        chosen.days[moment(minute).date()] += size
        return size


def foreseen(
    campaigns: list[Campaign], ours: Campaign, limit: int | None, mailboxes: list[Mailbox]
) -> Forecast:
    mine = list(ours.senders)
    order = mine + [n for n in range(len(mailboxes)) if n not in mine]
    lanes = [
        SimulatedLane(f"s{n}", RollingCounter.of(mailboxes[n].quota, ()), mailboxes[n].a_minute, sender_id=n)
        for n in order
    ]
    rivals = [
        SimulatedCampaign(
            each.id, each.left, moment(each.starts), each.hours, {order.index(n): 0 for n in each.senders}
        )
        for each in campaigns
        if each is not ours
    ]
    return simulate(
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


def plan_and_run(
    campaigns: list[Campaign], limit: int | None, mailboxes: list[Mailbox], rnd: random.Random
) -> None:
    plans = [days_of(foreseen(campaigns, each, limit, mailboxes)) for each in campaigns]
    Machine(limit, mailboxes, rnd.choice([1, 8, 500]), rnd).run(campaigns)
    assert plans == [dict(each.days) for each in campaigns]


HOURS = [
    Hours.from_json({"days": list(range(1, 8)), "from": begins, "to": ends, "timezone": "UTC"})
    for begins, ends in (("10:00", "12:00"), ("22:00", "02:00"), ("07:00", "20:00"))
]


def some(
    rnd: random.Random, *, several: bool, quotas: bool, plan: bool = True
) -> tuple[int | None, list[Mailbox], list[Campaign]]:
    """A limit, senders and campaigns; with ``several``, some of these send through two or three.

    No slow senders where campaigns send through several with limits of their own: how far these are when
    something changes is not exact in the forecast.
    """
    limit = rnd.randrange(20, 200)
    paces = [1000] if several and quotas else [2, 1000]
    mailboxes = [
        Mailbox(rnd.choice([None if plan else limit // 2, limit // 4, limit]) if quotas else None, a_minute)
        for a_minute in rnd.choices(paces, k=rnd.randrange(2, 5))
    ]
    most = min(3, len(mailboxes)) if several else 1
    campaigns = [
        Campaign(
            number,
            rnd.randrange(1, 3 * limit),
            MINUTE + rnd.randrange(3) * rnd.randrange(1000) + rnd.randrange(60) / 60,  # some seconds apart
            tuple(sorted(rnd.sample(range(len(mailboxes)), rnd.randrange(1, most + 1)))),
            rnd.choice([None, None, None, *HOURS]),
        )
        for number in rnd.sample(range(10**6), 4)
    ]
    return limit if plan else None, mailboxes, campaigns


KINDS = {
    "several senders": {"several": True, "quotas": False},
    "own limits": {"several": False, "quotas": True},
    "several senders with own limits": {"several": True, "quotas": True},
    "no limit of a plan": {"several": True, "quotas": True, "plan": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_random_campaigns_of_several_senders_leave_on_the_days_foreseen(kind: str, seed: int) -> None:
    rnd = random.Random(f"{kind} {seed}")
    limit, mailboxes, campaigns = some(rnd, **KINDS[kind])
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


def test_the_days_are_approximate_only_where_campaigns_share_several_senders() -> None:
    mailboxes = [Mailbox(50, 1000), Mailbox(50, 1000)]
    both, second = Campaign(1, 200, MINUTE, (0, 1)), Campaign(2, 200, MINUTE, (1,))
    assert foreseen([both, second], second, None, mailboxes).approximate
    assert not foreseen([both], both, None, mailboxes).approximate
    first = Campaign(1, 200, MINUTE, (0,))
    assert not foreseen([first, second], second, 80, mailboxes).approximate


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


def test_a_forecast_among_fifty_campaigns_and_ten_senders_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    divisions = []
    monkeypatch.setattr(
        shared_limits_simulation, "plan_shares", lambda *given: (divisions.append(1), plan_shares(*given))[1]
    )
    rnd = random.Random(1)
    lanes = [SimulatedLane(f"s{n}", RollingCounter.of(500, ()), 300, sender_id=n) for n in range(10)]
    rivals = [
        SimulatedCampaign(
            10 + n,
            10_000,
            NOW + timedelta(minutes=rnd.randrange(3000)),
            had=dict.fromkeys(rnd.sample(range(10), rnd.randrange(1, 4)), 0),
        )
        for n in range(50)
    ]
    begun = process_time()
    found = simulate(
        10_000,
        NOW,
        lanes[:2],
        RollingCounter.of(5000, ()),
        "UTC",
        campaign_id=5,
        rivals=rivals,
        other_lanes=lanes[2:],
    )
    assert process_time() - begun < within(1)  # 0.2 where nothing else runs
    assert 0 < len(divisions) < 800  # it divides when something changes, not in each minute of a hundred days
    assert found.finishes_at is not None


def test_a_forecast_among_many_campaigns_is_quick() -> None:
    rnd = random.Random(1)
    lanes = [SimulatedLane(f"s{n}", RollingCounter.of(2000, ()), 60) for n in range(5)]
    rivals = [SimulatedCampaign(10 + n, 10_000, NOW, had={n % 5: 0}) for n in range(20)]
    begun = process_time()
    found = simulate(
        rnd.randrange(900_000, 1_000_000),
        NOW,
        lanes[:1],
        RollingCounter.of(5000, ()),
        "UTC",
        rivals=rivals,
        other_lanes=lanes[1:],
    )
    assert process_time() - begun < within(1)  # 0.1 where nothing else runs
    assert found.finishes_at is None
