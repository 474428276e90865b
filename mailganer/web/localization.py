"""Localization of requests: language, time zone and translator, and the Jinja filters that format values.

Filters: ``date``, ``day``, ``time``, ``datetime``, ``weekday``, ``weekdays``, ``relative``, ``exact``,
``duration``, ``number``, ``percent``, ``message``, ``breakable``, ``headline``, ``zone``, ``t``. Dates and
times are formatted in the user's time zone, inside a ``<time>`` element with the full date, time and zone in
its tooltip.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.threadlocal import get_current_request
from translationstring import TranslationString

from ..db import utcnow
from ..i18n.formatter import RECENT
from ..i18n.languages import SOURCE_LANGUAGE, is_language, language_codes, language_names
from ..i18n.localized_text import LocalizedText
from ..i18n.time_zones import time_zone, time_zone_name
from ..i18n.translator import Translator, translator
from .security_policy import is_api

_LONG_ADDRESS = re.compile(r"(?=\S{31})\S+@\S+")  # shorter addresses fit into every column
_SHORT_WORD = re.compile(r"(?<![^\s«„“(])([^\W\d_]) (?=\S)")  # such as "a", "с" or "в"
COOKIE_SECONDS = 365 * 24 * 3600  # the choice of a language should last


def includeme(config: Configurator) -> None:
    config.set_locale_negotiator(negotiate)
    config.add_request_method(timezone_of, name="timezone", reify=True)
    config.add_request_method(translate, name="translate")
    # Replaces Pyramid's own, which the templates ask for their texts.
    config.add_request_method(translator_of, name="localizer", property=True)


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
    codes = list(language_codes())
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
    return time_zone(viewer.timezone) if viewer else UTC


def translator_of(request: Request) -> Translator:
    """Return the translator for the request's language, which a view may change, and time zone.

    Programs and downloaded files get plain spaces, pages also no-break spaces.
    """
    is_page = not is_api(request) and not request.path.endswith(".csv")
    return translator(request.locale_name, request.timezone, unbroken=is_page)


def translate(request: Request, message: str) -> str:
    """Translate a message and the messages and datetimes in its mapping into the language of the request."""
    return translator_of(request).translate(message)


def current_translator() -> Translator:
    """Return the translator of the current request; without one, that of the source language."""
    request = get_current_request()
    return translator_of(request) if request else translator(SOURCE_LANGUAGE, unbroken=True)


def message_html(message: str) -> str:
    """Translate a message into HTML, with the reply of a mail server (``reply``) marked as code."""
    if not isinstance(message, TranslationString) or not message.mapping:
        text: str = finalize(message)
        return text
    parts = {name: _part(name, value) for name, value in message.mapping.items()}
    bare = current_translator().translate_bare(message)
    sentence = TranslationString(str(escape(bare)), mapping=parts)
    return Markup(sentence.interpolate())  # noqa: S704 - every part of it is escaped above


def _part(name: str, value: Any) -> Markup:
    text = current_translator().value_in_sentence(value)
    if name == "reply" and value:
        return Markup('<code class="reply">{}</code>').format(text)
    if isinstance(value, TranslationString):
        return escape(message_html(value))
    return breakable(text)


def breakable(text: str) -> Markup:
    """Escape a text and allow line breaks in long email addresses, after ``@``, ``.`` and ``_``."""
    escaped = _LONG_ADDRESS.sub(lambda found: re.sub(r"([@._])", r"\1<wbr>", found[0]), str(escape(text)))
    return Markup(escaped)  # noqa: S704 - escaped above


def headline(text: str) -> str:
    """Keep words of one letter on the line of the next word, as Russian typography asks of headings."""
    title: str = finalize(text)
    if "<" in title:  # spaces in a tag separate its attributes
        return title
    joined = _SHORT_WORD.sub("\\1\N{NO-BREAK SPACE}", title)
    return Markup(joined) if isinstance(title, Markup) else joined  # noqa: S704 - escaped as it was


def finalize(value: Any) -> Any:
    """Finalize a Jinja expression: translate translatable texts, render None as an empty string."""
    if isinstance(value, TranslationString):
        request = get_current_request()
        return translate(request, value) if request else value.interpolate()
    if isinstance(value, LocalizedText):
        return current_translator().translate(value)
    return "" if value is None else value


# --- filters ------------------------------------------------------------------------------------------------


def duration(length: timedelta) -> str:
    return current_translator().duration(length)


def number(value: float) -> str:
    return current_translator().number(value)


def percent(value: float) -> str:
    return current_translator().percent(value)


def weekday(number: int) -> str:
    return current_translator().weekday(number)


def weekdays(numbers: Sequence[int]) -> str:
    return current_translator().weekdays(numbers)


def exact(at: datetime | date) -> str:
    return current_translator().exact(at)


def plain_date(at: datetime | date) -> str:
    """Format a date as plain text for a sentence: 23 Nov 2026."""
    return current_translator().sentence_date(at)


def plain_datetime(at: datetime) -> str:
    """Format a date and time as plain text for a sentence: 23 Nov 2026, 09:14."""
    return current_translator().format_datetime(at)


def zone_name(name: str) -> str:
    return time_zone_name(name, current_translator().language.code)


def show_date(at: datetime | date, form: str = "medium") -> Markup:
    """Format a date: 23 Nov 2026."""
    return _time(at, current_translator().format_date(at, form))


def show_day(at: datetime | date) -> Markup:
    """Format a date with its weekday: Monday, 23 November 2026."""
    return show_date(at, "full")


def show_time(at: datetime) -> Markup:
    """Format a time: 09:14."""
    return _time(at, current_translator().format_time(at))


def show_seconds(at: datetime) -> Markup:
    """09:14:05"""
    return _time(at, current_translator().format_time(at, "medium"))


def show_datetime(at: datetime) -> Markup:
    """Format a date and time: 23 Nov 2026, 09:14."""
    return _time(at, plain_datetime(at))


def relative(at: datetime, now: datetime | None = None) -> Markup:
    """Format the distance to now: "5 minutes ago", "in 2 hours"; a date beyond ``RECENT``."""
    distance = at - (now or utcnow())
    if abs(distance) > RECENT:
        return show_date(at)
    return _time(at, current_translator().relative(distance))


def date_html(words: Translator, at: datetime | date) -> Markup:
    """Format a date outside of a request, as :func:`show_date` does in one."""
    return _time(at, words.format_date(at), words)


def _time(at: datetime | date, text: str, words: Translator | None = None) -> Markup:
    title = (words or current_translator()).exact(at)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), title, text)


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
    "message": message_html,
    "breakable": breakable,
    "headline": headline,
    "zone": zone_name,
    "t": finalize,
}
