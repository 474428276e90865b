"""Common notations of birthdays."""

from datetime import date

import pytest

from mailganer.audience.birthdays import YEARLESS, BirthdayError, DateOrder, order_of, parse_birthday

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("1990-05-14", date(1990, 5, 14)),
        ("1990.5.4", date(1990, 5, 4)),
        ("14.05.1990", date(1990, 5, 14)),
        ("4.5.1990", date(1990, 5, 4)),
        ("14.05.90", date(1990, 5, 14)),
        ("14.05.25", date(2025, 5, 14)),
        ("05/14/1990", date(1990, 5, 14)),
        ("14/05/1990", date(1990, 5, 14)),
        ("05/05/1990", date(1990, 5, 5)),
        ("1990-05-14 00:00:00", date(1990, 5, 14)),
        ("1990-05-14T00:00:00Z", date(1990, 5, 14)),
        ("14.05", date(YEARLESS, 5, 14)),
        ("29.02.", date(YEARLESS, 2, 29)),
        ("29.02.2000", date(2000, 2, 29)),
        ("0000-5-14", date(YEARLESS, 5, 14)),
        ("0000/02/29", date(YEARLESS, 2, 29)),
        ("--5-14", date(YEARLESS, 5, 14)),
        ("--05-14Z", date(YEARLESS, 5, 14)),
        ("????-05-14", date(YEARLESS, 5, 14)),
        ("XXXX-02-29", date(YEARLESS, 2, 29)),
        ("14.05.0000", date(YEARLESS, 5, 14)),
        ("05/14/0000", date(YEARLESS, 5, 14)),
        ("29 фев", date(YEARLESS, 2, 29)),
        ("14 сен. 1990", date(1990, 9, 14)),
        ("1 нояб", date(YEARLESS, 11, 1)),
        ("«14» мая 1990 г.", date(1990, 5, 14)),
        ("14. 5. 1990", date(1990, 5, 14)),
        ("14 / 05 / 1990", date(1990, 5, 14)),
        ("Monday, May 14, 1990", date(1990, 5, 14)),
        ("пн, 14 мая 1990", date(1990, 5, 14)),
        ("1990-05-14+03:00", date(1990, 5, 14)),
        ("5月14日", date(YEARLESS, 5, 14)),
        ("1990年5月14日", date(1990, 5, 14)),
        ("", None),
        (" - ", None),
        ("0000-00-00", None),
    ],
)
def test_a_birthday_is_understood(text, day):
    assert parse_birthday(text, TODAY) == day


@pytest.mark.parametrize(
    "text",
    [
        "31.02.1990",
        "29.02.1999",
        "2030-01-01",
        "1890-01-01",
        "May",
        "14",
        "14.05.199",
        "--02-30",
        "0001-05-14",
        "/  /",
        " / / ",
        ". .",
    ],
)
def test_no_birthday_is_refused(text):
    with pytest.raises(BirthdayError) as refused:
        parse_birthday(text, TODAY)
    assert refused.value.code == "birthday"


def test_a_date_with_two_readings_needs_a_decision():
    with pytest.raises(BirthdayError) as refused:
        parse_birthday("05/06/1990", TODAY)
    assert refused.value.code == "birthday_unclear"
    assert parse_birthday("05/06/1990", TODAY, DateOrder.day_first) == date(1990, 6, 5)
    assert parse_birthday("05/06/1990", TODAY, DateOrder.month_first) == date(1990, 5, 6)


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["05/06/1990", "05/14/1990"], DateOrder.month_first),
        (["05/06/1990", "14/05/1990"], DateOrder.day_first),
        (["05/06/1990"], DateOrder.unknown),
        (["05/14/1990", "14/05/1990"], DateOrder.unknown),
        (["14.05.1990", ""], DateOrder.unknown),
    ],
)
def test_a_column_gives_its_order_away(texts, order):
    assert order_of(texts) is order
