"""Campaigns of one sender take turns: by the database alone, whatever their ids, batches and lanes."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import func, select

from mailganer.accounts import network_of
from mailganer.backends import Limits, Message, Outcome, Registry, load_backends
from mailganer.campaigns.actuals import actual_days
from mailganer.campaigns.campaign_forecast import forecast
from mailganer.models import Campaign, CampaignStatus, SentPerMinute, campaign_sender
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker import window_planner
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script, accept, receipt


@pytest.fixture
def beside(due: Any, make: Any) -> Callable[..., list[Campaign]]:
    """Campaigns of one account and one sender, to so many recipients each."""

    def make_them(*subscribers: int, starts: tuple[int, ...] = (), **values: Any) -> list[Campaign]:
        account = make.account(plan="pro")
        sender = None
        found = []
        for number, each in enumerate(subscribers):
            minutes = starts[number] if starts else 0
            lst = make.list(account)
            for subscriber in range(each):
                make.subscriber(account, f"c{number}r{subscriber:06}@example.org", (lst,))
            campaign = due(
                0,
                account=account,
                sender=sender,
                sender_values=values,
                send_at=make.now + timedelta(minutes=minutes),
            )
            campaign.lists.append(lst)
            sender = campaign.senders[0]
            found.append(campaign)
        make.commit()
        return found

    return make_them


@pytest.fixture
def registry(settings: Any) -> Registry:
    return load_backends(settings.backends, settings.backend_options, network_of(settings))


def days_of(session: Any, campaign: Campaign) -> list[int]:
    return [day.emails for day in actual_days(session, campaign)]


def test_a_small_campaign_behind_a_large_one_has_half_of_every_day(
    beside: Any, open_works: Any, clock: Any, script: Script, session: Any, settings: Any, registry: Any
) -> None:
    large, small = beside(120, 15, starts=(0, 30), per_day=20)
    known = {"settings": settings, "registry": registry, "now": clock.now}
    plans = [
        [day.emails for day in forecast(session, each, number, send_at=each.send_at, **known).days]
        for each, number in ((large, 120), (small, 15))
    ]
    assert plans == [[20, 10, 15, 20, 20, 20, 15], [10, 5]]
    session.commit()
    script.limits = Limits(per_day=20)
    works = open_works(clock, script)
    for minutes in (30, 1445, 1445, 1445):
        works.run(3)
        clock.forward(minutes=minutes)
    assert days_of(session, large) == [20, 10, 15]
    assert days_of(session, small) == [10, 5]


def test_campaigns_scheduled_on_the_same_sender_are_reckoned_with(
    beside: Any, session: Any, settings: Any, registry: Any, clock: Any
) -> None:
    draft, later = beside(1200, 450, starts=(0, 60), per_day=500)
    draft.status = CampaignStatus.draft
    session.commit()
    known = {"settings": settings, "registry": registry, "now": clock.now}
    found = forecast(session, draft, 1200, **known)
    assert [day.emails for day in found.days] == [500, 250, 300, 150]
    later.status = CampaignStatus.draft
    session.commit()
    assert [day.emails for day in forecast(session, draft, 1200, **known).days] == [500, 500, 200]


@pytest.mark.parametrize("order", [(40, 300), (300, 40)], ids=["small first", "large first"])
def test_eight_lanes_at_once_divide_a_day_evenly(
    beside: Any, open_works: Any, clock: Any, session: Any, order: tuple[int, int]
) -> None:
    script = Script()
    script.limits = Limits(per_day=50, max_connections=8)
    campaigns = beside(*order)
    works = open_works(clock, script)
    tick(works.context)
    for campaign in campaigns:
        plan(works.context, campaign.id)
    barrier = Barrier(8)

    def one(number: int, context: Any) -> None:
        barrier.wait()
        LaneRunner(context, campaigns[0].senders[0].id, number).run(30)

    threads = [Thread(target=one, args=(n, open_works(clock, script).context)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    works.run(2)  # a lane that finds only what others hold leaves it to them
    assert [sum(days_of(session, campaign)) for campaign in campaigns] == [25, 25]


def test_a_campaign_alone_counts_nothing_and_has_whole_windows(
    beside: Any, open_works: Any, clock: Any, script: Script, session: Any
) -> None:
    beside(100)
    open_works(clock, script).run(4)
    assert session.scalar(select(func.sum(SentPerMinute.emails))) == 100
    assert session.scalar(select(campaign_sender.c.had)) == 0


def test_who_starts_later_is_not_paid_for_the_time_before(
    beside: Any, open_works: Any, clock: Any, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_planner, "SLOTS", 1)
    order: list[str] = []

    def answer(message: Message) -> Any:
        order.append(message.recipient[:2])
        clock.now += timedelta(seconds=1)
        return accept(message)

    script.answer = answer
    first, *_others = beside(40, 40, 20, starts=(0, 0, 2))
    works = open_works(clock, script)
    for call in tick(works.context):
        plan(works.context, *call.ids)
    LaneRunner(works.context, first.senders[0].id, stopped=lambda: len(order) >= 40).run(30)
    assert Counter(order) == {"c0": 20, "c1": 20}
    clock.forward(minutes=2)
    works.run(4)
    assert Counter(order[40:70]) == {"c0": 10, "c1": 10, "c2": 10}


def test_a_campaign_whose_recipients_are_all_refused_blocks_no_request(
    beside: Any, open_works: Any, clock: Any, script: Script, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_planner, "SLOTS", 4)
    order: list[str] = []
    refuse = receipt(Outcome.refused, "550 5.7.1 not wanted here")

    def answer(message: Message) -> Any:
        order.append(message.recipient[:2])
        return accept(message) if message.recipient < "c1" or len(order) % 2 else refuse(message)

    script.answer = answer
    beside(60, 60)
    open_works(clock, script).run(6)
    assert abs(order[:60].count("c0") - 30) <= 8
