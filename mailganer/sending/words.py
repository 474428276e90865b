"""Sentences that are kept with a row: in the language of the account they are for."""

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from babel import dates
from pyramid.i18n import Localizer, make_localizer
from translationstring import TranslationString


def say(sentence: str, locale: str = "en") -> str:
    """A translation string as text; those inside it are translated too."""
    if isinstance(sentence, TranslationString) and sentence.mapping:
        mapping = {name: _value(value, locale) for name, value in sentence.mapping.items()}
        sentence = TranslationString(
            sentence, domain=sentence.domain, default=sentence.default, mapping=mapping
        )
    return _localizer(locale).translate(sentence)


def say_moment(moment: datetime, timezone: str, locale: str = "en") -> str:
    """23 November 2026, 09:14"""
    return dates.format_datetime(moment.astimezone(ZoneInfo(timezone)), "d MMMM y, HH:mm", locale=locale)


def _value(value: Any, locale: str) -> Any:
    return say(value, locale) if isinstance(value, TranslationString) else value


@cache
def _localizer(locale: str) -> Localizer:
    return make_localizer(locale, [str(files("mailganer") / "locale")])
