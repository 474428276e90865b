"""The fast path, which joins encoded pieces, renders the same emails as the general path."""

import quopri
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailganer.rendering import CompiledEmail, MessageRenderer, quoted_printable
from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.render_budget import RenderBudget
from mailganer.rendering.sandbox import HTML, TEXT, CompiledTemplate

from .conftest import COPY, ENVELOPE, URLS, email_of, part

# Hard cases of encoders: line ends, white space before them, "=", dots, long lines, 2-4 byte characters.
ODD = st.one_of(
    st.text(alphabet="a =.\t\r\n\u00a0я…𝔘{%#}<&\"'", max_size=120),
    st.text(max_size=40),
    st.integers(60, 90).map(lambda n: "x" * n),
    st.integers(20, 45).map(lambda n: "я" * n),
    st.integers(1, 400).map(lambda n: "." * n),
    st.integers(60, 160).map(lambda n: "x" * n + "." * 5),
    st.integers(60, 160).map(lambda n: "a b=" * (n // 4) + " " * (n % 5)),
)


def decoded(pieces: str) -> str:
    for line in pieces.split("\r\n"):
        assert len(line) <= 76
        assert "\r" not in line
        assert "\n" not in line
        assert not line.endswith((" ", "\t"))
        assert not line.startswith(".")
    return quopri.decodestring(pieces.encode("ascii")).decode("utf-8", "replace").replace("\r\n", "\n")


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@settings(max_examples=400, deadline=None)
@given(st.lists(ODD, max_size=6))
def test_pieces_put_together_decode_to_their_texts(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    assert decoded("".join(map(quoted_printable.encode, texts)) + "\r\n").removesuffix("\n") == "".join(
        map(normal, texts)
    )


def test_every_piece_ends_its_line() -> None:
    for text in (
        "x",
        ".",
        ".x",
        "." * 75,
        "." * 76,
        "x" * 75,
        "x" * 76,
        "x" * 77,
        "я",
        "x ",
        "x\n",
        "\n",
        " \n",
        "=" * 40,
    ):
        assert quoted_printable.encode(text).endswith("\r\n")
    assert quoted_printable.encode("") == ""


# --- whole templates

_CONSTANT = ODD.map(lambda text: text.replace("{", "(").replace("}", ")"))
_NAMES = ("first_name", "city", "n", "day", "nobody")
_EXPRESSION = st.sampled_from(
    (
        "first_name",
        "city",
        "n",
        "day",
        "nobody",
        "first_name|upper",
        "city|default('nowhere — here')",
        "first_name ~ ', ' ~ city",
        "'<b>' ~ city",
        "city|safe",
        "city|e",
        "n * 2",
        "n|plural('письмо', 'письма', 'писем')",
        "day|date('d MMMM')",
        "city|replace('a', '<')",
        "city|urlencode",
        "[first_name, city]|join(' & ')",
        "city if n > 3 else first_name",
        "city[:3]",
        "unsubscribe_url",
        "_click",
    )
)


def _blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        inner.map(lambda body: "{% if n > 3 %}" + body + "{% else %}-{% endif %}"),
        inner.map(
            lambda body: "{% for x in [city, n, '=\n'] %}" + body + "{{ x }}{{ loop.index }}{% endfor %}"
        ),
        inner.map(lambda body: "{% set z = city %}" + body + "{{ z }}"),
    )


TEMPLATES = st.recursive(
    st.one_of(_CONSTANT, _EXPRESSION.map(lambda inside: "{{ " + inside + " }}")), _blocks, max_leaves=12
)
# Rendered text that the template itself keeps or changes: these take the general path.
CAPTURING = st.tuples(TEMPLATES, _CONSTANT).map(
    lambda both: (
        "{% macro m(x) %}"
        + both[1]
        + "{{ x }}{% endmacro %}{{ m(city) }}{% set k %}{{ city }}"
        + both[1]
        + "{% endset %}"
        "{{ k|upper }}{% filter lower %}" + both[1] + "{{ first_name }}{% endfilter %}" + both[0]
    )
)
VALUES = st.fixed_dictionaries(
    {
        "first_name": ODD,
        "city": ODD,
        "n": st.one_of(st.integers(-5, 100), st.sampled_from(("", "7", "1,5"))),
        "day": st.sampled_from((None, date(2026, 5, 1), "2026-11-23", "")),
    }
)


def bare(html: str, text: str) -> CompiledEmail:
    """An email with unchanged sources, so that only rendering is tested."""
    return CompiledEmail("s", "", html, text, (), frozenset())


def same_both_ways(template: str, values: dict[str, Any]) -> None:
    email = bare(template, template)
    copy = COPY._replace(values=values)
    message = MessageRenderer(email, replace(ENVELOPE, locale="ru")).render(copy)
    known = {**values, **recipient_links(URLS)}
    for kind, environment in (("html", HTML), ("plain", TEXT)):
        ordinary = CompiledTemplate(template, kind, environment).render(known, RenderBudget("ru"))
        # A part ends with the line end before its boundary.
        assert part(message, kind).removesuffix("\n") in (
            normal(ordinary),
            normal(ordinary).removesuffix("\n"),
        )
    assert all(len(line) <= 998 for line in message.split(b"\r\n"))
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert b"\n." not in message


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(TEMPLATES, VALUES)
def test_printing_pieces_gives_what_ordinary_rendering_gives(template: str, values: dict[str, Any]) -> None:
    same_both_ways(template or "x", values)


@settings(max_examples=60, deadline=None)
@given(CAPTURING, VALUES)
def test_templates_that_keep_rendered_text_give_the_same_too(template: str, values: dict[str, Any]) -> None:
    same_both_ways(template, values)


def test_a_template_that_captures_text_is_encoded_as_a_whole() -> None:
    email = email_of("{% set k %}<b>{{ first_name }}</b>{% endset %}<p>{{ k|upper }}</p>")
    message = MessageRenderer(email, ENVELOPE).render(COPY)
    assert b"base64" in message
    assert "<p><B>АННА</B></p>" in part(message, "html")


def test_values_that_repeat_are_not_mixed_up_with_others_of_the_same_sign() -> None:
    email = email_of("<p>{{ a }}|{{ b }}|{{ c }}|{{ d|safe }}|{{ d }}</p>")
    renderer = MessageRenderer(email, ENVELOPE)
    for _again in range(2):
        message = renderer.render(COPY._replace(values={"a": 1, "b": "1", "c": True, "d": "<i>"}))
        assert "<p>1|1|True|<i>|&lt;i&gt;</p>" in part(message, "html")


def test_a_press_prints_one_reader_after_another_without_traces() -> None:
    engine = email_of("<p>{{ first_name|default('friend') }}</p>", subject="{{ first_name }}")
    renderer = MessageRenderer(engine, ENVELOPE)
    first = renderer.render(COPY)
    renderer.render(COPY._replace(values={"first_name": "Борис"}))
    assert renderer.render(COPY) == first
    assert "friend" in part(renderer.render(COPY._replace(values={})), "html")


def test_dates_are_in_the_emails_language() -> None:
    email = email_of("<p>{{ birthday|date('d MMMM') }}</p>")
    copy = COPY._replace(values={"birthday": date(1990, 5, 1)})
    assert "1 мая" in part(MessageRenderer(email, ENVELOPE).render(copy), "html")
    assert "1 May" in part(MessageRenderer(email, replace(ENVELOPE, locale="en")).render(copy), "html")


def test_the_engine_and_the_press_agree_on_a_real_email() -> None:
    email = email_of(
        "<style>p{color:red}</style>"
        '<table>{% for x in ["=", "б", "c "] %}<tr><td>{{ x }}</td></tr>{% endfor %}</table>'
        '<p>{{ first_name }} <a href="https://e.com/?q={{ first_name|urlencode }}">тут</a></p>',
        preheader="Для {{ first_name }} & всех",
    )
    message = MessageRenderer(email, ENVELOPE).render(COPY)
    rendered = Engine(email).render({**COPY.values, **recipient_links(URLS)}, RenderBudget("ru"))
    assert part(message, "html").removesuffix("\n") == rendered.html
    assert part(message, "plain").rstrip("\n") == rendered.text.rstrip("\n")


def test_many_empty_pieces_in_a_row_do_not_end_the_email() -> None:
    same_both_ways("{% for x in 'x' * 500 %}{{ nobody }}{% endfor %}the end", {})
