"""Localization of requests: language, time zone, numbers and dates, and the Jinja filters that format them.

Filters: ``date``, ``day``, ``time``, ``datetime``, ``weekday``, ``weekdays``, ``relative``, ``exact``,
``duration``, ``number``, ``percent``, ``said``, ``breakable``, ``zone``, ``t``. Dates and times are formatted
in the user's time zone, inside a ``<time>`` element with the full date, time and zone in its tooltip.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from babel import Locale, dates, numbers
from babel.core import get_global
from markupsafe import Markup, escape
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.threadlocal import get_current_request
from translationstring import TranslationString

from ..db import utcnow
from ..errors import InputError, _, with_mapping
from ..i18n.languages import (
    CATALOGUES,
    SOURCE_LANGUAGE,
    DateFormats,
    Language,
    is_language,
    language_names,
    language_of,
)

_LONG_ADDRESS = re.compile(r"(?=\S{31})\S+@\S+")  # shorter addresses fit into every column
COOKIE_SECONDS = 365 * 24 * 3600  # the choice of a language should last
RECENT = timedelta(days=6)  # beyond this, a date is clearer than a number of days
CONTINENTS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)


def includeme(config: Configurator) -> None:
    config.add_translation_dirs(str(CATALOGUES))
    config.set_locale_negotiator(negotiate)
    config.add_request_method(timezone_of, name="timezone", reify=True)
    config.add_request_method(translate, name="translate")


def negotiate(request: Request) -> str:
    """Return the page language: from the URL, the account, the cookie, or Accept-Language, in this order."""
    viewer = request.viewer
    for wish in (request.GET.get("lang"), viewer and viewer.locale, request.cookies.get("locale")):
        if is_language(wish):
            return str(wish)
    return accepted_language(request)


def accepted_language(request: Request) -> str:
    """Return the best language for the Accept-Language header; the source language when none matches."""
    if not request.accept_language:
        return SOURCE_LANGUAGE
    codes = sorted(code for code, _name in language_names())
    return str(request.accept_language.lookup(codes, default=SOURCE_LANGUAGE))


def remember_choice(request: Request, name: str, value: str) -> None:
    """Set a cookie that keeps a preference; an empty value deletes it."""
    secure = request.registry["settings"].secure
    if value:
        request.response.set_cookie(
            name, value, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=secure, path="/"
        )
    else:
        request.response.delete_cookie(name, path="/")


def timezone_of(request: Request) -> tzinfo:
    viewer = request.viewer
    return zone(viewer.timezone) if viewer else UTC


def zone(name: str) -> tzinfo:
    """Return the time zone with this name; UTC when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def check_timezone(name: str) -> str:
    """Return ``name`` if it is a time zone. Raise ``InputError`` otherwise."""
    if name != "UTC" and name not in available_timezones():
        raise InputError({"timezone": _("Choose a time zone from the list, such as Europe/Moscow.")})
    return name


def translate(request: Request, message: str) -> str:
    """Translate a message and the messages and datetimes in its mapping into the language of the request."""
    if not isinstance(message, TranslationString):
        return message
    if message.mapping:
        mapping = {name: _value(request, value) for name, value in message.mapping.items()}
        message = with_mapping(message, mapping)
    translated: str = request.localizer.translate(message)
    return translated


def _value(request: Request, value: Any) -> Any:
    if isinstance(value, datetime):
        return _whole(dates.format_datetime(_here(value), _formats().in_sentence, locale=_locale()))
    return translate(request, value) if isinstance(value, TranslationString) else value


def said(message: str) -> str:
    """Translate a message into HTML, with the reply of a mail server (``reply``) marked as code."""
    if not isinstance(message, TranslationString) or not message.mapping:
        text: str = finalize(message)
        return text
    request = get_current_request()
    bare = TranslationString(str(message), domain=message.domain, default=message.default)
    parts = {name: _part(request, name, value) for name, value in message.mapping.items()}
    sentence = TranslationString(str(escape(request.localizer.translate(bare))), mapping=parts)
    return Markup(sentence.interpolate())  # noqa: S704 - every part of it is escaped above


def _part(request: Request, name: str, value: Any) -> Markup:
    if name == "reply" and value:
        return Markup('<code class="reply">{}</code>').format(_value(request, value))
    return escape(said(value) if isinstance(value, TranslationString) else _value(request, value))


def breakable(text: str) -> Markup:
    """Escape a text and allow line breaks in long email addresses, after ``@``, ``.`` and ``_``."""
    escaped = _LONG_ADDRESS.sub(lambda found: re.sub(r"([@._])", r"\1<wbr>", found[0]), str(escape(text)))
    return Markup(escaped)  # noqa: S704 - escaped above


def finalize(value: Any) -> Any:
    """Finalize a Jinja expression: translate translation strings, render None as an empty string."""
    if isinstance(value, TranslationString):
        request = get_current_request()
        return translate(request, value) if request else value.interpolate()
    return "" if value is None else value


# --- filters ------------------------------------------------------------------------------------------------


def duration(length: timedelta) -> str:
    """Format a duration: "24 hours".

    Days are used only from 72 hours on, because rounded to days a day and a minute would become two.
    """
    hours = length / timedelta(hours=1)
    if hours < 1:
        return _timedelta(max(length, timedelta(minutes=1)), "minute")
    return _timedelta(length, "hour" if hours < 72 else "day")


def _timedelta(length: timedelta, unit: Literal["minute", "hour", "day"]) -> str:
    step = {"minute": 60, "hour": 3600, "day": 86400}[unit]
    whole = timedelta(seconds=step * round(length.total_seconds() / step))
    return _whole(dates.format_timedelta(whole, granularity=unit, threshold=1000, locale=_locale()))


def number(value: float) -> str:
    """Format a number: 1204 -> "1,204" or "1 204"."""
    return numbers.format_decimal(value, locale=_locale())


def percent(value: float) -> str:
    """Format a fraction: 0.314 -> "31%" or "31 %"."""
    return numbers.format_percent(value, locale=_locale())


def show_date(moment: datetime | date, form: str = "medium") -> Markup:
    """Format a date: 23 Nov 2026."""
    return _time(moment, dates.format_date(_here(moment), form, locale=_locale()))


def show_day(moment: datetime | date) -> Markup:
    """Format a date with its weekday: Monday, 23 November 2026."""
    return show_date(moment, "full")


def show_time(moment: datetime) -> Markup:
    """Format a time: 09:14."""
    return _time(moment, dates.format_time(_here(moment), "short", locale=_locale()))


def show_seconds(moment: datetime) -> Markup:
    """09:14:05"""
    return _time(moment, dates.format_time(_here(moment), "medium", locale=_locale()))


def show_datetime(moment: datetime) -> Markup:
    """Format a date and time: 23 Nov 2026, 09:14."""
    return _time(moment, plain_datetime(moment))


def weekday(number: int) -> str:
    """Return the short stand-alone name of a weekday: 1 -> "Mon" or "пн"."""
    names = dates.get_day_names("abbreviated", context="stand-alone", locale=_locale())
    return str(names[number - 1])


def weekdays(numbers: Sequence[int]) -> str:
    """Format weekdays: [1, 2, 3, 4, 5] -> "Mon–Fri"; [1, 3] -> "Mon, Wed"."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
        return f"{weekday(first)}–{weekday(last)}"
    return ", ".join(map(weekday, numbers))


def relative(moment: datetime, now: datetime | None = None) -> Markup:
    """Format the distance to now: "5 minutes ago", "in 2 hours"; a date beyond ``RECENT``."""
    distance = moment - (now or utcnow())
    if abs(distance) > RECENT:
        return show_date(moment)
    return _time(moment, dates.format_timedelta(distance, add_direction=True, locale=_locale()))


def exact(moment: datetime | date) -> str:
    """Return the full date, time and zone as plain text, for tooltips and sentences."""
    if not isinstance(moment, datetime):
        return dates.format_date(moment, "full", locale=_locale())
    return dates.format_datetime(_here(moment), _formats().exact, locale=_locale())


def plain_date(moment: datetime | date) -> str:
    """Format a date as plain text for a sentence: 23 Nov 2026."""
    return _whole(dates.format_date(_here(moment), "medium", locale=_locale()))


def plain_datetime(moment: datetime) -> str:
    """Format a date and time as plain text for a sentence: 23 Nov 2026, 09:14."""
    return _whole(dates.format_datetime(_here(moment), _formats().short, locale=_locale()))


def _whole(text: str) -> str:
    """Join a date with no-break spaces. A line may break only between date and time."""
    return re.sub(r"(?<!,) ", "\N{NO-BREAK SPACE}", text)


_OLD_ZONES: Mapping[str, str] = get_global("zone_aliases")  # old name: new name


def zone_name(name: str, locale: str = "") -> str:
    """Return the localized name of a time zone: "Moscow"."""
    return "UTC" if name == "UTC" else _city(name, locale or _language().code)


def _city(name: str, locale: str) -> str:
    data = language_of(locale).locale.time_zones.get(_OLD_ZONES.get(name, name), {})
    return str(data.get("city") or name.rpartition("/")[2].replace("_", " "))


def zone_choices(locale: str, now: datetime) -> list[tuple[str, str]]:
    """Return every time zone with its UTC offset on this day, from west to east, without old names."""
    return list(_zone_choices(locale, now.date()))


@lru_cache(maxsize=8)
def _zone_choices(locale: str, today: date) -> tuple[tuple[str, str], ...]:
    noon = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    names = (each for each in available_timezones() - _OLD_ZONES.keys() if each.split("/")[0] in CONTINENTS)
    places = sorted(
        (noon.astimezone(ZoneInfo(name)).utcoffset(), _city(name, locale), name) for name in names
    )
    return (("UTC", "UTC"), *((name, f"{_offset(offset)} · {city}") for offset, city, name in places))


def _offset(offset: timedelta | None) -> str:
    minutes = int((offset or timedelta()).total_seconds() // 60)
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _time(moment: datetime | date, text: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), exact(moment), text)


def _here(moment: Any) -> Any:
    if not isinstance(moment, datetime):
        return moment
    request = get_current_request()
    return moment.astimezone(request.timezone if request else UTC)


def _language() -> Language:
    request = get_current_request()
    return language_of(SOURCE_LANGUAGE if request is None else request.locale_name)


def _locale() -> Locale:
    return _language().locale


def _formats() -> DateFormats:
    return _language().date_formats


# --- display settings for templates ------------------------------------------------------------------------


@dataclass(frozen=True)
class DisplaySettings:
    """Language switch and theme of a page."""

    theme: str  # "light", "dark", or "" for the system's theme
    languages: tuple[tuple[str, str], ...]
    address: str
    parameters: Mapping[str, str]

    def language_url(self, name: str) -> str:
        """Return the URL of this page in another language."""
        return f"{self.address}?{urlencode(dict(self.parameters) | {'lang': name})}"


def display_settings() -> DisplaySettings:
    request = get_current_request()
    theme = request.cookies.get("theme", "")
    return DisplaySettings(
        theme=theme if theme in {"light", "dark"} else "",
        languages=language_names(),
        address=request.path,
        parameters={name: value for name, value in request.GET.items() if name != "lang"},
    )


FILTERS = {
    "date": show_date,
    "day": show_day,
    "time": show_time,
    "seconds": show_seconds,
    "datetime": show_datetime,
    "weekday": weekday,
    "weekdays": weekdays,
    "relative": relative,
    "exact": exact,
    "duration": duration,
    "number": number,
    "percent": percent,
    "said": said,
    "breakable": breakable,
    "zone": zone_name,
    "t": finalize,
}
