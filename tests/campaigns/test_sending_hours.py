from datetime import UTC, datetime, timedelta

import pytest

from mailganer.campaigns.sending_hours import Hours
from mailganer.errors import InputError


def hours(begins="09:00", ends="18:00", days=(1, 2, 3, 4, 5), timezone="UTC"):
    return Hours.from_json({"days": list(days), "from": begins, "to": ends, "timezone": timezone})


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_emails_leave_from_the_first_minute_and_not_in_the_last():
    context = hours()
    assert [context.is_open(at(f"2026-11-23T{clock}")) for clock in ("08:59", "09:00", "17:59", "18:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_friday_evening_continues_on_monday():
    assert hours().next_open(at("2026-11-27T18:00")) == at("2026-11-30T09:00")


def test_what_is_open_is_open_now():
    moment = at("2026-11-27T12:34:56")
    assert hours().next_open(moment) == moment
    assert hours().closes(moment) == at("2026-11-27T18:00")


def test_hours_over_midnight_belong_to_the_day_they_begin_on():
    night = hours("22:00", "02:00", days=(5,))
    assert night.is_open(at("2026-11-28T01:59"))
    assert not night.is_open(at("2026-11-27T01:59"))
    assert night.closes(at("2026-11-27T23:00")) == at("2026-11-28T02:00")


def test_days_without_a_gap_close_at_the_end_of_the_last():
    weekend = hours("00:00", "00:00", days=(6, 7))
    assert weekend.closes(at("2026-11-28T10:00")) == at("2026-11-30T00:00")
    assert hours("07:00", "07:00", days=range(1, 8)).closes(at("2026-11-28T10:00")) is None


def test_nine_in_the_morning_stays_nine_when_the_clocks_change():
    berlin = hours(days=range(1, 8), timezone="Europe/Berlin")
    assert berlin.next_open(at("2026-03-28T20:00")) == at("2026-03-29T07:00")
    assert berlin.next_open(at("2026-03-27T20:00")) == at("2026-03-28T08:00")


def test_an_hour_that_the_clocks_jump_over_is_left_out():
    jumped = hours("02:00", "03:00", days=range(1, 8), timezone="Europe/Berlin")
    assert jumped.next_open(at("2026-03-28T12:00")) == at("2026-03-30T00:00")


def test_an_hour_that_comes_twice_lasts_two():
    twice = hours("02:00", "03:00", days=range(1, 8), timezone="Europe/Berlin")
    moment = at("2026-10-25T00:00")
    assert twice.closes(moment) - moment == timedelta(hours=2)


def test_what_is_kept_is_what_was_said():
    said = {"days": [1, 6], "from": "09:30", "to": "01:00", "timezone": "Asia/Vladivostok"}
    assert Hours.from_json(said).as_json() == said


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": []},
        {"days": [0, 8]},
        {"from": "9:00"},
        {"to": "24:00"},
        {"timezone": "Mars/Base"},
    ],
)
def test_half_an_answer_is_asked_again(wrong):
    said = {"days": [1], "from": "09:00", "to": "18:00", "timezone": "UTC", **wrong}
    with pytest.raises(InputError):
        Hours.from_json(said)
