"""Campaigns of several senders share the plan's limit: by the database alone, at whatever pace they send."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import event

from mailganer.accounts import network_of
from mailganer.backends import Limits, load_backends
from mailganer.campaigns.actuals import actual_days
from mailganer.campaigns.campaign_forecast import forecast
from mailganer.models import Campaign, Sender
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script

PLAN = 40  # emails in 24 hours


@pytest.fixture
def of_senders(due: Any, make: Any) -> Callable[..., list[Campaign]]:
    """Campaigns of one account with so many recipients each, each through a sender of its own."""

    def make_them(*recipients: int, starts: tuple[int, ...] = ()) -> list[Campaign]:
        account = make.account(plan="free")
        found = []
        for number, each in enumerate(recipients):
            send_at = make.now + timedelta(minutes=starts[number] if starts else 0)
            lst = make.list(account)
            for person in range(each):
                make.subscriber(account, f"c{number}r{person:06}@example.org", (lst,))
            campaign = due(0, account=account, send_at=send_at)
            campaign.senders[0].from_email = f"sender{number}@example.com"
            campaign.lists.append(lst)
            found.append(campaign)
        make.commit()
        return found

    return make_them


@pytest.fixture
def ini_values(ini_values: dict[str, str]) -> dict[str, str]:
    return {**ini_values, "mailganer.plan.free.per_day": str(PLAN)}


def days_of(session: Any, campaign: Campaign) -> list[int]:
    found = [day.emails for day in actual_days(session, campaign)]
    session.commit()
    return found


def test_a_small_campaign_of_another_sender_has_half_of_every_day_of_the_plan(
    of_senders: Any, open_works: Any, clock: Any, session: Any, settings: Any
) -> None:
    large, small = of_senders(150, 30, starts=(0, 1))
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    known = {"settings": settings, "registry": registry, "now": clock.now}
    plans = [
        [day.emails for day in forecast(session, each, number, send_at=each.send_at, **known).days]
        for each, number in ((large, 150), (small, 30))
    ]
    session.commit()
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
    barrier = Barrier(4)

    def one(sender_id: int, number: int, context: Any) -> None:
        barrier.wait()
        LaneRunner(context, sender_id, number).run(30)

    lanes = [(campaign.senders[0].id, number) for campaign in campaigns for number in range(2)]
    session.commit()
    threads = [Thread(target=one, args=(*lane, open_works(clock, script).context)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.forward(minutes=1)
    works.run(2)
    assert [days_of(session, campaign) for campaign in campaigns] == [[20], [20]]


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
    session.get_one(Sender, second).deleted_at = clock.now  # so that nobody else can use the plan
    session.commit()
    clock.forward(minutes=1)
    LaneRunner(works.context, first).run(30)
    assert days_of(session, large) == [40]


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
