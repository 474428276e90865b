"""Limits in any 24 hours, and pace: shared by all lanes, never exceeded by one email."""

from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import func, select

from mailganer.backends import Limits, Message, Outcome, Receipt
from mailganer.models import CampaignStatus, SenderStatus, Usage
from mailganer.quota.plan_and_sender_usage import account_usage, sender_usage
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script, accept, receipt


def all_at_once(open_works: Callable[..., Any], clock: Any, script: Script, sender_ids: list[int]) -> None:
    """Eight lanes, each with an office of its own, as eight processes would have."""
    barrier = Barrier(8)

    def one(number: int, context: Any) -> None:
        barrier.wait()
        LaneRunner(context, sender_ids[number % len(sender_ids)], number).run(30)

    threads = [Thread(target=one, args=(n, open_works(clock, script).context)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_eight_lanes_together_never_send_one_more_than_the_sender_may(
    due: Any, open_works: Any, clock: Any, script: Script, sessions: Any
) -> None:
    script.limits = Limits(per_day=50, max_connections=8)
    campaign = due(400)
    works = open_works(clock, script)
    tick(works.context)
    plan(works.context, campaign.id)
    all_at_once(open_works, clock, script, [campaign.senders[0].id])
    assert sum(script.got.values()) == 50
    assert set(script.got.values()) == {1}
    with sessions() as session:
        assert sender_usage(session, campaign.senders[0].id, clock.now) == 50


def test_two_senders_together_never_send_one_more_than_the_plan_allows(
    due: Any, make: Any, open_works: Any, clock: Any, script: Script, sessions: Any, smtp_server: Any
) -> None:
    script.limits = Limits(max_connections=8)
    account = make.account(plan="free")  # 200 a day
    campaign = due(500, account=account)
    other = make.sender(account, smtp_server, from_email="boris@example.com")
    campaign.senders.append(other)
    make.commit()
    works = open_works(clock, script)
    tick(works.context)
    plan(works.context, campaign.id)
    all_at_once(open_works, clock, script, [each.id for each in campaign.senders])
    assert sum(script.got.values()) == 200
    with sessions() as session:
        assert account_usage(session, account.id, clock.now) == 200


@pytest.mark.slow
def test_twelve_hundred_at_five_hundred_a_day_take_three_days_and_fail_no_recipient(
    due: Any, open_works: Any, clock: Any, script: Script, statuses: Any, reload: Any
) -> None:
    moments = []

    def answer(message: Message) -> Receipt:
        moments.append(clock.now)
        return accept(message)

    script.answer = answer
    script.limits = Limits(per_day=500)
    campaign = due(1200)
    works = open_works(clock, script)
    begun = clock.now
    for _each in range(60):
        works.run(2)
        if reload(campaign).status is CampaignStatus.finished:
            break
        clock.forward(hours=1)
    assert statuses(campaign.id) == {"sent": 1200}
    assert (reload(campaign).finished_at - begun).days == 2
    for moment in set(moments):
        assert sum(moment <= other < moment + timedelta(hours=24) for other in moments) <= 500


def test_a_sender_that_used_its_day_sleeps_until_its_first_email_is_a_day_old(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    script.limits = Limits(per_day=5)
    campaign = due(10)
    open_works(clock, script).run(4)
    sender = reload(campaign.senders[0])
    assert sender.status is SenderStatus.sleeping
    assert sender.sleeps_until == clock.now + timedelta(hours=24, minutes=1)


def test_a_bigger_plan_lets_a_waiting_campaign_continue_at_once(
    due: Any, make: Any, open_works: Any, clock: Any, script: Script, statuses: Any, session: Any
) -> None:
    account = make.account(plan="free")
    campaign = due(210, account=account)
    works = open_works(clock, script)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 200, "pending": 10}
    account.plan = "pro"
    session.commit()
    works.run(3)
    assert statuses(campaign.id) == {"sent": 210}


def test_what_a_server_put_off_is_given_back(
    due: Any, open_works: Any, clock: Any, script: Script, sessions: Any
) -> None:
    script.limits = Limits(per_day=100)
    full = receipt(Outcome.deferred, "452 4.2.2 full")
    script.answer = lambda message: accept(message) if message.recipient < "reader000004" else full(message)
    due(10)
    open_works(clock, script).run(4)
    with sessions() as session:
        assert session.scalar(select(func.sum(Usage.emails))) == 3


def test_a_pace_of_ten_a_second_is_kept(due: Any, open_works: Any, script: Script) -> None:
    moments: list[float] = []

    def answer(message: Message) -> Receipt:
        moments.append(monotonic())
        return accept(message)

    script.answer = answer
    script.limits = Limits(per_second=10)
    due(25)
    open_works(script=script).run(4)
    assert len(moments) == 25
    assert max(sum(start <= each < start + 1 for each in moments) for start in moments) <= 11
