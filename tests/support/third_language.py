"""A language made on the fly: a folder and a catalogue, as docs/languages.md describes.

Ukrainian, because its dates and plural rule are not those of the shipped languages, and have no Latin letter.
Its texts are those of the source in full-width letters, so a Latin word on a page was not translated.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from mailganer.i18n import languages

CODE = "uk"
FORMS = "①②③"  # put before the forms of a plural sentence
_KEPT = re.compile(r"%\(\w+\)s|%%|\$\{\w+\}|<[^>]*>|&\w+;")
_WIDE = {code: code + 0xFEE0 for code in (*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1))}
_TEMPLATE_NAME = '"name": "'


@contextmanager
def third_language(folder: Path) -> Iterator[str]:
    """Add the language beside the shipped ones until the block ends; yield its code."""
    shipped, catalogues = languages.FOLDER, languages.CATALOGUES
    for code, _name in languages.language_names():
        shutil.copytree(shipped / code, folder / "i18n" / code)
        if (catalogues / code).exists():
            shutil.copytree(catalogues / code, folder / "locale" / code)
    _write_folder(folder / "i18n" / CODE, shipped / "ru")
    _write_catalogue(folder / "locale" / CODE, catalogues / "ru" / "LC_MESSAGES" / "mailganer.po")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(languages, "FOLDER", folder / "i18n")
        patch.setattr(languages, "CATALOGUES", folder / "locale")
        languages.forget()
        try:
            yield CODE
        finally:
            patch.undo()
            languages.forget()


def wide(text: str) -> str:
    """Translate a text of the source: its letters become full-width, placeholders and tags stay."""
    kept = iter(_KEPT.findall(text))
    parts = [part.translate(_WIDE) for part in _KEPT.split(text)]
    return parts[0] + "".join(next(kept) + part for part in parts[1:])


def _write_folder(folder: Path, russian: Path) -> None:
    shutil.copytree(russian, folder)
    description = (russian / "language.toml").read_text("utf-8")
    description = description.replace('locale = "ru"', f'locale = "{CODE}"')
    (folder / "language.toml").write_text(description, "utf-8")
    footer = (russian / "footer.toml").read_text("utf-8").replace("Отписаться", "Відписатися")
    (folder / "footer.toml").write_text(footer, "utf-8")
    for path in (folder / "templates").glob("*.html"):
        text = path.read_text("utf-8").replace(_TEMPLATE_NAME, f"{_TEMPLATE_NAME}★ ", 1)
        path.write_text(text, "utf-8")


def _write_catalogue(folder: Path, source: Path) -> None:
    with source.open("rb") as file:
        texts = read_po(file, locale="ru", domain="mailganer")
    catalogue = Catalog(CODE, domain="mailganer", charset="utf-8")
    assert catalogue.num_plurals == len(FORMS)
    for message in texts:
        if isinstance(message.id, tuple):
            forms = tuple(form + wide(message.id[form != FORMS[0]]) for form in FORMS)
            catalogue.add(message.id, forms, context=message.context)
        elif message.id:
            context = f"{message.context}: " if message.context else ""
            catalogue.add(message.id, wide(context + message.id), context=message.context)
    (folder / "LC_MESSAGES").mkdir(parents=True)
    with (folder / "LC_MESSAGES" / "mailganer.mo").open("wb") as file:
        write_mo(file, catalogue)
