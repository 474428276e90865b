"""Hours and times in zones in which clocks skip or repeat an hour, shift by half an hour, or skip a day."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from mailganer.campaigns.sending_hours import Hours
from mailganer.campaigns.simulation import simulate
from mailganer.campaigns.simulation_model import SimulatedLane
from mailganer.errors import InputError
from mailganer.quota.rolling_counter import RollingCounter
from mailganer.views.schedule_step import local_datetime

MINUTE = timedelta(minutes=1)

# A zone, and days on which its clock changes.
CLOCKS = {
    "Europe/Berlin": (date(2027, 3, 28), date(2027, 10, 31)),
    "America/New_York": (date(2027, 3, 14), date(2027, 11, 7)),
    "America/Sao_Paulo": (date(2018, 11, 4), date(2018, 2, 18)),  # at midnight
    "Australia/Lord_Howe": (date(2027, 4, 4), date(2027, 10, 3)),  # by half an hour
    "Africa/Cairo": (date(2027, 4, 30), date(2027, 10, 29)),
    "Asia/Kathmandu": (date(2027, 1, 1), date(2028, 2, 29)),  # +05:45
    "Pacific/Apia": (date(2011, 12, 30), date(2011, 9, 24)),  # a Friday that was skipped
    "Europe/Moscow": (date(2014, 10, 26), date(2028, 2, 29)),
    "UTC": (date(2028, 2, 29), date(2027, 12, 31)),
}
SPANS = (("09:00", "18:00"), ("22:00", "02:30"), ("02:15", "02:45"), ("00:00", "00:00"), ("23:30", "00:30"))


def hours(begins: str, ends: str, zone: str, days: range | tuple[int, ...] = range(1, 8)) -> Hours:
    return Hours.from_json({"days": list(days), "from": begins, "to": ends, "timezone": zone})


@pytest.mark.parametrize(("begins", "ends"), SPANS)
@pytest.mark.parametrize("zone", CLOCKS)
def test_hours_that_open_are_open_until_they_close_whatever_the_clock_does(
    zone: str, begins: str, ends: str
) -> None:
    for day in CLOCKS[zone]:
        for days in (range(1, 8), (day.isoweekday(),)):
            span = hours(begins, ends, zone, days)
            moment = datetime.combine(day, time(), UTC) - timedelta(days=1, hours=12)
            for _step in range(100):
                moment += timedelta(minutes=37)
                opens = span.next_open(moment)
                assert opens >= moment
                assert span.is_open(opens)
                assert span.is_open(moment) == (opens == moment)
                assert opens == moment or not span.is_open(opens - timedelta(seconds=1))
                closes = span.closes(opens)
                if closes is not None:
                    assert closes > opens
                    assert span.is_open(closes - timedelta(seconds=1))
                    assert not span.is_open(closes)


@pytest.mark.parametrize("zone", CLOCKS)
def test_the_clock_on_the_wall_says_when_hours_begin(zone: str) -> None:
    span, wall = hours("09:00", "18:00", zone), ZoneInfo(zone)
    for day in CLOCKS[zone]:
        moment = datetime.combine(day, time(3), UTC) - timedelta(days=2)
        for _day in range(4):
            opens = span.next_open(moment)
            closes = span.closes(opens)
            assert closes is not None
            assert closes.astimezone(wall).time() == time(18)
            if opens != moment:
                assert opens.astimezone(wall).time() == time(9)
            moment = closes


def test_the_leap_day_has_hours_of_its_own() -> None:
    tuesdays = hours("09:00", "18:00", "Europe/Moscow", (2,))
    eve = datetime(2028, 2, 28, 20, tzinfo=UTC)
    assert tuesdays.next_open(eve) == datetime(2028, 2, 29, 6, tzinfo=UTC)
    assert tuesdays.next_open(datetime(2028, 2, 29, 16, tzinfo=UTC)) == datetime(2028, 3, 7, 6, tzinfo=UTC)


def test_a_forecast_over_the_leap_day_has_that_day() -> None:
    begins = datetime(2028, 2, 28, 9, tzinfo=UTC)
    found = simulate(
        30, begins, [SimulatedLane("anna", RollingCounter.of(10, ()), 60)], RollingCounter.of(None, ()), "UTC"
    )
    assert [day.date for day in found.days] == [date(2028, 2, 28), date(2028, 2, 29), date(2028, 3, 1)]


@pytest.mark.parametrize(
    ("zone", "wall"),
    [
        ("Europe/Berlin", "2027-03-28T02:30"),
        ("America/New_York", "2027-03-14T02:00"),
        ("Australia/Lord_Howe", "2027-10-03T02:15"),
        ("Pacific/Apia", "2011-12-30T12:00"),
    ],
)
def test_a_time_the_clock_jumps_over_is_asked_again(zone: str, wall: str) -> None:
    with pytest.raises(InputError):
        local_datetime(datetime.fromisoformat(wall), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("zone", "wall", "moment"),
    [
        # A repeated time means the first one; times next to a skipped hour are unchanged.
        ("Europe/Berlin", "2027-10-31T02:30", "2027-10-31T00:30"),
        ("America/New_York", "2027-11-07T01:30", "2027-11-07T05:30"),
        ("Europe/Berlin", "2027-03-28T01:59", "2027-03-28T00:59"),
        ("Europe/Berlin", "2027-03-28T03:00", "2027-03-28T01:00"),
        ("Asia/Kathmandu", "2028-02-29T10:00", "2028-02-29T04:15"),
        ("Europe/Moscow", "2028-02-29T00:00", "2028-02-28T21:00"),
    ],
)
def test_any_other_time_is_that_of_the_local_clock(zone: str, wall: str, moment: str) -> None:
    found = local_datetime(datetime.fromisoformat(wall), ZoneInfo(zone)).astimezone(UTC)
    assert found == datetime.fromisoformat(moment).replace(tzinfo=UTC)
