"""The translator: texts, plural sentences, dates and numbers in one language and time zone.

Pages and the API use it as ``request.localizer``, everything else by :func:`translator`. All text; the web
layer adds markup.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from babel import dates, numbers
from babel.support import Translations
from translationstring import Pluralizer, TranslationString, dugettext_policy, dungettext_policy
from translationstring import Translator as text_translator

from . import languages
from .languages import SOURCE_LANGUAGE, Language, language_of
from .line_breaks import unbroken_text, unbroken_variables
from .localized_text import LocalizedText
from .sentences import Forms
from .time_zones import time_zone

DOMAIN = "mailganer"
_FORMER_SENTENCES = Path(__file__).with_name("former_sentences.toml")
RECENT = timedelta(days=6)  # beyond this, a date is clearer than a number of days


class Translator:
    """Formats texts and values in one language and time zone.

    On a page, ``unbroken`` joins the parts of a date, and short words to the next one, with no-break spaces.
    """

    def __init__(self, language: Language, timezone: tzinfo = UTC, *, unbroken: bool = False) -> None:
        self.language = language
        self.timezone = timezone
        self._locale = language.locale
        self._unbroken = unbroken
        self._texts, self._plurals = _catalogue(language, unbroken)

    # --- texts

    def translate(
        self, text: str, domain: str | None = None, mapping: Mapping[str, Any] | None = None
    ) -> str:
        """Translate a translation string, and the translation strings and datetimes in its mapping.

        A plain string is looked up when ``domain`` is given, and returned unchanged otherwise.
        """
        if isinstance(text, LocalizedText):
            return text.in_language(self.language.code)
        if not isinstance(text, TranslationString):
            return str(self._texts(text, domain=domain, mapping=mapping)) if domain else text
        values = {**(text.mapping or {}), **(mapping or {})}
        parts = {name: self.value_in_sentence(value) for name, value in values.items()}
        return str(self._texts(_with_mapping(text, parts)))

    def translate_bare(self, text: TranslationString) -> str:
        """Translate a translation string without filling in its values."""
        return str(self._texts(_with_mapping(text, None)))

    def pluralize(
        self,
        singular: str,
        plural: str,
        number: float,
        domain: str | None = None,
        mapping: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the form of a sentence for ``number``, by the plural rule of the catalogue."""
        return str(self._plurals(singular, plural, number, domain=domain, mapping=mapping))

    def counted(self, forms: Forms, number: float) -> str:
        """Return the form of a sentence for ``number``, with the number formatted as ``${number}``."""
        return self.pluralize(*forms, number, domain=DOMAIN, mapping={"number": self.number(number)})

    def value_in_sentence(self, value: Any) -> Any:
        """Translate a text and format a datetime; return any other value as it is shown."""
        if isinstance(value, LocalizedText):
            return value.in_language(self.language.code)
        if isinstance(value, datetime):
            return self.sentence_datetime(value)
        if isinstance(value, TranslationString):
            return self.translate(value)
        return unbroken_variables(value) if self._unbroken and isinstance(value, str) else value

    # --- numbers

    def number(self, value: float) -> str:
        """Format a number: 1204 -> "1,204" or "1 204"."""
        return numbers.format_decimal(value, locale=self._locale)

    def percent(self, value: float) -> str:
        """Format a fraction: 0.314 -> "31%" or "31 %"."""
        return numbers.format_percent(value, locale=self._locale)

    # --- dates and times

    def format_date(self, at: datetime | date, form: str = "medium") -> str:
        """Format a date by a Babel pattern, or as short, medium, long or full: 23 Nov 2026."""
        return dates.format_date(self._here(at), form, locale=self._locale)

    def format_time(self, at: datetime, form: str = "short") -> str:
        """Format a time: 09:14; "medium" with seconds."""
        return dates.format_time(self._here(at), form, locale=self._locale)

    def format_datetime(self, at: datetime) -> str:
        """Format a date and time: 23 Nov 2026, 09:14."""
        return self._unbreakable(self.format_datetime_by(at, self.language.date_formats.short))

    def sentence_datetime(self, at: datetime) -> str:
        """Format a date and time: 23 November 2026, 09:14."""
        return self._unbreakable(self.format_datetime_by(at, self.language.date_formats.in_sentence))

    def sentence_date(self, at: datetime | date) -> str:
        """Format a date: 23 Nov 2026."""
        return self._unbreakable(self.format_date(at))

    def exact(self, at: datetime | date) -> str:
        """Format a date with weekday, and of a datetime also time and zone."""
        if not isinstance(at, datetime):
            return self.format_date(at, "full")
        return self.format_datetime_by(at, self.language.date_formats.exact)

    def format_datetime_by(self, at: datetime, pattern: str) -> str:
        """Format a datetime by a Babel pattern."""
        return dates.format_datetime(self._here(at), pattern, locale=self._locale)

    def relative(self, distance: timedelta) -> str:
        """Format a distance to now: "5 minutes ago", "in 2 hours"."""
        return dates.format_timedelta(distance, add_direction=True, locale=self._locale)

    def duration(self, length: timedelta) -> str:
        """Format a duration: "24 hours".

        Days are used only from 72 hours on, because rounded to days a day and a minute would become two.
        """
        hours = length / timedelta(hours=1)
        if hours < 1:
            return self._timedelta(max(length, timedelta(minutes=1)), "minute")
        return self._timedelta(length, "hour" if hours < 72 else "day")

    def weekday(self, number: int) -> str:
        """Return the short stand-alone name of a weekday: 1 -> "Mon" or "пн"."""
        names = dates.get_day_names("abbreviated", context="stand-alone", locale=self._locale)
        return str(names[number - 1])

    def weekdays(self, numbers: Sequence[int]) -> str:
        """Format weekdays: [1, 2, 3, 4, 5] -> "Mon–Fri"; [1, 3] -> "Mon, Wed"."""
        first, last = numbers[0], numbers[-1]
        if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
            return f"{self.weekday(first)}–{self.weekday(last)}"
        return ", ".join(map(self.weekday, numbers))

    def _timedelta(self, length: timedelta, unit: Literal["minute", "hour", "day"]) -> str:
        step = {"minute": 60, "hour": 3600, "day": 86400}[unit]
        whole = timedelta(seconds=step * round(length.total_seconds() / step))
        text = dates.format_timedelta(whole, granularity=unit, threshold=1000, locale=self._locale)
        return self._unbreakable(text)

    def _here(self, at: Any) -> Any:
        return at.astimezone(self.timezone) if isinstance(at, datetime) else at

    def _unbreakable(self, text: str) -> str:
        """Join a date with no-break spaces, but for the space between date and time."""
        return re.sub(r"(?<!,) ", "\N{NO-BREAK SPACE}", text) if self._unbroken else text


def translator(code: str, timezone: tzinfo = UTC, *, unbroken: bool = False) -> Translator:
    """Return the translator for a language tag; the source language for an unknown one."""
    return _translator(language_of(code), timezone, unbroken)


@lru_cache(maxsize=256)
def _translator(language: Language, timezone: tzinfo, unbroken: bool) -> Translator:
    return Translator(language, timezone, unbroken=unbroken)


def translate_sentence(sentence: str, locale: str = SOURCE_LANGUAGE, timezone: str = "UTC") -> str:
    """Return a stored sentence as text, outside of a request: for emails, the API and commands."""
    return translator(locale, time_zone(timezone)).translate(sentence)


@cache
def former_sentences() -> Mapping[str, str]:
    """Return the texts of sentences in rows that earlier versions wrote, with their texts of today."""
    return tomllib.loads(_FORMER_SENTENCES.read_text("utf-8"))


def _with_mapping(text: TranslationString, mapping: Mapping[str, Any] | None) -> TranslationString:
    today = former_sentences().get(str(text))
    return TranslationString(
        today or str(text),
        domain=text.domain,
        default=today or text.default,
        mapping=mapping,
        context=text.context,
    )


@lru_cache(maxsize=32)
def _catalogue(language: Language, unbroken: bool) -> tuple[Any, Any]:
    """Return functions that look up a text and a plural sentence."""
    found = Translations.load(languages.CATALOGUES, [language.code], DOMAIN)
    if not unbroken:
        return text_translator(found), Pluralizer(found)
    return text_translator(found, policy=_unbroken_text), Pluralizer(found, policy=_unbroken_plural)


def _unbroken_text(*asked: Any) -> str:
    return unbroken_text(str(dugettext_policy(*asked)))


def _unbroken_plural(*asked: Any) -> str:
    return unbroken_text(str(dungettext_policy(*asked)))
