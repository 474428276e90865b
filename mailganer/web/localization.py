"""The person's language, time zone, numbers and dates, and the Jinja filters that show them.

Filters: ``date``, ``day``, ``time``, ``datetime``, ``relative``, ``exact``, ``number``, ``percent``,
``zone``, ``said``, ``breakable``, ``t``. Moments are shown in the person's time zone, inside a ``<time>``
with the exact moment in its tooltip.
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
from ..errors import InputError, _
from ..i18n.sentences import IN_A_SENTENCE

LANGUAGES = (("en", "English"), ("ru", "Русский"))
NAMES = frozenset(name for name, _title in LANGUAGES)
_LONG_ADDRESS = re.compile(r"(?=\S{31})\S+@\S+")  # shorter ones find room in every column
COOKIE_SECONDS = 365 * 24 * 3600  # a language is chosen once, not every month
RECENT = timedelta(days=6)  # further away a date says more than a number of days
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
    config.add_translation_dirs("mailganer:locale")
    config.set_locale_negotiator(negotiate)
    config.add_request_method(timezone_of, name="timezone", reify=True)
    config.add_request_method(translate, name="translate")


def negotiate(request: Request) -> str:
    """The language of a page: asked for in the address, the account's, this browser's choice, its wish."""
    viewer = request.viewer
    for wish in (request.GET.get("lang"), viewer and viewer.locale, request.cookies.get("locale")):
        if wish in NAMES:
            return str(wish)
    return accepted_language(request)


def accepted_language(request: Request) -> str:
    """The language the browser asks for; English when it asks for none of ours."""
    if not request.accept_language:
        return "en"
    return str(request.accept_language.lookup(sorted(NAMES), default="en"))


def remember_choice(request: Request, name: str, value: str) -> None:
    """Sets a cookie that keeps a preference; an empty value forgets it."""
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
    """The time zone of this name; UTC when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def check_timezone(name: str) -> str:
    """The name, if there is such a zone. Raises ``InputError``."""
    if name != "UTC" and name not in available_timezones():
        raise InputError({"timezone": _("Choose a time zone from the list, such as Europe/Moscow.")})
    return name


def translate(request: Request, message: str) -> str:
    """A sentence in the language of the request; sentences and moments inside it are put into words too."""
    if not isinstance(message, TranslationString):
        return message
    if message.mapping:
        mapping = {name: _value(request, value) for name, value in message.mapping.items()}
        message = TranslationString(message, domain=message.domain, default=message.default, mapping=mapping)
    return request.localizer.translate(message)


def _value(request: Request, value: Any) -> Any:
    if isinstance(value, datetime):
        return _whole(
            dates.format_datetime(_here(value), IN_A_SENTENCE[_locale().language], locale=_locale())
        )
    return translate(request, value) if isinstance(value, TranslationString) else value


def said(message: str) -> str:
    """A sentence on a page, with the words of a mail server in it (``reply``) set apart from ours."""
    if not isinstance(message, TranslationString) or not message.mapping:
        return finalize(message)
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
    """A text with addresses in it: one that is too long for a line breaks after its signs."""
    escaped = _LONG_ADDRESS.sub(lambda found: re.sub(r"([@._])", r"\1<wbr>", found[0]), str(escape(text)))
    return Markup(escaped)  # noqa: S704 - escaped above


def finalize(value: Any) -> Any:
    """What Jinja calls on everything it prints: translation strings become words, nothing becomes nothing."""
    if isinstance(value, TranslationString):
        request = get_current_request()
        return translate(request, value) if request else value.interpolate()
    return "" if value is None else value


# --- filters ------------------------------------------------------------------------------------------------


def duration(length: timedelta) -> str:
    """How long something takes: "24 hours"; in days only from three on, as a day and a minute are not two."""
    hours = length / timedelta(hours=1)
    if hours < 1:
        return _timedelta(max(length, timedelta(minutes=1)), "minute")
    return _timedelta(length, "hour" if hours < 72 else "day")


def _timedelta(length: timedelta, unit: Literal["minute", "hour", "day"]) -> str:
    step = {"minute": 60, "hour": 3600, "day": 86400}[unit]
    whole = timedelta(seconds=step * round(length.total_seconds() / step))
    return _whole(dates.format_timedelta(whole, granularity=unit, threshold=1000, locale=_locale()))


def number(value: float) -> str:
    """1204 -> "1,204" or "1 204"."""
    return numbers.format_decimal(value, locale=_locale())


def percent(value: float) -> str:
    """0.314 -> "31%" or "31 %"."""
    return numbers.format_percent(value, locale=_locale())


def show_date(moment: datetime | date, form: str = "medium") -> Markup:
    """23 Nov 2026"""
    return _time(moment, dates.format_date(_here(moment), form, locale=_locale()))


def show_day(moment: datetime | date) -> Markup:
    """Monday, 23 November 2026"""
    return show_date(moment, "full")


def show_time(moment: datetime) -> Markup:
    """09:14"""
    return _time(moment, dates.format_time(_here(moment), "short", locale=_locale()))


def show_datetime(moment: datetime) -> Markup:
    """23 Nov 2026, 09:14"""
    return _time(moment, plain_datetime(moment))


def weekday(number: int) -> str:
    """1 -> "Mon" or "пн": short, as it stands alone."""
    names = dates.get_day_names("abbreviated", context="stand-alone", locale=_locale())
    return str(names[number - 1])


def weekdays(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 4, 5] -> "Mon–Fri"; [1, 3] -> "Mon, Wed"."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
        return f"{weekday(first)}–{weekday(last)}"
    return ", ".join(map(weekday, numbers))


def relative(moment: datetime, now: datetime | None = None) -> Markup:
    """ "5 minutes ago", "in 2 hours"; a date when it is further away than a few days."""
    distance = moment - (now or utcnow())
    if abs(distance) > RECENT:
        return show_date(moment)
    return _time(moment, dates.format_timedelta(distance, add_direction=True, locale=_locale()))


def exact(moment: datetime | date) -> str:
    """The whole moment with its zone, as plain text for tooltips and sentences."""
    if not isinstance(moment, datetime):
        return dates.format_date(moment, "full", locale=_locale())
    return dates.format_datetime(_here(moment), _EXACT[_locale().language], locale=_locale())


def plain_date(moment: datetime | date) -> str:
    """23 Nov 2026, as text for a sentence."""
    return _whole(dates.format_date(_here(moment), "medium", locale=_locale()))


def plain_datetime(moment: datetime) -> str:
    """23 Nov 2026, 09:14, as text for a sentence."""
    return _whole(dates.format_datetime(_here(moment), _SHORT[_locale().language], locale=_locale()))


def _whole(text: str) -> str:
    """A day stays with its month at the end of a line; its time may go on in the next one."""
    return re.sub(r"(?<!,) ", "\N{NO-BREAK SPACE}", text)


_SHORT = {"en": "d MMM y, HH:mm", "ru": "d MMM y 'г.', HH:mm"}
_EXACT = {"en": "EEEE, d MMMM y, HH:mm:ss (zzzz)", "ru": "EEEE, d MMMM y 'г'., HH:mm:ss (zzzz)"}


_OLD_ZONES: Mapping[str, str] = get_global("zone_aliases")  # Asia/Calcutta: Asia/Kolkata


def zone_name(name: str, locale: str = "") -> str:
    """A zone in words: "Moscow"."""
    return "UTC" if name == "UTC" else _city(name, locale or str(_locale()))


def _city(name: str, locale: str) -> str:
    data = Locale.parse(locale).time_zones.get(_OLD_ZONES.get(name, name), {})
    return str(data.get("city") or name.rpartition("/")[2].replace("_", " "))


def zone_choices(locale: str, now: datetime) -> list[tuple[str, str]]:
    """Every zone with its distance from UTC today, west to east; none under its old name as well."""
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


def _locale() -> Locale:
    request = get_current_request()
    return _english() if request is None else _babel_locale(request.locale_name)


@lru_cache(maxsize=8)
def _babel_locale(name: str) -> Locale:
    # English of the whole world, not of one country: day before month, 24 hours.
    return Locale.parse("en_GB" if name == "en" else name)


def _english() -> Locale:
    return _babel_locale("en")


# --- what templates may ask about language and look --------------------------------------------------------


@dataclass(frozen=True)
class DisplaySettings:
    """Language switch and theme of a page."""

    theme: str  # "light", "dark", or nothing: as the system is
    languages: tuple[tuple[str, str], ...]
    address: str
    parameters: Mapping[str, str]

    def language_url(self, name: str) -> str:
        """This page in another language."""
        return f"{self.address}?{urlencode(dict(self.parameters) | {'lang': name})}"


def display_settings() -> DisplaySettings:
    request = get_current_request()
    theme = request.cookies.get("theme", "")
    return DisplaySettings(
        theme=theme if theme in {"light", "dark"} else "",
        languages=LANGUAGES,
        address=request.path,
        parameters={name: value for name, value in request.GET.items() if name != "lang"},
    )


FILTERS = {
    "date": show_date,
    "day": show_day,
    "time": show_time,
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
