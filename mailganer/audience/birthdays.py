"""Parser of birthdays in many formats."""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from babel import Locale

from ..rendering.localized_values import YEARLESS, DayAndMonth

OLDEST: Final = 1900

_EMPTY: Final = frozenset({"", "n/a", "null", "none", "nan", "nat", "nil", "#n/a"})
_NOTHING: Final = re.compile(r"[\s0./\\:T—–-]*")  # 0/0/00, 0000-00-00: a field that was left empty
_UNFILLED: Final = re.compile(r" ?[./\\] ?[./\\] ?")  # "/  /": the signs of a date without its numbers
_TIME: Final = re.compile(
    r"(?:T|,? +)\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?: *[AaPp]\.?[Mm]\.?)?"
    r" *(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?$"
)
_SIMPLE: Final = re.compile(r"[1-9]\d*[./-]\d+[./-]\d+")  # the most frequent formats, which need no cleanup
_ISO: Final = re.compile(r"(\d{4})[-./](\d\d?)[-./](\d\d?)")
_COMPACT: Final = re.compile(r"((?:1[6-9]|20)\d\d)([01]\d)([0-3]\d)")
_ISO_YEARLESS: Final = re.compile(
    r"(?:--|(?:0000|[?*Xx]{2,4})[-./])(?:(?P<month>\d\d?)[-./](?P<day>\d\d?)|(?P<both>\d{4}))"
)
_CHINESE: Final = re.compile(r"(?:(\d{4}) ?年 ?)?(\d\d?) ?月 ?(\d\d?) ?日")
_ZONE: Final = re.compile(r"(?<=\d\d-\d\d)(?:Z|[+-]\d\d:\d\d)$")  # of a date in XML
_AROUND_POINT: Final = re.compile(r" ?([./]) ?(?=\d)")
_QUOTES: Final = str.maketrans("", "", '«»“”„"')
_SERIAL: Final = re.compile(r"(\d{5})(?:[.,]\d+)?")  # days since 1899-12-30, as in spreadsheets
_DAY_FIRST: Final = re.compile(r"(\d\d?)\.(\d\d?)(?:\.(\d{4}|\d\d))?\.?(?: *г(?:ода?|\.)?)?")
_UNCLEAR: Final = re.compile(r"(\d\d?)[/-](\d\d?)(?:[/-](\d{4}|\d\d))?")
_DAY_WORD: Final = re.compile(
    r"(\d\d?)(?:st|nd|rd|th|-го|-е)?[\s.,/-]+(?:de |of )?([^\W\d_]+)\.?"
    r"(?:[\s.,/-]+(?:de )?(\d{4}|'?\d\d))?(?: *г(?:ода?|\.)?)?"
)
_WORD_DAY: Final = re.compile(r"([^\W\d_]+)\.?[\s-]+(\d\d?)(?:st|nd|rd|th)?(?:[\s,.-]+(\d{4}|'?\d\d))?")
_SERIAL_BEGIN: Final = date(1899, 12, 30)

_MONTH_LOCALES: Final = ("en", "ru", "uk", "de", "fr", "es", "it", "pt", "pl", "nl")

__all__ = [
    "YEARLESS",
    "BirthdayError",
    "DateOrder",
    "birthday_value",
    "join_birthday",
    "month_number",
    "order_of",
    "parse_birthday",
]


def birthday_value(birthday: date | None) -> date | None:
    """Return a birthday as templates and the API see it: a :class:`DayAndMonth` when the year is unknown."""
    return DayAndMonth.of(birthday) if birthday is not None and birthday.year == YEARLESS else birthday


class DateOrder(StrEnum):
    """Order of day and month in an ambiguous date such as 05/06/1990."""

    unknown = "unknown"
    day_first = "day_first"
    month_first = "month_first"


class BirthdayError(ValueError):
    """Invalid, ambiguous or impossible birthday. ``code`` is "birthday" or "birthday_unclear"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def parse_birthday(text: str, today: date, order: DateOrder = DateOrder.unknown) -> date | None:
    """Parse a birthday as users and programs write it: 1990-05-14, 14.05.1990, 14 May 1990, 14.05.

    05/14/1990 is accepted if it is unambiguous or ``order`` is known. A time of day is dropped, a number such
    as 33007 is a spreadsheet date. Return None for an empty value. Without a year, the date is in
    :data:`YEARLESS`. Raise ``BirthdayError``.
    """
    if not text:
        return None
    if not _SIMPLE.fullmatch(text):
        text = _bare(text)
        if _UNFILLED.fullmatch(text):
            raise BirthdayError("birthday")
        if _NOTHING.fullmatch(text) or text.lower() in _EMPTY:
            return None
    if match := _DAY_FIRST.fullmatch(text):
        return _date(match[3], match[2], match[1], today)
    if match := _ISO_YEARLESS.fullmatch(text):
        both = match["both"]
        return _date(None, match["month"] or both[:2], match["day"] or both[2:], today)
    if match := _CHINESE.fullmatch(text):
        return _date(match[1], match[2], match[3], today)
    if match := _ISO.fullmatch(text) or _COMPACT.fullmatch(text):
        return _date(match[1], match[2], match[3], today)
    if match := _UNCLEAR.fullmatch(text):
        day, month = _day_and_month(match[1], match[2], order)
        return _date(match[3], month, day, today)
    return _in_words(text, today) or _serial(text, today)


def join_birthday(year: str, month: str, day: str, today: date) -> date | None:
    """Parse a birthday given in three columns; the month may be a word, the year missing.

    Raise ``BirthdayError``.
    """
    year, month, day = (_bare(each) for each in (year, month, day))
    if all(_NOTHING.fullmatch(each) or each.lower() in _EMPTY for each in (month, day)):
        return None
    number = month if month.isdecimal() else str(month_number(month))
    known = year if not _NOTHING.fullmatch(year) and year.lower() not in _EMPTY else None
    return _date(known, number, day, today)


def month_number(word: str) -> int:
    """Return the number of a month named in one of ten languages; 0 for any other word."""
    return _months().get(word.lower().rstrip("."), 0)


@lru_cache(maxsize=1)
def _months() -> dict[str, int]:
    found: dict[str, set[int]] = {}
    for locale in map(Locale.parse, _MONTH_LOCALES):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in locale.months[context][width].items():
                    found.setdefault(name.lower().rstrip("."), set()).add(number)
    english = {name: number for number, name in Locale.parse("en").months["format"]["abbreviated"].items()}
    clear = {name: numbers.pop() for name, numbers in found.items() if len(numbers) == 1}
    return clear | {name.lower(): number for name, number in english.items()} | _SHORT


# Common abbreviations; Babel has "февр" and "сент".
_RUSSIAN: Final = ("янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек")
_SHORT: Final = {name: number for number, name in enumerate(_RUSSIAN, 1)} | {"sept": 9}


@lru_cache(maxsize=1)
def _weekdays() -> frozenset[str]:
    return frozenset(
        name.lower().rstrip(".")
        for locale in map(Locale.parse, _MONTH_LOCALES)
        for context in ("format", "stand-alone")
        for width in ("wide", "abbreviated")
        for name in locale.days[context][width].values()
    )


def _bare(text: str) -> str:
    text = _TIME.sub("", " ".join(text.translate(_QUOTES).split()))
    return _AROUND_POINT.sub(r"\1", _ZONE.sub("", text))


def _in_words(text: str, today: date) -> date | None:
    first, _blank, rest = text.partition(" ")
    if first.rstrip(",.").lower() in _weekdays():
        text = rest
    if match := _DAY_WORD.fullmatch(text):
        day, word, year = match[1], match[2], match[3]
    elif match := _WORD_DAY.fullmatch(text):
        word, day, year = match[1], match[2], match[3]
    else:
        return None
    number = month_number(word)
    return _date(year.lstrip("'") if year else None, str(number), day, today) if number else None


def _serial(text: str, today: date) -> date:
    match = _SERIAL.fullmatch(text)
    if match:
        found = _SERIAL_BEGIN + timedelta(days=int(match[1]))
        if found <= today:
            return found
    raise BirthdayError("birthday")


def order_of(texts: Iterable[str]) -> DateOrder:
    """Return the order that the dates of a column reveal: a number above twelve is a day."""
    found = {_order(match) for text in texts if (match := _UNCLEAR.fullmatch(_bare(text)))}
    found.discard(DateOrder.unknown)
    return found.pop() if len(found) == 1 else DateOrder.unknown


def _order(match: re.Match[str]) -> DateOrder:
    first, second = int(match[1]), int(match[2])
    if first > 12 >= second:
        return DateOrder.day_first
    return DateOrder.month_first if second > 12 >= first else DateOrder.unknown


def _day_and_month(first: str, second: str, order: DateOrder) -> tuple[str, str]:
    if order is DateOrder.unknown:
        if int(first) == int(second):
            return first, second
        order = (
            DateOrder.day_first if int(first) > 12 else DateOrder.month_first if int(second) > 12 else order
        )
    if order is DateOrder.unknown:
        raise BirthdayError("birthday_unclear")
    return (first, second) if order is DateOrder.day_first else (second, first)


def _date(year: str | None, month: str, day: str, today: date) -> date:
    try:
        found = date(_year(year, today), int(month), int(day))
    except ValueError as error:
        raise BirthdayError("birthday") from error
    if found.year != YEARLESS and not date(OLDEST, 1, 1) <= found <= today:
        raise BirthdayError("birthday")
    return found


def _year(year: str | None, today: date) -> int:
    if year in (None, "0000"):
        return YEARLESS
    if len(year) == 4:
        return int(year)
    century = today.year // 100 * 100
    return century + int(year) - (100 if int(year) > today.year % 100 else 0)
