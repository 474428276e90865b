"""Numbers and dates in the local format of the email's language."""

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Final

import babel
from babel.dates import format_date, format_datetime

YEARLESS: Final = 1604
"""The year stored for a birthday without a year: a leap year before the birth of anyone alive."""


class DayAndMonth(date):
    """A birthday without a year, as a template sees it: the stored year is never output or compared."""

    __slots__ = ()

    @classmethod
    def of(cls, day: date) -> "DayAndMonth":
        return cls(YEARLESS, day.month, day.day)

    @classmethod
    def fromisoformat(cls, text: str) -> "DayAndMonth":
        """Parse "--05-14" (ISO 8601:2000). Raises ``ValueError``."""
        return cls.of(date.fromisoformat(f"{YEARLESS}-{text.removeprefix('--')}"))

    def isoformat(self) -> str:
        return f"--{self.month:02}-{self.day:02}"

    def __str__(self) -> str:
        return f"{self.day:02}.{self.month:02}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


LOCALES: Final = frozenset(
    (
        *("en", "en_GB", "ru", "uk", "be", "kk", "uz", "az", "hy", "ka", "bg", "sr", "hr", "sl", "sk", "cs"),
        *("pl", "hu", "ro", "el", "tr", "lt", "lv", "et", "fi", "sv", "nb", "da", "nl", "de", "de_AT", "fr"),
        *("it", "es", "pt", "pt_PT", "ca", "he", "ar", "fa", "hi", "th", "vi", "id", "ja", "ko"),
        *("zh", "zh_Hant"),
    )
)
"""Languages that dates can be formatted in, so that templates and values choose among a few.

Babel keeps every locale it has loaded, of more than a thousand, for the life of the process (a megabyte
each).
"""

_BY_KEY: Final = {name.lower(): name for name in LOCALES} | {
    "no": "nb",
    "zh_tw": "zh_Hant",
    "zh_hk": "zh_Hant",
}
_LONGEST_LOCALE: Final = 40


def locale_of(name: str) -> str | None:
    """Return the entry of ``LOCALES`` for a tag such as "de-CH"; None when there is none."""
    if len(name) > _LONGEST_LOCALE:
        return None
    parts = name.strip().lower().replace("-", "_").split("_")
    return _BY_KEY.get("_".join(parts[:2])) or _BY_KEY.get(parts[0])


@lru_cache(maxsize=len(LOCALES))
def _babel_locale(name: str) -> babel.Locale:
    return babel.Locale.parse(name)


# Directives of strftime as Babel patterns. No widths: %1000000d would exhaust memory.
_STRFTIME = {
    "d": "dd",
    "e": "d",
    "m": "MM",
    "y": "yy",
    "Y": "y",
    "H": "HH",
    "I": "hh",
    "M": "mm",
    "S": "ss",
    "p": "a",
    "A": "EEEE",
    "a": "EEE",
    "j": "D",
    "%": "%",
}
_LONGEST_FORMAT = 60


def format_day(value: date, pattern: str, locale: str) -> str:
    """Format a date or datetime by a strftime format, a Babel pattern or short, medium, long or full.

    Of a :class:`DayAndMonth` only the day and the month; empty when the pattern has neither.
    """
    pattern = pattern[:_LONGEST_FORMAT]
    locale = locale_of(locale) or "en"
    if isinstance(value, DayAndMonth):
        pattern = _without_year(pattern, locale)
        return _format_day(value, pattern, locale) if pattern else ""
    return _format_day(value, pattern, locale)


@lru_cache(maxsize=4096)
def _format_day(value: date, pattern: str, locale: str) -> str:
    if "%" in pattern:
        pattern = _from_strftime(pattern)
    if isinstance(value, datetime):
        if pattern in ("short", "medium", "long", "full"):
            return format_date(value.date(), pattern, _babel_locale(locale))
        return format_datetime(value, pattern, locale=_babel_locale(locale))
    return format_date(value, pattern, _babel_locale(locale))


# Named formats without the year, by the skeletons of CLDR.
_YEARLESS_FORMS: Final = {"short": "Md", "medium": "MMMd", "long": "MMMMd", "full": "MMMMd"}
_PATTERN_PART: Final = re.compile(r"(?P<field>([A-Za-z])\2*)|'(?:[^']|'')*'|[^A-Za-z']+|'")
_KNOWN_WITHOUT_YEAR: Final = frozenset("dMLQq")


@lru_cache(maxsize=256)
def _without_year(pattern: str, locale: str) -> str:
    """Return a Babel pattern of what is known without a year.

    Text beside a removed field is removed as well: "d MMMM y 'г'." becomes "d MMMM".
    """
    if pattern in _YEARLESS_FORMS:
        skeletons = _babel_locale(locale).datetime_skeletons
        return str(getattr(skeletons.get(_YEARLESS_FORMS[pattern]), "pattern", "dd.MM"))
    if "%" in pattern:
        pattern = _from_strftime(pattern)
    kept = ""
    between: list[str] = []  # texts since the last field that stays
    left_out = False
    for part in _PATTERN_PART.finditer(pattern):
        if not part["field"]:
            between.append(part[0])
        elif part["field"][0] not in _KNOWN_WITHOUT_YEAR:
            left_out = True
        else:
            # Keep one text between two fields and none before the first one.
            texts = between[: 1 if kept else 0] if left_out else between
            kept += "".join(texts) + part[0]
            between, left_out = [], False
    if not kept:
        return ""
    return kept if left_out else kept + "".join(between)


def _from_strftime(pattern: str) -> str:
    # A month beside a day stands in the genitive (1 мая), alone in the nominative (май 2026).
    beside_day = re.search("%-?[de]", pattern)
    months = {"B": "MMMM", "b": "MMM"} if beside_day else {"B": "LLLL", "b": "LLL"}

    def piece(match: re.Match[str]) -> str:
        if match[1]:
            if match[0] == "%-d":
                return "d"
            return {**_STRFTIME, **months}.get(match[1], "'%" + match[1] + "'")
        return "'" + match[0].replace("'", "''") + "'"

    # Only letters and quotes have a meaning in a Babel pattern; everything else is literal.
    return re.sub(r"%-?(.)|[^%]+", piece, pattern, flags=re.DOTALL)


_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?.*)?")
_YEARLESS_ISO = re.compile(r"(?:--|0000-)(\d\d)-?(\d\d)")
_DOTTED = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4})")


def to_date(value: object) -> date | None:
    """Return a date from a date, or from a text such as 2026-05-01, 2026-05-01T10:00, 01.05.2026.

    --05-01 has no year. A date in :data:`YEARLESS`, which address books write as well, is a
    :class:`DayAndMonth`. None for anything else.
    """
    day = _as_day(value)
    if day is not None and day.year == YEARLESS and not isinstance(day, DayAndMonth):
        return DayAndMonth.of(day)
    return day


def _as_day(value: object) -> date | None:
    if isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        if match := _YEARLESS_ISO.fullmatch(text):
            return date(YEARLESS, int(match[1]), int(match[2]))
        if match := _ISO.fullmatch(text):
            year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
            return datetime(year, month, day, hour, minute, second) if match[4] else date(year, month, day)
        if match := _DOTTED.fullmatch(text):
            return date(int(match[3]), int(match[2]), int(match[1]))
    except ValueError:
        pass
    return None


_CATEGORIES: Final = ("zero", "one", "two", "few", "many", "other")
"""Plural categories of CLDR, in the order in which their forms are given."""


def plural(count: int | float, forms: tuple[str, ...], locale: str = "en") -> str:
    """Return the plural form, by the rule of CLDR for a language with as many forms as are given.

    Otherwise of two forms as in English (email, emails), of three as in Russian.
    """
    if locale not in ("en", "ru"):
        categories = _plural_categories(locale)
        category = _babel_locale(locale_of(locale) or "en").plural_form(count)
        if len(forms) == len(categories) and category in categories:
            return forms[categories.index(category)]
    if len(forms) == 2:
        return forms[0] if count == 1 else forms[1]
    return _russian_plural(count, forms)


@lru_cache(maxsize=len(LOCALES))
def _plural_categories(locale: str) -> tuple[str, ...]:
    """Return the categories of whole numbers in a language, in the order in which their forms are given."""
    rule = _babel_locale(locale_of(locale) or "en").plural_form
    found = {rule(count) for count in range(201)}
    return tuple(category for category in _CATEGORIES if category in found)


def _russian_plural(count: int | float, forms: tuple[str, ...]) -> str:
    if count != int(count):
        return forms[1]  # 1,5 письма
    last, last_two = abs(int(count)) % 10, abs(int(count)) % 100
    if last == 1 and last_two != 11:
        return forms[0]
    return forms[1] if 2 <= last <= 4 and not 12 <= last_two <= 14 else forms[2]
