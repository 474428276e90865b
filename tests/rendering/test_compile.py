"""Compiling a user's source: errors and their texts, and the facts about the compiled email."""

from datetime import date

import pytest
from translationstring import TranslationString

from mailganer.errors import EmailError
from mailganer.rendering import (
    CompiledEmail,
    Source,
    Urls,
    compile_email,
    render_link,
    safe_render,
    variables_of,
)

from .conftest import URLS, email_of


@pytest.mark.parametrize(
    ("html", "line", "said"),
    [
        ("<p>\n{{ first_name|foo }}", 2, "no filter “foo”"),
        ("a\nb\n{% if x %}\nc", 3, "“{% if %}” is not closed"),
        ("{{ a b }}", 1, "“b” is not allowed here"),
        ("\n{% fi %}", 2, "no tag “fi”"),
        ("{{ ? }}", 1, "'?' is not allowed here"),
        ("{{ a", 1, "is not closed"),
        ("{# a", 1, "is not closed"),
        ("{{ 'a }}", 1, "is not allowed here"),
        ("{{ a|default(“friend”) }}", 1, "straight quotes"),
        ("{{ a|default(«друг») }}", 1, "straight quotes"),
        ("{{ a|default(„x“) }}", 1, "straight quotes"),
        ("{{ a|default(‘x’) }}", 1, "straight quotes"),
        ("{% if a == “x” %}b{% endif %}", 1, "straight quotes"),
        ("{{ a|default(&ldquo;x&rdquo;) }}", 1, "straight quotes"),
        ("{{ a|default(&#171;x&#187;) }}", 1, "straight quotes"),
        ("x\n\n{{ range(3) }}", 3, "no function “range”"),
        ("{% include 'footer' %}", 1, "cannot include or extend"),
        ("{{ x is nice }}", 1, "no test “nice”"),
        ("{% if x %}{{ y|nope }}{% endif %}", 1, "no filter “nope”"),
        ("a\r\nb\r\n{{ c|nope }}", 3, "no filter “nope”"),
        ("<table>\n<tr>\n{{ 1 / 0 }}", 3, "Division by zero"),
        ("<table>\n{{ 1e400|plural('day', 'days') }}", 2, "A number is too large"),
        ("<table>\n{{ (1e308*10)|int }}", 2, "A number is too large"),
        ("<table>\n{{ [1e308, 1e308]|sum|int }}", 2, "A number is too large"),
        ("<table>\n{{ '%d'|format('1e999'|float) }}", 2, "A number is too large"),
        ("<table>\n{{ 1e9 ** 64 }}", 2, "A number is too large"),
        ("<p>\n\n<a href='https://example.com/'>x</a>\n{{ 'a' - 'b' }}", 4, "must be numbers"),
    ],
)
def test_a_mistake_is_said_with_its_line(html: str, line: int, said: str) -> None:
    with pytest.raises(EmailError) as caught:
        compile_email(Source("x", html=html))
    assert said in str(caught.value)
    assert (caught.value.field, caught.value.line) == ("html", line)


@pytest.mark.parametrize("field", ["subject", "preheader", "html", "text"])
def test_a_mistake_names_its_field(field: str) -> None:
    written = {"subject": "x", "html": "<p>x</p>", field: "\n{{ x|nope }}"}
    with pytest.raises(EmailError) as caught:
        compile_email(Source(**written))
    assert (caught.value.field, caught.value.line) == (field, 2)


def test_the_sentence_can_still_be_said_in_another_language() -> None:
    with pytest.raises(EmailError) as caught:
        compile_email(Source("x", html="{{ x|foo }}"))
    message = caught.value.message
    assert message == "Emails have no filter “${name}”."
    assert isinstance(message, TranslationString)
    assert message.domain == "mailganer"
    assert message.mapping == {"name": "foo"}


def test_an_empty_email_is_refused() -> None:
    with pytest.raises(EmailError, match="empty"):
        compile_email(Source("x", html="  \n"))


def test_an_empty_subject_compiles() -> None:
    assert compile_email(Source("", html="<p>x</p>")).subject == ""


# --- variables


def test_an_email_knows_the_names_it_uses() -> None:
    source = Source(
        "{{ first_name }}",
        "{{ city|default('x') }}",
        "<p>{{ campaign.name }} {{ list['name'] }} {% if vip %}{% endif %} {{ last_name.upper() }}"
        "{% for row in rows %}{{ row }}{{ loop.index }}{% endfor %}{% set mine = 1 %}{{ mine }}"
        "{{ birthday.year }}<a href='https://example.com/?q={{ code }}'>x</a></p>"
        "{% macro m(inner) %}{{ inner }}{% endmacro %}{{ m(outer) }}",
        "{{ only_text }}",
    )
    expected = {
        "first_name",
        "city",
        "campaign.name",
        "list.name",
        "vip",
        "last_name",
        "rows",
        "birthday",
        "code",
    }
    assert variables_of(source) == expected | {"outer", "only_text"}
    assert compile_email(source).variables == variables_of(source)


def test_names_used_by_used_campaign_variables_count_too() -> None:
    email = compile_email(
        Source("x", html="{{ promo }}"), campaign_variables={"promo": "{{ city }}", "unused": "{{ nobody }}"}
    )
    assert email.variables == {"promo", "city"}


def test_campaign_variables_fill_gaps_and_override_only_when_set_to() -> None:
    source = Source("{{ city }}/{{ code }}", html="<p>{{ city }}</p>")
    given = {"city": "Town & {{ country|default('land') }}", "code": "A{{ 1 + 1 }}"}
    email = compile_email(source, campaign_variables=given, overriding=["code"])
    assert safe_render(email, {"code": "own"}).subject == "Town & land/A2"
    assert safe_render(email, {"city": " ", "country": "<X>"}).html.count("Town &amp; &lt;X&gt;") == 1
    assert safe_render(email, {"city": "Riga", "code": "own"}).subject == "Riga/A2"


def test_campaign_variables_may_be_made_of_each_other_but_not_in_a_circle() -> None:
    source = Source("{{ a }}", html="x")
    email = compile_email(source, campaign_variables={"a": "<{{ b }}>", "c": "3", "b": "[{{ c }}]"})
    assert safe_render(email, {}).subject == "<[3]>"
    with pytest.raises(EmailError, match="circle"):
        compile_email(source, campaign_variables={"a": "{{ b }}", "b": "{{ a }}"})


def test_a_campaign_variable_may_extend_the_recipients_own_value() -> None:
    email = compile_email(
        Source("{{ name }}", html="x"), campaign_variables={"name": "Dr. {{ name }}"}, overriding=["name"]
    )
    assert safe_render(email, {"name": "Who"}).subject == "Dr. Who"


def test_a_mistake_in_a_campaign_variable_names_the_variable() -> None:
    with pytest.raises(EmailError, match="no filter “foo”") as caught:
        compile_email(Source("x", html="x"), campaign_variables={"promo": "{{ x|foo }}"})
    assert caught.value.field == "variables.promo"


def test_a_campaign_variable_does_not_become_code() -> None:
    email = compile_email(Source("x", html="<p>{{ promo }}</p>"), campaign_variables={"promo": "{{ city }}"})
    assert "<p>{{ 7*7 }}</p>" in safe_render(email, {"city": "{{ 7*7 }}"}).html


# --- rendering for pages


def test_missing_values_are_empty_and_fail_nothing() -> None:
    uses = "{{ a }}{{ a.b.c }}{{ a[0] }}{{ a + 1 }}{{ a * 2 }}{{ -a }}"
    more = "{{ a|upper }}{{ a.x() }}{{ a|round }}{{ a|date }}{{ b|upper }}"
    logic = "{% if a > 3 or a or a == 'x' %}x{% endif %}{% for x in a %}x{% endfor %}"
    email = compile_email(Source("x", html=f"<p>[{uses}{more}{logic}]</p>"))
    for values in ({}, {"a": None}):
        assert "<p>[]</p>" in safe_render(email, values).html


def test_a_preview_without_addresses_leads_where_the_links_lead() -> None:
    email = compile_email(
        Source(
            "x",
            html='<a href="https://example.com/?a=1&amp;b={{ b }}">x</a>'
            '<a href="{{ unsubscribe_url }}">u</a>',
        )
    )
    html = safe_render(email, {"b": "2"}).html
    assert 'href="https://example.com/?a=1&amp;b=2"' in html
    assert 'href="#"' in html
    assert "<img" not in html


def test_a_page_with_addresses_is_counted() -> None:
    email = compile_email(Source("x", html='<a href="https://example.com/">x</a>'))
    html = safe_render(email, {}, urls=URLS).html
    assert f'href="{URLS.click}/1"' in html
    assert f'src="{URLS.open}"' in html


def test_a_page_without_a_pixel_address_has_no_pixel() -> None:
    urls = Urls(unsubscribe="https://e.com/u", browser="https://e.com/v", open="", click="https://e.com/c")
    email = compile_email(Source("x", html="<p>x</p>"))
    assert "<img" not in safe_render(email, {}, urls=urls).html


def test_dates_and_numbers_reach_the_child_as_what_they_are() -> None:
    email = compile_email(
        Source("{{ day|date('d MMMM') }} {{ n + 1 }} {{ tags|join('+') }} {{ c.name }}", html="x")
    )
    values = {"day": date(2026, 5, 1), "n": 4, "tags": ["a", "b"], "c": {"name": "N"}}
    assert safe_render(email, values, locale="ru").subject == "1 мая 5 a+b N"
    assert safe_render(email, values).subject == "1 May 5 a+b N"


def test_an_email_that_fails_for_one_recipient_shows_where() -> None:
    email = compile_email(Source("x", html="<p>ok</p>\n<p>{% if n %}{{ n - 'a' }}{% endif %}</p>"))
    with pytest.raises(EmailError) as caught:
        safe_render(email, {"n": 1})
    assert (caught.value.field, caught.value.line) == ("html", 2)


# --- clicks


def link(html: str, **values: object) -> str:
    return render_link(email_of(html), 1, values)


def test_a_click_leads_to_the_recipients_own_target() -> None:
    html = '<a href="https://shop.example.com/?name={{ name|urlencode }}&amp;n={{ n }}#top">x</a>'
    assert link(html, name="Анна & co", n=3).endswith("?name=%D0%90%D0%BD%D0%BD%D0%B0%20%26%20co&n=3#top")


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JavaScript://example.com/%0aalert(1)",
        "data:text/html,x",
        "//evil.example",
        "/relative",
        "",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://good.example\\@evil.example/",
        "https://exa mple.com/",
        "http://[::1",
        "mailto:a@example.com",
        "file:///etc/passwd",
        "x" * 5000,
    ],
)
def test_a_click_never_leads_anywhere_but_to_a_web_page(target: str) -> None:
    with pytest.raises(EmailError):
        link('<a href="{{ url }}">x</a>', url=target)


def test_a_target_is_safe_in_a_header() -> None:
    found = link('<a href="{{ url }}">x</a>', url="https://пример.рф/путь\r\nSet-Cookie: a=b?q=\u2028ё")
    assert found.isascii()
    assert found.isprintable()
    assert found.startswith("https://xn--e1afmkfd.xn--p1ai/")
    assert " " not in found


def test_campaign_variables_fill_links_too() -> None:
    email = email_of('<a href="{{ shop }}/sale">x</a>', variables={"shop": "https://{{ city }}.example.com"})
    assert render_link(email, 1, {"city": "riga"}) == "https://riga.example.com/sale"


@pytest.mark.parametrize("number", [0, 2, -1, 10**9])
def test_a_link_that_is_not_there_is_said(number: int) -> None:
    email = email_of('<a href="https://example.com/">x</a>')
    with pytest.raises(EmailError):
        render_link(email, number, {})


def test_an_email_is_plain_json() -> None:
    email = compile_email(Source("x", html="<p>{{ a }}</p>"), campaign_variables={"a": "1"}, overriding=["a"])
    assert CompiledEmail.from_json(email.to_json()) == email
    assert email.fills == (("a", "1", True),)
