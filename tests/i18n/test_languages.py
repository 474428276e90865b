"""The table of languages: what is in the folders is offered everywhere."""

from pathlib import Path

import pytest

from mailganer import rendering
from mailganer.i18n import languages


def test_english_comes_first_and_each_language_is_named_in_itself() -> None:
    assert languages.language_names() == (("en", "English"), ("ru", "Русский"))


def test_formats_and_plural_rules_are_those_of_cldr() -> None:
    english, russian = languages.languages()
    assert english.date_formats == languages.DateFormats(
        "d MMM y, HH:mm", "d MMMM y, HH:mm", "EEEE, d MMMM y, HH:mm:ss (zzzz)"
    )
    assert russian.date_formats == languages.DateFormats(
        "d MMM y 'г'., HH:mm", "d MMMM y 'г'., HH:mm", "EEEE, d MMMM y 'г'., HH:mm:ss (zzzz)"
    )
    assert [english.plural_form(number) for number in (1, 2, 5)] == ["one", "other", "other"]
    assert [russian.plural_form(number) for number in (21, 22, 25)] == ["one", "few", "many"]


@pytest.mark.parametrize(
    ("tag", "code"), [("ru", "ru"), ("ru-RU", "ru"), ("RU", "ru"), ("de", "en"), ("", "en")]
)
def test_a_tag_is_read_as_a_language_there_is(tag: str, code: str) -> None:
    assert languages.language_of(tag).code == code


def test_every_language_but_that_of_the_source_has_a_catalogue() -> None:
    catalogues = {path.parent.parent.name for path in languages.CATALOGUES.glob("*/LC_MESSAGES/mailganer.mo")}
    assert catalogues == {code for code, _ in languages.language_names()} - {languages.SOURCE_LANGUAGE}


def test_the_english_footer_is_the_one_of_the_rendering_package() -> None:
    assert languages.language_of("en").footer == rendering.ENGLISH_FOOTER._asdict()


def test_a_folder_makes_a_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, locale in (("en", "en_GB"), ("de", "de"), ("pt-BR", "pt_BR")):
        (tmp_path / code).mkdir()
        (tmp_path / code / "language.toml").write_text(f'locale = "{locale}"\n')
    (tmp_path / "__pycache__").mkdir()
    monkeypatch.setattr(languages, "FOLDER", tmp_path)
    languages._table.cache_clear()
    try:
        assert languages.language_names() == (
            ("en", "English"),
            ("de", "Deutsch"),
            ("pt-BR", "Português (Brasil)"),
        )
        assert languages.language_of("de").date_formats.short == "dd.MM.y, HH:mm"
    finally:
        languages._table.cache_clear()
