from datetime import UTC, date, datetime, time, timedelta

from mailganer.campaigns.forecast import Wait
from mailganer.campaigns.sending_hours import Hours
from mailganer.campaigns.simulation import simulate
from mailganer.campaigns.simulation_model import SimulatedLane
from mailganer.quota.rolling_counter import WINDOW, RollingCounter

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60


def lane(limit=None, used=(), per_minute=600, **values):
    return SimulatedLane("Anna", RollingCounter.of(limit, used), per_minute, **values)


def no_plan():
    return RollingCounter.of(None, ())


def test_without_limits_the_pace_says_when_it_is_done():
    forecast = simulate(1_500, NOW, [lane(per_minute=600)], no_plan(), "UTC")
    assert forecast.finishes_at == NOW + timedelta(minutes=2, seconds=30)
    assert [(day.date, day.emails) for day in forecast.days] == [(date(2026, 11, 23), 1_500)]
    assert forecast.pauses == ()


def test_a_quota_of_500_takes_three_days_for_1200_recipients():
    forecast = simulate(1_200, NOW, [lane(500)], no_plan(), "UTC")
    assert [day.emails for day in forecast.days] == [500, 500, 200]
    assert [day.date.day for day in forecast.days] == [23, 24, 25]
    assert forecast.pauses[0].wait is Wait.sender
    assert forecast.pauses[0].limit == 500


def test_no_24_hours_ever_hold_more_than_the_limit():
    counter = RollingCounter.of(500, [(MINUTE - 100, 130), (MINUTE - 1, 70)])
    simulate(2_000, NOW, [SimulatedLane("Anna", counter, 60)], no_plan(), "UTC")
    rows = list(counter.used)
    for start, _emails in rows:
        assert sum(emails for minute, emails in rows if start <= minute <= start + WINDOW) <= 500


def test_what_left_earlier_today_is_counted():
    forecast = simulate(100, NOW, [lane(500, [(MINUTE - 60, 450)])], no_plan(), "UTC")
    assert forecast.days[0].emails == 50
    assert forecast.pauses[0].until == NOW - timedelta(hours=1) + timedelta(minutes=WINDOW + 1)


def test_the_plan_holds_all_senders_together():
    forecast = simulate(300, NOW, [lane(500), lane(500)], RollingCounter.of(200, ()), "UTC")
    assert [day.emails for day in forecast.days] == [200, 100]
    assert forecast.pauses[0].wait is Wait.plan


def test_two_senders_share_the_work():
    forecast = simulate(1_200, NOW, [lane(per_minute=600), lane(per_minute=600)], no_plan(), "UTC")
    assert forecast.finishes_at == NOW + timedelta(minutes=1)


def test_two_senders_share_the_last_emails_by_their_pace():
    lanes = [
        SimulatedLane("anna", RollingCounter.of(None, ()), 600),
        SimulatedLane("boris", RollingCounter.of(None, ()), 300),
    ]
    day = simulate(30, NOW, lanes, no_plan(), "UTC").days[0]
    assert [(share.sender, share.emails) for share in day.shares] == [("anna", 20), ("boris", 10)]
    assert day.emails == 30


def test_started_in_the_middle_of_a_minute_only_its_rest_is_left():
    forecast = simulate(60, NOW + timedelta(seconds=30), [lane(per_minute=60)], no_plan(), "UTC")
    assert forecast.finishes_at == NOW + timedelta(seconds=90)


def test_a_sleeping_sender_starts_when_it_wakes():
    forecast = simulate(10, NOW, [lane(awake_from=MINUTE + 30)], no_plan(), "UTC")
    assert forecast.days[0].starts_at == NOW + timedelta(minutes=30)
    assert forecast.pauses[0].wait is Wait.asleep


def test_a_sender_that_rests_because_of_its_quota_waits_for_the_quota():
    used = [(MINUTE - 60, 50)]
    forecast = simulate(10, NOW, [lane(50, used, awake_from=MINUTE - 60 + WINDOW + 1)], no_plan(), "UTC")
    assert (forecast.pauses[0].wait, forecast.pauses[0].limit) == (Wait.sender, 50)


def test_days_are_those_of_the_accounts_zone():
    late = datetime(2026, 11, 23, 20, 58, tzinfo=UTC)
    forecast = simulate(40, late, [lane(per_minute=10)], no_plan(), "Europe/Moscow")
    assert [(day.date.day, day.emails) for day in forecast.days] == [(23, 20), (24, 20)]


def test_a_limit_of_nothing_never_ends():
    forecast = simulate(10, NOW, [lane(0)], no_plan(), "UTC")
    assert forecast.finishes_at is None
    assert forecast.unsent == 10


def test_a_million_emails_at_500_a_day_is_said_quickly_to_be_more_than_a_year():
    forecast = simulate(1_000_000, NOW, [lane(500)], no_plan(), "UTC")
    assert forecast.finishes_at is None
    assert len(forecast.days) >= 365


def test_no_one_to_write_to_is_done_at_once():
    assert simulate(0, NOW, [lane()], no_plan(), "UTC").finishes_at == NOW


def context(begins="09:00", ends="18:00"):
    return Hours(frozenset({1, 2, 3, 4, 5}), time.fromisoformat(begins), time.fromisoformat(ends), "UTC")


def test_before_the_sending_hours_everyone_waits_for_them():
    forecast = simulate(10, NOW, [lane()], no_plan(), "UTC", context("10:00"))
    assert forecast.days[0].starts_at == NOW + timedelta(hours=1)
    assert (forecast.pauses[0].wait, forecast.pauses[0].until) == (Wait.hours, NOW + timedelta(hours=1))


def test_when_the_sending_hours_end_the_rest_waits_for_the_next():
    friday = datetime(2026, 11, 27, 17, 50, tzinfo=UTC)
    forecast = simulate(150, friday, [lane(per_minute=10)], no_plan(), "UTC", context())
    assert [(day.date.day, day.emails) for day in forecast.days] == [(27, 100), (30, 50)]
    assert forecast.days[0].finishes_at == friday + timedelta(minutes=10)
    assert forecast.finishes_at == datetime(2026, 11, 30, 9, 5, tzinfo=UTC)


def test_a_quota_that_is_free_at_night_waits_for_the_morning():
    evening = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    used = [(MINUTE - 13 * 60, 500)]
    forecast = simulate(10, evening, [lane(500, used)], no_plan(), "UTC", context("10:00"))
    assert forecast.pauses[-1].until == datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def test_a_slowed_sender_is_foreseen_slow_at_first_and_then_as_it_was():
    slowed = SimulatedLane("Anna", RollingCounter.of(None, ()), 30, grows_to=60)
    assert slowed.per_minute == 30
    forecast = simulate(600, NOW, [slowed], no_plan(), "UTC")
    # 30, 32, 34 ... 60 a minute: the old pace is recovered in a quarter of an hour.
    assert slowed.per_minute == 58
    assert NOW + timedelta(minutes=13) < forecast.finishes_at < NOW + timedelta(minutes=15)


def test_emails_of_another_campaign_take_turns_with_these():
    forecast = simulate(100, NOW, [lane(per_minute=10)], no_plan(), "UTC", beside=100)
    assert forecast.finishes_at == NOW + timedelta(minutes=20)
    assert sum(day.emails for day in forecast.days) == 100


def test_emails_of_another_campaign_use_the_day_up_too():
    forecast = simulate(400, NOW, [lane(500)], no_plan(), "UTC", beside=400)
    assert [day.emails for day in forecast.days] == [250, 150]
    assert forecast.pauses[0].wait is Wait.sender
