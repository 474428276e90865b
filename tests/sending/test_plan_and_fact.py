"""With a simulated clock plan and run are equal: the forecast is right to the minute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from mailganer.accounts import network_of
from mailganer.backends import Message, Receipt, load_backends
from mailganer.campaigns import check, schedule
from mailganer.campaigns.actuals import actual_days, compared, planned
from mailganer.campaigns.forecast import Day, Forecast
from mailganer.models import Campaign, CampaignStatus, Sender, SentPerMinute
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker import window_planner
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script, accept

pytestmark = pytest.mark.slow

SECOND = timedelta(seconds=1)
SENT_A_DAY = timedelta(hours=24)


@dataclass
class Run:
    """A campaign sent by a clock that advances with the emails, and jumps while all are waiting.

    ``together``: every sender has one email in each ``step``; else the only sender's emails take one each.
    """

    clock: Any
    works: Any
    together: bool = False
    step: timedelta = SECOND
    left: list[tuple[str, datetime]] = field(default_factory=list)

    def answer(self, message: Message) -> Receipt:
        self.left.append((message.sender, self.clock.now))
        if not self.together:
            self.clock.now += self.step
        return accept(message)

    def until_finished(self, campaign: Campaign) -> None:
        context = self.works.context
        while True:
            emails = len(self.left)
            for call in tick(context):
                if call.task == "plan":
                    plan(context, *call.ids)
                elif call.task == "run_lane":
                    yields = _after_one_email() if self.together else lambda: False
                    LaneRunner(context, *call.ids, yields=yields).run(30)
            with context.sessions() as session:
                row = session.get_one(Campaign, campaign.id)
                if row.status is CampaignStatus.finished:
                    return
                rests = [row.resting_until, *(sender.sleeps_until for sender in row.senders)]
            wakes = [moment for moment in rests if moment and moment > self.clock.now]
            if len(self.left) > emails:
                self.clock.now += self.step * self.together
            elif wakes:
                self.clock.now = min(wakes)

    def days(self) -> list[tuple[Any, str, int, datetime, datetime]]:
        found: dict[tuple[Any, str], list[datetime]] = {}
        for sender, moment in self.left:
            found.setdefault((moment.date(), sender), []).append(moment)
        return sorted(
            (*key, len(each), to_the_minute(each[0]), to_the_minute(each[-1])) for key, each in found.items()
        )


def _after_one_email() -> Callable[[], bool]:
    asked = iter([False])
    return lambda: next(asked, True)


def to_the_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def told(days: Sequence[Day], last: timedelta) -> list[tuple[Any, str, int, datetime, datetime]]:
    """Days as a run records them; ``last`` is the time from the end of a day to its last email."""
    return sorted(
        (
            day.date,
            share.sender,
            share.emails,
            to_the_minute(share.starts_at),
            to_the_minute(share.finishes_at - last),
        )
        for day in days
        for share in day.shares
    )


@pytest.fixture
def run(clock: Any, open_works: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(window_planner, "SLOTS", 1)  # a slow mailbox: a window an email
    script = Script()
    found = Run(clock, open_works(clock, script))
    script.answer = found.answer
    return found


@pytest.fixture
def ready(due: Any, make: Any, session: Any, settings: Any) -> Callable[..., tuple[Campaign, Forecast]]:
    """A campaign that has been started now, and what was foreseen for it."""

    def start(
        subscribers: int, quotas: Sequence[int], a_second: float = 1.0, **values: Any
    ) -> tuple[Campaign, Forecast]:
        campaign = due(subscribers, status=CampaignStatus.draft, **values)
        host = campaign.senders[0].settings
        for number, quota in enumerate(quotas):
            sender: Sender = campaign.senders[0] if number == 0 else make.sender(campaign.account)
            sender.from_email, sender.settings = f"sender{number}@example.com", host
            sender.per_day, sender.per_second, sender.max_connections = quota, a_second, 1
            if number:
                campaign.senders.append(sender)
        make.commit()
        registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
        known = {"settings": settings, "registry": registry}
        forecast = check(session, campaign, now=make.now, **known).forecast
        schedule(session, campaign, None, make.now, **known)
        session.commit()
        return campaign, forecast

    return start


def agrees(run: Run, campaign: Campaign, forecast: Forecast, session: Any) -> None:
    run.until_finished(campaign)
    assert told(forecast.days, run.step) == run.days()
    assert forecast.finishes_at is not None
    assert abs(forecast.finishes_at - run.left[-1][1]) <= timedelta(minutes=1)
    session.refresh(campaign)
    assert to_the_minute(campaign.finished_at) == to_the_minute(run.left[-1][1])
    assert told(actual_days(session, campaign), timedelta(0)) == run.days()
    assert told(planned(campaign), run.step) == run.days()
    session.commit()


def test_a_forecast_for_twelve_hundred_at_five_hundred_a_day_is_exact_to_the_minute(
    run: Run, ready: Any, session: Any, statuses: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_planner, "SLOTS", 8)
    begun, run.step = clock.now, SECOND / 2
    campaign, forecast = ready(1200, [500], a_second=2.0)
    agrees(run, campaign, forecast, session)
    assert statuses(campaign.id) == {"sent": 1200}
    assert (campaign.finished_at - begun).days == 2
    moments = [moment for _sender, moment in run.left]
    assert all(later - moment > SENT_A_DAY for moment, later in zip(moments, moments[500:], strict=False))


def test_with_sending_hours_plan_and_run_are_equal(run: Run, ready: Any, session: Any) -> None:
    hours = {"days": [1, 2, 4], "from": "09:01", "to": "09:03", "timezone": "UTC"}
    run.together, run.step = True, 6 * SECOND
    campaign, forecast = ready(52, [25], a_second=1 / 6, hours=hours)
    agrees(run, campaign, forecast, session)
    assert [day.emails for day in forecast.days] == [20, 15, 17]
    assert [day.date.day for day in forecast.days] == [23, 24, 26]


def test_with_two_senders_plan_and_run_are_equal(run: Run, ready: Any, session: Any) -> None:
    run.together = True
    campaign, forecast = ready(45, [20, 10])
    agrees(run, campaign, forecast, session)
    assert [day.emails for day in forecast.days] == [30, 15]


def test_started_in_the_middle_of_a_minute_it_is_right_too(
    run: Run, make: Any, clock: Any, ready: Any, session: Any
) -> None:
    clock.forward(seconds=35)
    make.now = clock.now
    campaign, forecast = ready(130, [60])
    agrees(run, campaign, forecast, session)


def test_a_day_that_went_otherwise_stands_beside_its_plan(ready: Any, session: Any, make: Any) -> None:
    campaign, _forecast = ready(3, [2])
    sender, first = campaign.senders[0], int(make.now.timestamp()) // 60
    session.add(SentPerMinute(campaign_id=campaign.id, sender_id=sender.id, minute=first, emails=1))
    session.commit()
    lines = compared(planned(campaign), actual_days(session, campaign))
    assert [line.planned.emails for line in lines] == [2, 1]
    assert [line.fact.emails if line.fact else None for line in lines] == [1, None]
