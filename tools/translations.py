"""Collect the texts of the program, update the translations and compile them.

``python tools/translations.py [MORE.po ...]`` also takes what is translated in other catalogues.
Prints texts without a translation; with ``--check`` it changes nothing.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from mailganer.i18n.languages import CATALOGUES, SOURCE_LANGUAGE, language_names

ROOT = Path(__file__).resolve().parent.parent
DOMAIN = "mailganer"
KEYWORDS = {**DEFAULT_KEYWORDS, "_": None, "pluralize": (1, 2)}
WIDTH = 110


def main(arguments: Sequence[str]) -> int:
    check = "--check" in arguments
    more = [Path(argument) for argument in arguments if not argument.startswith("-")]
    missing = 0
    for language in translated_languages():
        catalogue = brought_up_to_date(language, more)
        if not check:
            _write(catalogue, language)
        for message in untranslated(catalogue):
            missing += 1
            where = ", ".join(f"{path}:{line}" for path, line in message.locations[:2])
            print(f"{language}: {_english(message)!r} ({where})")
    if missing:
        print(f"{missing} texts have no translation.")
    return 1 if missing else 0


def translated_languages() -> Sequence[str]:
    """Return the languages that need a catalogue: the msgid is the text in the language of the source."""
    return [code for code, _name in language_names() if code != SOURCE_LANGUAGE]


def collected() -> Catalog:
    """Return every text of the program, as a catalogue without translations."""
    catalogue = Catalog(project="Mailganer", charset="utf-8", fuzzy=False)
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = extract_from_dir(
        str(ROOT),
        methods,
        options,
        keywords=KEYWORDS,
        comment_tags=("Translators:",),
        strip_comment_tags=True,
    )
    for path, line, message, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
        catalogue.add(message, None, [(path, line)], auto_comments=comments, context=context)
    return catalogue


def read_catalogue(language: str) -> Catalog:
    """Return the catalogue of a language as it is, or an empty one."""
    path = _po(language)
    if path.exists():
        return _read(path, language)
    return Catalog(_locale(language), domain=DOMAIN, charset="utf-8")


def brought_up_to_date(language: str, more: Sequence[Path] = ()) -> Catalog:
    """Return the existing translations of the current texts, without fuzzy matches."""
    catalogue = read_catalogue(language)
    catalogue.update(collected(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    for other in more:
        _take(_read(other, language), catalogue)
    return catalogue


def untranslated(catalogue: Catalog) -> Iterator[Message]:
    for message in catalogue:
        texts = message.string if isinstance(message.string, tuple | list) else (message.string,)
        if message.id and (message.fuzzy or not all(texts)):
            yield message


def _take(source: Catalog, target: Catalog) -> None:
    for message in source:
        known = target.get(message.id, message.context) if message.id else None
        if known is not None and all(
            message.string if isinstance(message.string, tuple) else (message.string,)
        ):
            known.string = message.string
            known.flags.discard("fuzzy")


def _read(path: Path, language: str) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=_locale(language), domain=DOMAIN)


def _write(catalogue: Catalog, language: str) -> None:
    path = _po(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Without line numbers, a change of the program without new texts changes no catalogue.
        write_po(file, catalogue, width=WIDTH, include_lineno=False, omit_header=False, sort_by_file=True)
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalogue)


def _po(language: str) -> Path:
    return CATALOGUES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def _locale(language: str) -> str:
    return language.replace("-", "_")


def _english(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
