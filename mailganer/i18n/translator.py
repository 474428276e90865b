"""The translator: texts, plural sentences, dates and numbers in one language and time zone.

Pages and the API use it as ``request.localizer``, everything else by :func:`translator`. All text; the web
layer adds markup.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel.support import Translations
from translationstring import Pluralizer, TranslationString, dugettext_policy, dungettext_policy
from translationstring import Translator as text_translator

from . import languages
from .formatter import Formatter
from .languages import SOURCE_LANGUAGE, Language, language_of
from .line_breaks import unbroken_text, unbroken_variables
from .localized_text import LocalizedText
from .sentences import Forms
from .time_zones import time_zone

DOMAIN = "mailganer"
_FORMER_SENTENCES = Path(__file__).with_name("former_sentences.toml")


class Translator(Formatter):
    """Formats texts and values in one language and time zone.

    On a page, ``unbroken`` joins the parts of a date, and short words to the next one, with no-break spaces.
    """

    def __init__(self, language: Language, timezone: tzinfo = UTC, *, unbroken: bool = False) -> None:
        super().__init__(language, timezone, unbroken=unbroken)
        self._texts, self._plurals = _catalogue(language, unbroken)

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
