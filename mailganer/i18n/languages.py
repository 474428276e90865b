"""The table of languages: one folder beside this module for each, found when the table is first read.

A language is a folder ``i18n/CODE`` with ``language.toml``, and a catalogue
``locale/CODE/LC_MESSAGES/mailganer.po``. CODE is a language tag such as "de" or "pt-BR". Names, formats and
plural rules come from CLDR by way of Babel, which takes six megabytes: they are read when they are used.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from babel import Locale

SOURCE_LANGUAGE: Final = "en"
"""The language of the texts in the code. It needs no catalogue, and replaces unknown languages."""

FOLDER = Path(__file__).parent
CATALOGUES = FOLDER.parent / "locale"
DESCRIPTION: Final = "language.toml"
FOOTER: Final = "footer.toml"
_PLAIN_SPACES: Final = {ord("\N{NO-BREAK SPACE}"): " ", ord("\N{NARROW NO-BREAK SPACE}"): " "}


@dataclass(frozen=True)
class DateFormats:
    """Babel patterns of a date with a time."""

    short: str  # 23 Nov 2026, 09:14
    in_sentence: str  # 23 November 2026, 09:14
    exact: str  # Monday, 23 November 2026, 09:14:05 (Moscow Standard Time)


@dataclass(frozen=True)
class Language:
    """A language of pages and emails."""

    code: str
    """Name of its folder and its catalogue, value of ``lang`` attributes."""

    folder: Path

    @cached_property
    def name(self) -> str:
        """Its name in itself, such as "Русский"."""
        name = Locale.parse(self.code, sep="-").get_display_name() or self.code
        return name[:1].upper() + name[1:]

    @cached_property
    def locale(self) -> Locale:
        """Its CLDR data: formats of dates and numbers."""
        return Locale.parse(self.description["locale"])

    @property
    def plural_form(self) -> Callable[[float], str]:
        """The plural rule of CLDR: a number to "one", "few", "many", "other" ..."""
        rule: Callable[[float], str] = self.locale.plural_form
        return rule

    @cached_property
    def date_formats(self) -> DateFormats:
        return DateFormats(
            short=self._with_time("medium", "short"),
            in_sentence=self._with_time("long", "short"),
            exact=f"{self._with_time('full', 'medium')} (zzzz)",
        )

    def _with_time(self, date: str, time: str) -> str:
        joined = str(self.locale.datetime_formats["medium"])  # those for long dates may say "at"
        parts = {
            "{0}": self.locale.time_formats[time].pattern,
            "{1}": self.locale.date_formats[date].pattern,
        }
        for place, pattern in parts.items():
            joined = joined.replace(place, pattern)
        return joined.translate(_PLAIN_SPACES)

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of its ``language.toml``."""
        return tomllib.loads((self.folder / DESCRIPTION).read_text("utf-8"))

    @cached_property
    def footer(self) -> dict[str, str] | None:
        """The content of its ``footer.toml``, if it has one."""
        path = self.folder / FOOTER
        return tomllib.loads(path.read_text("utf-8")) if path.is_file() else None


def languages() -> tuple[Language, ...]:
    """Return all languages, the one of the source first and the others by their names."""
    return tuple(
        sorted(_table().values(), key=lambda language: (language.code != SOURCE_LANGUAGE, language.name))
    )


def language_codes() -> tuple[str, ...]:
    """Return the codes of all languages, the one of the source first."""
    return tuple(_table())


def language_names() -> tuple[tuple[str, str], ...]:
    """Return code and name of each language, for menus."""
    return tuple((language.code, language.name) for language in languages())


def is_language(code: object) -> bool:
    return code in _table()


def language_of(code: str) -> Language:
    """Return the language for a tag such as "ru" or "ru-RU"; the source language for an unknown one."""
    table = _table()
    return table.get(code) or table.get(code[:2].lower()) or table[SOURCE_LANGUAGE]


def forget() -> None:
    """Read the folders again when the table is next used."""
    _table.cache_clear()


@cache
def _table() -> dict[str, Language]:
    folders = [path.parent for path in FOLDER.glob(f"*/{DESCRIPTION}")]
    folders.sort(key=lambda folder: (folder.name != SOURCE_LANGUAGE, folder.name))
    return {folder.name: Language(folder.name, folder) for folder in folders}
