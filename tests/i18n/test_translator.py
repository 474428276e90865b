"""The translator: one for pages, emails, the API and commands."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailganer.errors import _
from mailganer.i18n.line_breaks import unbroken_text
from mailganer.i18n.sentences import ngettext
from mailganer.i18n.translator import translate_sentence, translator
from mailganer.web import localization

AT = datetime(2026, 12, 4, 7, 5, tzinfo=UTC)
MOSCOW = ZoneInfo("Europe/Moscow")
SENTENCE = _("Choose one of these languages: ${languages}.", mapping={"languages": AT})


@pytest.mark.parametrize("code", ["en", "ru"])
def test_pages_and_stored_sentences_have_the_same_words(code: str) -> None:
    page: Any = SimpleNamespace(locale_name=code, timezone=MOSCOW, path="/")
    shown = localization.translate(page, SENTENCE)
    assert shown.replace("\N{NO-BREAK SPACE}", " ") == translate_sentence(SENTENCE, code, "Europe/Moscow")


def test_a_datetime_in_a_sentence_is_in_the_users_time_zone() -> None:
    assert translate_sentence(SENTENCE) == "Choose one of these languages: 4 December 2026, 07:05."
    assert "4 декабря 2026 г., 10:05" in translate_sentence(SENTENCE, "ru", "Europe/Moscow")
    assert "4\xa0декабря\xa02026\xa0г., 10:05" in translator("ru", MOSCOW, unbroken=True).translate(SENTENCE)


def test_a_plain_text_is_looked_up_only_for_a_template() -> None:
    """A list may be called like a label of ours."""
    russian = translator("ru")
    assert russian.translate("Draft") == "Draft"
    assert russian.translate("Draft", domain="mailganer") == "Черновик"


def test_counted_sentences_follow_the_plural_rule_of_the_language() -> None:
    forms = ngettext("${number} email will be resent.", "${number} emails will be resent.")
    assert [translator("en").counted(forms, number).split()[1] for number in (1, 2)] == ["email", "emails"]
    russian = [translator("ru").counted(forms, number) for number in (1, 3, 5)]
    assert len({text.replace(number, "") for text, number in zip(russian, "135", strict=True)}) == 3


def test_an_unknown_language_is_that_of_the_source() -> None:
    assert translate_sentence(SENTENCE, "xx") == translate_sentence(SENTENCE)


def test_a_short_russian_word_stays_with_the_next_one_on_pages() -> None:
    sentence = _("Emails and passwords are sent only over an encrypted connection. Choose TLS or STARTTLS.")
    russian = translator("ru").translate(sentence)
    assert "Письма и пароли передаются только по зашифрованному" in russian
    assert translator("ru", unbroken=True).translate(sentence) == (
        russian.replace(" и ", " и\xa0").replace(" по ", " по\xa0")
    )
    assert unbroken_text("Если бы не то же «в доме»") == "Если бы не\xa0то\xa0же «в\xa0доме»"


@pytest.mark.parametrize("code", ["en", "ru"])
def test_a_variable_in_a_text_keeps_its_braces(code: str) -> None:
    pages = translator(code, unbroken=True)
    assert "{{\xa0city\xa0}}" in pages.translate(
        _("Emails can use it by name. For example, write {{ city }} to insert the field “city”.")
    )
    likely = _("Unknown field. Did you mean “${likely}”?", mapping={"likely": "{{ city }}"})
    assert "{{\xa0city\xa0}}" in pages.translate(likely)
    assert "{{ city }}" in translator(code).translate(likely)
