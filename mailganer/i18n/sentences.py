"""Translation of stored sentences outside of pages: in emails, the API and commands."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import dates
from babel.support import Translations
from translationstring import TranslationString, Translator

from ..errors import BackendError, InputError, MailganerError, _, composed, with_mapping
from .languages import CATALOGUES, SOURCE_LANGUAGE, language_of


def translate_sentence(sentence: str, locale: str = SOURCE_LANGUAGE, timezone: str = "UTC") -> str:
    """Return a translation string as text; sentences and datetimes inside it are translated, too."""
    if isinstance(sentence, TranslationString) and sentence.mapping:
        mapping = {name: _value(value, locale, timezone) for name, value in sentence.mapping.items()}
        sentence = with_mapping(sentence, mapping)
    return str(_translator(language_of(locale).code)(sentence))


def format_moment(moment: datetime, timezone: str, locale: str = SOURCE_LANGUAGE) -> str:
    """Format a datetime within a sentence: 23 November 2026, 09:14."""
    language = language_of(locale)
    here = moment.astimezone(ZoneInfo(timezone))
    return dates.format_datetime(here, language.date_formats.in_sentence, locale=language.locale)


def join_sentences(sentences: Iterable[str]) -> str:
    """Join several sentences into one that can still be translated."""
    parts = {f"part{number}": sentence for number, sentence in enumerate(sentences)}
    return composed(" ".join(f"${{{name}}}" for name in parts), parts)


def sentence_of(error: Exception) -> str:
    """Return the message for an error, in our own words."""
    if isinstance(error, InputError):
        return join_sentences(error.fields.values())
    return error.message if isinstance(error, MailganerError) else _UNEXPECTED


def with_reply(error: Exception) -> str:
    """Return the message for an error, followed by the server's answer."""
    reply = reply_beside(error)
    if not reply:
        return sentence_of(error)
    parts = {"sentence": sentence_of(error), "reply": reply}
    return composed("${sentence} ${reply}", parts)


def reply_beside(error: Exception) -> str:
    """Return the server's answer, or an empty string when the message of the error contains it."""
    if not isinstance(error, BackendError):
        return ""
    mapping = getattr(error.message, "mapping", None) or {}
    is_said = error.reply.rstrip(".") in {str(value).rstrip(".") for value in mapping.values()}
    return "" if is_said else error.reply


_UNEXPECTED = _(
    "The way to this mail server is broken. Whoever runs this installation finds more in its log."
)


def _value(value: Any, locale: str, timezone: str) -> Any:
    if isinstance(value, datetime):
        return format_moment(value, timezone, locale)
    return translate_sentence(value, locale, timezone) if isinstance(value, TranslationString) else value


@cache
def _translator(locale: str) -> Callable[[str], str]:
    """Return a translator like that of Pyramid's pages, for processes without Pyramid."""
    translator: Callable[[str], str] = Translator(Translations.load(CATALOGUES, [locale], "mailganer"))
    return translator
