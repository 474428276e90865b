"""The ready templates compile, use no unknown variables, fetch nothing and fit a phone."""

import re
from datetime import date

import pytest

from mailganer.i18n.languages import language_names
from mailganer.i18n.ready_templates import KINDS, ReadyTemplate, ready_templates
from mailganer.rendering import GIVEN, Source, compile_email, safe_render

CONTACT_FIELDS = frozenset(("first_name", "last_name", "birthday"))
ALL = [(locale, email) for locale, _name in language_names() for email in ready_templates(locale)]
each = pytest.mark.parametrize(
    ("locale", "ready"), ALL, ids=[f"{ready.kind}-{locale}" for locale, ready in ALL]
)


def source(ready: ReadyTemplate) -> Source:
    return Source(ready.subject, ready.preheader, ready.html)


def test_there_are_five_kinds_in_both_languages() -> None:
    for locale, _name in language_names():
        assert [email.kind for email in ready_templates(locale)] == list(KINDS)
    assert ready_templates("ru-RU") == ready_templates("ru")
    assert ready_templates("de") == ready_templates("en")
    assert ready_templates("ru") != ready_templates("en")


@each
def test_a_ready_email_names_only_what_every_recipient_has(locale: str, ready: ReadyTemplate) -> None:
    email = compile_email(source(ready))
    assert email.variables <= GIVEN | CONTACT_FIELDS
    assert {"unsubscribe_url", "browser_url"} <= email.variables
    assert email.links
    assert ready.name
    assert ready.preheader


@each
def test_a_ready_email_reads_well_with_a_name_and_without(locale: str, ready: ReadyTemplate) -> None:
    email = compile_email(source(ready))
    sender: dict[str, object] = {"sender": {"name": "Мастерская"}, "today": date(2026, 11, 23)}
    for values in (sender, sender | {"first_name": "Анна"}):
        found = safe_render(email, values, locale=locale)
        for line in (found.subject, found.preheader, *found.text.splitlines()):
            assert not re.search(r"[{}]|None|\(\)|^ | $|  | [,.!]|^[,.!]|,\s*[!.]", line), line
        assert ("Анна" in found.subject + found.text) == ("first_name" in values)
        assert "\n\n\n" not in found.text
        for part in (found.subject, found.text):
            assert part[0].isupper()


@each
def test_a_ready_email_fetches_nothing(locale: str, ready: ReadyTemplate) -> None:
    assert not re.search(r"<img|<link|<script|@import|url\(|<iframe|<video", ready.html, re.IGNORECASE)


@each
def test_a_ready_email_keeps_to_what_mail_programs_can_do(locale: str, ready: ReadyTemplate) -> None:
    assert f'<html lang="{locale}"' in ready.html
    assert 'name="color-scheme" content="light dark"' in ready.html
    assert "prefers-color-scheme: dark" in ready.html
    assert "max-width: 620px" in ready.html
    assert "v:roundrect" in ready.html  # a button in Outlook, too
    assert len(safe_render(compile_email(source(ready)), {}).html) < 60_000  # Gmail cuts at 102 KB
    for table in re.findall(r"<table[^>]*>", ready.html):
        assert 'role="presentation"' in table


@each
def test_a_ready_email_fits_a_phone_and_a_dark_room(locale: str, ready: ReadyTemplate, page) -> None:
    values = {
        "first_name": "Александра",
        "sender": {"name": "Мастерская у моря"},
        "today": date(2026, 11, 23),
    }
    html = safe_render(compile_email(source(ready)), values, locale=locale).html
    for width in (320, 390, 700):
        page.set_viewport_size({"width": width, "height": 800})
        page.set_content(html)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(color_scheme="dark")
    ink, paper = page.evaluate(
        """() => {
            const text = document.querySelector('td.text, .text');
            const card = text.closest('.card');
            return [getComputedStyle(text).color, getComputedStyle(card).backgroundColor];
        }"""
    )
    assert brightness(ink) > 150
    assert brightness(paper) < 60


def brightness(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 3
