"""A subject as plain text, where there is no recipient: in lists, beside steps, on cards."""

from datetime import date

import pytest

from mailganer.campaigns.content import plain_line
from mailganer.i18n.ready_templates import ready_templates

DAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("News of today", "News of today"),
        ("{{ first_name }}, news", "[first_name], news"),
        ("Welcome, {{ first_name|default('friend') }}", "Welcome, friend"),
        ("{{ today|date('LLLL', 'ru')|capitalize }} за пять минут", "Ноябрь за пять минут"),
        ("{{ today|date('%d.%m.%Y') }}", "26.11.2026"),
        ("{{ today }}", "2026-11-26"),
        ("{{ today|date('HH:mm') }}", "[today]"),
        ("Hello{% if first_name %}, {{ first_name }}{% endif %}", "Hello"),
        ("{% if town %}In {{ town }}{% else %}At your place{% endif %}", "At your place"),
        ("{% if a %}{% if b %}1{% else %}2{% endif %}{% else %}3{% endif %}", "3"),
        ("{% if a %}1{% elif b %}2{% else %}3{% endif %}", "3"),
        ("{# not said #}{{ 'a'|upper }}", "…"),
        ("{{ first_name", "{{ first_name"),
        ("{% if a %}and no end", "and no end"),
    ],
)
def test_a_subject_is_rendered_without_a_recipient(template, words):
    assert plain_line(template, DAY) == words


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_the_subjects_of_ready_emails_are_whole_sentences(locale):
    for ready in ready_templates(locale):
        words = plain_line(ready.subject, DAY)
        assert words[0].isupper()
        assert not set(words) & set("[]{}…")
