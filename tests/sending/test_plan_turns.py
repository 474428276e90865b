"""Campaigns of several senders share the plan's limit: by the database alone, at whatever pace they send."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import event, func, select

from mailganer.accounts import network_of
from mailganer.backends import Limits, Message, load_backends
from mailganer.campaigns.actuals import actual_days
from mailganer.campaigns.campaign_forecast import forecast
from mailganer.models import Campaign, CampaignStatus, Sender, SenderStatus, Usage
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker import window_planner
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script, accept

PLAN = 40  # emails in 24 hours


@pytest.fixture
def of_senders(due: Any, make: Any) -> Callable[..., list[Campaign]]:
    """Campaigns of one account with so many recipients each, each through a sender of its own."""

    def make_them(
        *recipients: int, starts: tuple[float, ...] = (), plan: str = "free", **values: Any
    ) -> list[Campaign]:
        account = make.account(plan=plan)
        found = []
        for number, each in enumerate(recipients):
            send_at = make.now + timedelta(minutes=starts[number] if starts else 0)
            lst = make.list(account)
            for subscriber in range(each):
                make.subscriber(account, f"c{number}r{subscriber:06}@example.org", (lst,))
            campaign = due(0, account=account, send_at=send_at, sender_values=values)
            campaign.senders[0].from_email = f"sender{number}@example.com"
            campaign.lists.append(lst)
            found.append(campaign)
        make.commit()
        return found

    return make_them


@pytest.fixture
def ini_values(ini_values: dict[str, str]) -> dict[str, str]:
    return {**ini_values, "mailganer.plan.free.per_day": str(PLAN)}


def foreseen(session: Any, campaign: Campaign, number: int, settings: Any, now: Any) -> list[int]:
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    known = {"settings": settings, "registry": registry, "now": now, "send_at": campaign.send_at}
    found = [day.emails for day in forecast(session, campaign, number, **known).days]
    session.commit()
    return found


def days_of(session: Any, campaign: Campaign) -> list[int]:
    found = [day.emails for day in actual_days(session, campaign)]
    session.commit()
    return found


def test_a_small_campaign_of_another_sender_has_half_of_every_day_of_the_plan(
    of_senders: Any, open_works: Any, clock: Any, session: Any, settings: Any
) -> None:
    large, small = of_senders(150, 30, starts=(0, 1))
    plans = [
        foreseen(session, each, number, settings, clock.now) for each, number in ((large, 150), (small, 30))
    ]
    assert plans == [[40, 20, 30, 40, 20], [20, 10]]
    works = open_works(clock, Script())
    for minutes in (1, 1450, 1450, 1450, 1450, 1450):
        works.run(3)
        clock.forward(minutes=minutes)
    assert [days_of(session, large), days_of(session, small)] == plans


def test_lanes_of_two_senders_at_once_divide_the_plan_evenly(
    of_senders: Any, open_works: Any, clock: Any, session: Any
) -> None:
    script = Script()
    script.limits = Limits(max_connections=8)
    campaigns = of_senders(120, 60)
    works = open_works(clock, script)
    tick(works.context)
    for campaign in campaigns:
        plan(works.context, campaign.id)
    lanes = [(campaign.senders[0].id, number) for campaign in campaigns for number in range(2)]
    session.commit()
    at_once(lanes, open_works, clock, script)
    clock.forward(minutes=1)
    works.run(2)
    assert [days_of(session, campaign) for campaign in campaigns] == [[20], [20]]


def at_once(lanes: list[tuple[int, int]], open_works: Any, clock: Any, script: Script) -> None:
    """Run these lanes (sender, number) at the same time."""
    barrier = Barrier(len(lanes))

    def one(sender_id: int, number: int, context: Any) -> None:
        barrier.wait()
        LaneRunner(context, sender_id, number).run(30)

    threads = [Thread(target=one, args=(*lane, open_works(clock, script).context)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_sender_whose_campaigns_have_had_their_part_is_not_woken_at_once_again(
    of_senders: Any, open_works: Any, clock: Any, session: Any
) -> None:
    large, small = of_senders(60, 30)
    first, second = large.senders[0].id, small.senders[0].id
    script = Script()
    works = open_works(clock, script)
    for call in tick(works.context):
        if call.task == "plan":
            plan(works.context, *call.ids)
    LaneRunner(works.context, first).run(30)
    assert days_of(session, large) == [20]
    assert [call.ids[0] for call in tick(works.context) if call.task == "run_lane"] == [second]
    session.refresh(session.get_one(Sender, first))
    session.get_one(Sender, second).deleted_at = clock.now  # so that no other sender can use the plan
    session.commit()
    clock.forward(minutes=1)
    LaneRunner(works.context, first).run(30)
    assert days_of(session, large) == [40]


def lanes_of(calls: list[Any]) -> list[int]:
    return [call.ids[0] for call in calls if call.task == "run_lane"]


@pytest.fixture
def resting(
    of_senders: Any, open_works: Any, clock: Any, session: Any
) -> Callable[[], tuple[Any, int, list[Campaign]]]:
    """Return works, a sender that has sent its part of what the limits allow and rests, and the campaigns.

    The second sender has not sent its part yet. A third campaign, of the first sender, is a draft.
    """

    def begin() -> tuple[Any, int, list[Campaign]]:
        large, small, new = of_senders(60, 30, 20)
        first = large.senders[0].id
        new.senders = list(large.senders)
        new.status = CampaignStatus.draft
        session.commit()
        works = open_works(clock, Script())
        for call in tick(works.context):
            if call.task == "plan":
                plan(works.context, *call.ids)
        LaneRunner(works.context, first).run(30)
        assert days_of(session, large) == [20]
        session.expire_all()
        return works, first, [large, small, new]

    return begin


def test_a_sender_without_a_share_rests_as_long_as_nothing_changes(resting: Any, clock: Any) -> None:
    works, first, _campaigns = resting()
    for _each in range(7):
        assert first not in lanes_of(tick(works.context))
        clock.forward(seconds=2)


def another_is_paused(campaigns: list[Campaign]) -> None:
    campaigns[1].status = CampaignStatus.paused


def another_is_cancelled(campaigns: list[Campaign]) -> None:
    campaigns[1].status = CampaignStatus.cancelled


def its_sender_fails(campaigns: list[Campaign]) -> None:
    campaigns[1].senders[0].status = SenderStatus.failing


def its_sender_rests(campaigns: list[Campaign]) -> None:
    sender = campaigns[1].senders[0]
    sender.status, sender.sleeps_until = SenderStatus.sleeping, campaigns[1].send_at + timedelta(hours=1)


@pytest.mark.parametrize(
    "change", [another_is_paused, another_is_cancelled, its_sender_fails, its_sender_rests]
)
def test_a_sender_without_a_share_continues_as_soon_as_what_was_for_others_is_free(
    change: Callable[[list[Campaign]], None], resting: Any, session: Any, clock: Any
) -> None:
    works, first, campaigns = resting()
    change(campaigns)
    session.commit()
    assert first in lanes_of(tick(works.context))
    LaneRunner(works.context, first).run(30)
    assert days_of(session, campaigns[0]) == [40]


def test_a_sender_without_a_share_continues_as_soon_as_a_campaign_with_one_is_planned(
    resting: Any, session: Any, clock: Any
) -> None:
    works, first, campaigns = resting()
    campaigns[2].status = CampaignStatus.scheduled
    session.commit()
    calls = tick(works.context)
    assert first not in lanes_of(calls)
    plan(works.context, campaigns[2].id)
    assert first in lanes_of(tick(works.context))
    LaneRunner(works.context, first).run(30)
    assert days_of(session, campaigns[2]) == [10]
    assert first not in lanes_of(tick(works.context)), "it has had its part again"


def test_a_sender_without_a_share_keeps_its_pace_when_it_continues(
    resting: Any, session: Any, clock: Any
) -> None:
    works, first, campaigns = resting()
    sender = session.get_one(Sender, first)
    sender.slowed_to, sender.slowed_from = 0.1, 1.0
    another_is_paused(campaigns)
    session.commit()
    assert first not in lanes_of(tick(works.context))
    session.refresh(sender)
    assert sender.paced_until == clock.now + timedelta(seconds=10)


@pytest.mark.parametrize(
    ("limit", "recipients"), [(None, (30, 30)), (PLAN, (60,))], ids=["no limit", "one sender"]
)
def test_where_nothing_is_to_be_divided_no_window_costs_another_statement(
    of_senders: Any, open_works: Any, clock: Any, limit: int | None, recipients: tuple[int, ...]
) -> None:
    assert _divisions(of_senders, open_works, clock, limit, recipients) == 0


def test_dividing_costs_one_statement_a_window(of_senders: Any, open_works: Any, clock: Any) -> None:
    windows: Counter[str] = Counter()
    script = Script()
    seen = _divisions(of_senders, open_works, clock, PLAN, (60, 30), script, windows)
    assert 0 < seen <= windows["opened"] + 8  # and one where a lane finds that there is nothing for it


def _divisions(
    of_senders: Any,
    open_works: Any,
    clock: Any,
    limit: int | None,
    recipients: tuple[int, ...],
    script: Script | None = None,
    windows: "Counter[str] | None" = None,
) -> int:
    """Statements that ask what the plan's limit allows each campaign."""
    of_senders(*recipients)
    works = open_works(clock, script or Script())
    works.context = replace(works.context, plan_limit=lambda _account, _now: limit)
    seen = []

    def note(_conn: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if "sum(sent_per_minute.emails)" in statement:
            seen.append(statement)
        if windows is not None and "INSERT INTO" in statement and "window" in statement:
            windows["opened"] += 1

    event.listen(works.context.engine, "before_cursor_execute", note)
    works.run(3)
    return len(seen)


def start_late(
    works: Any, script: Script, session: Any, large: Campaign, small: Campaign, monkeypatch: Any
) -> Any:
    """Send ten emails of the large campaign, then schedule the small one; return the large one's lane."""
    monkeypatch.setattr(window_planner, "SLOTS", 1)
    seen: list[Message] = []
    script.answer = lambda message: (seen.append(message), accept(message))[1]
    small.status = CampaignStatus.draft
    session.commit()
    tick(works.context)
    plan(works.context, large.id)
    LaneRunner(works.context, large.senders[0].id, stopped=lambda: len(seen) >= 10).run(30)
    assert len(seen) == 10
    small.status = CampaignStatus.scheduled
    session.commit()
    return LaneRunner(works.context, large.senders[0].id)


def test_a_campaign_has_its_share_as_soon_as_it_is_scheduled(
    of_senders: Any, open_works: Any, clock: Any, session: Any, settings: Any, monkeypatch: Any
) -> None:
    large, small = of_senders(150, 30)
    script = Script()
    works = open_works(clock, script)
    lane = start_late(works, script, session, large, small, monkeypatch)
    assert foreseen(session, small, 30, settings, clock.now) == [20, 10]
    lane.run(30)  # before the small one has been started, let alone planned
    assert days_of(session, large) == [20]
    works.run(3)
    assert [days_of(session, each) for each in (large, small)] == [[20], [20]]


def test_on_the_same_sender_too(
    of_senders: Any, open_works: Any, clock: Any, session: Any, settings: Any, monkeypatch: Any
) -> None:
    large, small = of_senders(150, 30, plan="pro", per_day=PLAN)
    small.senders = list(large.senders)
    script = Script()
    script.limits = Limits(per_day=PLAN)
    works = open_works(clock, script)
    lane = start_late(works, script, session, large, small, monkeypatch)
    plans = foreseen(session, small, 30, settings, clock.now)
    lane.run(30)
    sent = days_of(session, large)
    works.run(3)
    assert [days_of(session, small)] == [plans[:1]]
    assert sent[0] + plans[0] == PLAN


def test_campaigns_of_several_senders_with_limits_of_their_own_are_sent_as_foreseen(
    of_senders: Any, open_works: Any, clock: Any, session: Any, settings: Any
) -> None:
    broad, narrow = of_senders(70, 40, plan="pro", per_day=20)
    broad.senders.append(narrow.senders[0])
    session.commit()
    plans = [
        foreseen(session, each, number, settings, clock.now) for each, number in ((broad, 70), (narrow, 40))
    ]
    assert plans == [[20, 20, 30], [20, 20]]
    script = Script()
    script.limits = Limits(per_day=20)
    works = open_works(clock, script)
    for minutes in (1445, 1445, 1445):
        works.run(4)
        clock.forward(minutes=minutes)
    assert [days_of(session, each) for each in (broad, narrow)] == plans


def test_a_sender_that_is_done_helps_one_that_cannot_send(
    of_senders: Any, open_works: Any, clock: Any, session: Any
) -> None:
    campaign, other = of_senders(30, 1, plan="pro", per_day=40)
    campaign.senders.append(other.senders[0])
    other.status = CampaignStatus.draft
    session.commit()
    script = Script()
    script.limits = Limits(per_day=40)
    works = open_works(clock, script)
    tick(works.context)
    plan(works.context, campaign.id)
    first = campaign.senders[0].id
    session.commit()
    LaneRunner(works.context, first).run(30)
    assert days_of(session, campaign) == [15]
    clock.forward(seconds=25)
    LaneRunner(works.context, first).run(30)
    assert days_of(session, campaign) == [15]
    clock.forward(seconds=40)  # the other sender has had a minute
    LaneRunner(works.context, first).run(30)
    assert days_of(session, campaign) == [30]


def test_lanes_of_several_senders_at_once_keep_to_the_division(
    of_senders: Any, open_works: Any, clock: Any, session: Any, settings: Any
) -> None:
    numbers = (90, 50, 30)
    campaigns = of_senders(*numbers, plan="pro", per_day=30)
    senders = [campaign.senders[0] for campaign in campaigns]
    for campaign, own in zip(campaigns, ((0, 1), (1,), (1, 2)), strict=True):
        campaign.senders = [senders[n] for n in own]
    session.commit()
    plans = [
        foreseen(session, each, number, settings, clock.now)
        for each, number in zip(campaigns, numbers, strict=True)
    ]
    script = Script()
    script.limits = Limits(per_day=30, max_connections=8)
    works = open_works(clock, script)
    tick(works.context)
    for campaign in campaigns:
        plan(works.context, campaign.id)
    lanes = [(sender.id, number) for sender in senders for number in range(2)]
    session.commit()
    at_once(lanes, open_works, clock, script)
    works.run(2)
    assert [days_of(session, each) for each in campaigns] == [days[:1] for days in plans]
    assert sum(days[0] for days in plans) == 90
    sent = session.execute(select(Usage.sender_id, func.sum(Usage.emails)).group_by(Usage.sender_id))
    assert dict(map(tuple, sent)) == {sender.id: 30 for sender in senders}
    session.commit()
