"""Sentences that are kept with a row: in the language of the account they are for."""

from functools import cache
from importlib.resources import files

from pyramid.i18n import Localizer, make_localizer


def say(sentence: str, locale: str = "en") -> str:
    """A translation string as text."""
    return _localizer(locale).translate(sentence)


@cache
def _localizer(locale: str) -> Localizer:
    return make_localizer(locale, [str(files("mailganer") / "locale")])
