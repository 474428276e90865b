"""Spaces and line ends of the text part around template statements match the rendered HTML."""

import random

import pytest

from mailganer.rendering import html_to_text, markup, sandbox
from mailganer.rendering.placeholders import mask
from mailganer.rendering.render_budget import RenderBudget

RECIPIENTS: tuple[dict[str, str], ...] = (
    {"n": "", "m": "", "items": ""},
    {"n": "X", "m": "", "items": ""},
    {"n": "", "m": "1", "items": "z"},
    {"n": "X", "m": "1", "items": "zyx"},
)


def as_text(source: str) -> str:
    masked = mask(source)
    return html_to_text.text_of(masked, tuple(markup.tokens(masked.text)), {})


def text_part(source: str, values: dict[str, str]) -> str:
    return (
        sandbox.CompiledTemplate(as_text(source), "text", sandbox.TEXT).render(values, RenderBudget()).strip()
    )


def reference(source: str, values: dict[str, str]) -> str:
    """Return the text of the HTML as it was rendered, with no statement left in it."""
    return as_text(
        sandbox.CompiledTemplate(source, "html", sandbox.HTML).render(values, RenderBudget())
    ).strip()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<p>{% if city %}Mr{% else %}Dear{% endif %} "
            "{% if first_name %}Smith{% else %}friend{% endif %}, hello</p>",
            "Dear friend, hello",
        ),
        (
            "<p>Your {% if n %}<b>big</b>{% else %}<i>small</i>{% endif %} "
            "{% if n %}<b>house</b>{% else %}<i>flat</i>{% endif %}.</p>",
            "Your small flat.",
        ),
        ("<p>a {% if n %}b{% else %}c {% endif %}d</p>", "a c d"),
        ("<p>a{% if n %} b{% endif %}, c</p>", "a, c"),
        ("<p>a {% if n %}b{% endif %} c</p>", "a c"),
        ("<p>a {%- if n %} b{% else %}c{% endif -%} d</p>", "acd"),
        ("{% for i in [1,2,3] %}{{ i }}, {% endfor %}end", "1, 2, 3, end"),
        ("<p>x</p>{% for i in [1,2,3] %}{{ i }}, {% endfor %}end", "x\n\n1, 2, 3, end"),
        ("<p>Items:\n{% for i in [1,2] %}\n  {{ i }},\n{% endfor %}\nmore</p>", "Items: 1, 2, more"),
        ("x{% for i in [1,2] %}{{ i }}<br>{% endfor %}y", "x1\n2\ny"),
        ("{% for i in [1,2] %}<p>{{ i }}</p>{% endfor %}<p>y</p>", "1\n\n2\n\ny"),
        ("{% macro m(t) %} <b>{{ t }}</b> {% endmacro %}a{{ m(1) }}b", "a 1 b"),
        ("{% set z %} z {% endset %}a{{ z }}b", "a z b"),
        ('<a href="https://a.test">{% if n %}a{% else %}b {% endif %}c</a>', "b c"),
    ],
)
def test_a_statement_is_no_end_of_a_text(html: str, text: str) -> None:
    assert text_part(html, RECIPIENTS[0]) == text


INLINE = (
    *("a", "b, ", "c.", " d ", " ", "\n", "&nbsp;", "{# c #}"),
    *("<b>e</b>", "<i> f</i>", "<b>g </b>", "{{ n }}", "{{ n }} ", "{{- n }}"),
)
BLOCKS = ("<br>", "<p>h</p>", "<div>i</div>\n")


def markup_of(choose: random.Random, words: tuple[str, ...], depth: int) -> str:
    def inner() -> str:
        return markup_of(choose, words, depth - 1)

    def minus() -> str:
        return choose.choice(("", "", "", "-"))

    pieces = []
    for _turn in range(choose.randint(0, 4)):
        kind = choose.random() if depth else 1
        if kind < 0.25:
            pieces.append(f"{{%{minus()} if {choose.choice('nm')} {minus()}%}}{inner()}")
            if choose.random() < 0.3:
                pieces.append(f"{{% elif m %}}{inner()}")
            if choose.random() < 0.5:
                pieces.append(f"{{% else {minus()}%}}{inner()}")
            pieces.append(f"{{% endif {minus()}%}}")
        elif kind < 0.4:
            loop = choose.choice(("[1, 2, 3]", "[]", "items"))
            pieces.append(f"{{% for i in {loop} %}}{choose.choice(('{{ i }}', ''))}{inner()}")
            if choose.random() < 0.3:
                pieces.append(f"{{% else %}}{inner()}")
            pieces.append("{% endfor %}")
        elif kind < 0.45:
            pieces.append(f"{{% set z %}}{inner()}{{% endset %}}|{{{{ z }}}}|")
        else:
            pieces.append(choose.choice(words))
    return "".join(pieces)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "depth"), [(INLINE, 2), ((*INLINE, *BLOCKS), 1)])
def test_the_words_of_the_text_part_are_those_of_the_rendered_html(
    words: tuple[str, ...], depth: int
) -> None:
    for seed in range(300):
        source = f"<p>{markup_of(random.Random(seed), words, depth)}</p>"
        for values in RECIPIENTS:
            assert text_part(source, values).split() == reference(source, values).split(), (seed, source)
