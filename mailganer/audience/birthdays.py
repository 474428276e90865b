"""Birthdays as people write them."""

import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Final

from ..letters.words import YEARLESS, DayAndMonth

OLDEST: Final = 1900

_EMPTY: Final = frozenset({"", "-", "—", "n/a", "null", "none", "0000-00-00", "00.00.0000"})
_TIME: Final = re.compile(r"[T ]\d\d?:\d\d(:\d\d(\.\d+)?)?Z?$")
_ISO: Final = re.compile(r"(\d{4})[-./](\d\d?)[-./](\d\d?)")
_DAY_FIRST: Final = re.compile(r"(\d\d?)\.(\d\d?)(?:\.(\d{4}|\d\d))?\.?")
_UNCLEAR: Final = re.compile(r"(\d\d?)[/-](\d\d?)(?:[/-](\d{4}|\d\d))?")


__all__ = ["YEARLESS", "BirthdayError", "Order", "birthday_value", "order_of", "parse_birthday"]


def birthday_value(birthday: date | None) -> date | None:
    """Return a birthday as templates and the API see it: a :class:`DayAndMonth` when it has no year."""
    return DayAndMonth.of(birthday) if birthday is not None and birthday.year == YEARLESS else birthday


class Order(StrEnum):
    """Which of two numbers is the day, where only the person knows: 05/06/1990."""

    unknown = "unknown"
    day_first = "day_first"
    month_first = "month_first"


class BirthdayError(ValueError):
    """No date, an ambiguous one, or nobody's birthday. ``code`` is "birthday" or "birthday_unclear"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def parse_birthday(text: str, today: date, order: Order = Order.unknown) -> date | None:
    """1990-05-14, 14.05.1990, 14.05.90, 14.05; 05/14/1990 where it has one meaning or ``order`` says which.

    None for nothing. Without a year the date is in :data:`YEARLESS`. Raises ``BirthdayError``.
    """
    text = _TIME.sub("", text.strip())
    if text.lower() in _EMPTY:
        return None
    if match := _ISO.fullmatch(text):
        return _date(match[1], match[2], match[3], today)
    if match := _DAY_FIRST.fullmatch(text):
        return _date(match[3], match[2], match[1], today)
    if match := _UNCLEAR.fullmatch(text):
        day, month = _day_and_month(match[1], match[2], order)
        return _date(match[3], month, day, today)
    raise BirthdayError("birthday")


def order_of(texts: Iterable[str]) -> Order:
    """The order that a column's own dates give away: a number above twelve is a day."""
    found = {_order(match) for text in texts if (match := _UNCLEAR.fullmatch(_TIME.sub("", text.strip())))}
    found.discard(Order.unknown)
    return found.pop() if len(found) == 1 else Order.unknown


def _order(match: re.Match[str]) -> Order:
    first, second = int(match[1]), int(match[2])
    if first > 12 >= second:
        return Order.day_first
    return Order.month_first if second > 12 >= first else Order.unknown


def _day_and_month(first: str, second: str, order: Order) -> tuple[str, str]:
    if order is Order.unknown:
        if int(first) == int(second):
            return first, second
        order = Order.day_first if int(first) > 12 else Order.month_first if int(second) > 12 else order
    if order is Order.unknown:
        raise BirthdayError("birthday_unclear")
    return (first, second) if order is Order.day_first else (second, first)


def _date(year: str | None, month: str, day: str, today: date) -> date:
    try:
        found = date(_year(year, today), int(month), int(day))
    except ValueError as error:
        raise BirthdayError("birthday") from error
    if found.year != YEARLESS and not date(OLDEST, 1, 1) <= found <= today:
        raise BirthdayError("birthday")
    return found


def _year(year: str | None, today: date) -> int:
    if year is None:
        return YEARLESS
    if len(year) == 4:
        return int(year)
    century = today.year // 100 * 100
    return century + int(year) - (100 if int(year) > today.year % 100 else 0)
