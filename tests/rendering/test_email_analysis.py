"""Untrusted source is parsed in linear time: no parser takes four times as long for twice the size."""

import gc
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

import pytest

import mailganer
from mailganer.campaigns.content import plain_line
from mailganer.rendering import analyse_email, email_analysis, render_process
from mailganer.rendering.code_spans import code_spans
from mailganer.rendering.collapsed_lines import has_collapsed_lines
from mailganer.rendering.compiler import _without_braces_in_styles
from mailganer.rendering.copied_links import CopiedLinks, clicks_in
from mailganer.rendering.email_facts import read_facts
from mailganer.rendering.encodings import is_quoted_printable
from mailganer.rendering.foreign_tags import foreign_tags, has_foreign_tag
from mailganer.rendering.guarded_variables import guarded_names
from mailganer.rendering.html_to_text import Target, text_of
from mailganer.rendering.link_faults import fault_of, suggested_address
from mailganer.rendering.link_report import report_links
from mailganer.rendering.list_markers import signs_of_items
from mailganer.rendering.markup import decoded, readable, tokens
from mailganer.rendering.mjml import _unused_word, is_mjml
from mailganer.rendering.own_links import hidden_in, tokens_in
from mailganer.rendering.placeholders import decode_code, mask
from mailganer.rendering.preview_size import preview_size
from mailganer.rendering.text_to_html import web_addresses
from mailganer.rendering.types import Source
from mailganer.rendering.unformatted_html import html_of, is_plain

OURS = "https://mail.test"


def _text_part(source: str) -> None:
    masked = mask(source)
    found = tuple(tokens(masked.text))
    links = {token.start: Target("https://a.test", "https://a.test") for token in found}
    text_of(masked, found, links)


def _items(source: str) -> None:
    masked = mask(source)
    signs_of_items(masked, tuple(tokens(masked.text)))


def _attributes(source: str) -> None:
    for token in tokens(source):
        list(token.attributes)


READERS: dict[str, Callable[[str], object]] = {
    "spans": lambda source: list(code_spans(source)),
    "whole spans": lambda source: list(code_spans(source, whole=True)),
    "tokens": _attributes,
    "attribute value": decoded,
    "text": readable,
    "tags of other products": lambda source: list(foreign_tags(source)),
    "the same in HTML": lambda source: list(foreign_tags(source, html=True)),
    "the same, broken": lambda source: list(foreign_tags(source, html=True, broken=True)),
    "a tag in an address": has_foreign_tag,
    "guarded names": lambda source: guarded_names([source]),
    "guarded names of one expression": lambda source: guarded_names(["{{ " + source + " }}"]),
    "look": lambda source: read_facts(source, source=source, ours=OURS),
    "lost lines": has_collapsed_lines,
    "links": lambda source: report_links(source, source),
    "a link": fault_of,
    "a mistyped link": lambda source: suggested_address("http:" + source),
    "an encoded link": lambda source: suggested_address("https://a.test/" + source),
    "preview size": preview_size,
    "subject": plain_line,
    "masks": mask,
    "encoded code": decode_code,
    "styles": _without_braces_in_styles,
    "MJML": lambda source: (is_mjml(source), _unused_word(source)),
    "typed words": lambda source: (is_plain(source), html_of(source)),
    "text part": _text_part,
    "list items": _items,
    "addresses in text": lambda source: list(web_addresses(mask(source))),
    "copied": lambda source: CopiedLinks(OURS, {}).in_source(Source("", "", source + OURS, source + OURS)),
    "clicks": lambda source: clicks_in([source], OURS),
    "clicks of ours": lambda source: clicks_in([source + OURS], OURS),
    "tokens of recipients": lambda source: list(tokens_in([source])),
    "tokens in code": lambda source: list(tokens_in(["{{ x }}" + source])),
    "hidden links": lambda source: list(hidden_in([source + " mimecast"], OURS)),
    "quoted-printable": is_quoted_printable,
}


def _repeated(unit: str, size: int) -> str:
    return unit * (size // len(unit))


SHAPES: dict[str, Callable[[int], str]] = {
    unit: partial(_repeated, unit)
    for unit in (
        "{{",
        "{{ a",
        "{{ 'a",
        "'a' ",
        "aHR0cHM6Ly9t",
        "aHR0cHM6Ly9t/",
        "=3D",
        "=  ",
        "<a b=3D",
        "https://x.mimecast.com/",
        "--a",
        "[[data:a",
        "##a:",
        "<unsubscribe>",
        "<a href='[a",
        "{{ a }}",
        "{%",
        "{% if a %}",
        "{% if a %}{% else %}",
        "{% raw %}",
        "{#",
        "{{ a | b | ",
        "a | ",
        "<a ",
        "<a b=c ",
        "<p",
        "<b>",
        "<a>x",
        "<b></i>",
        "<ul><li>x",
        "<li>x",
        '<a href="',
        '<a href="x">',
        '<a href="">',
        '<a href="%7B%7B">x</a>',
        "<!--",
        "<!---->",
        "<![",
        "<![a[b]>",
        "<![ if !mso]>",
        "<![end if]-->",
        "<?",
        "</",
        "</a",
        "<style>",
        "<style",
        "<script></scrip",
        "<svg><title/>",
        "<x:y",
        "<<a ",
        "<%=",
        "*|a",
        "%%a",
        "${a",
        "[[a",
        "[a ",
        "[a,",
        "«a ",
        "#a",
        "&a",
        "&#",
        "%7B%7B",
        "http:",
        "www.a.",
        "a\n \n",
        "x@a.",
        "a.",
        "\\'",
        "<br>\n",
        "mjcode",
        "https://mail.test/u/test ",
        "<div>",
        "a<wbr>",
        "a\u200b",
        "<!--[if mso]>a<![endif]-->",
    )
} | {
    "spaces": lambda size: "a" + " " * size,
    "spaces in a tag": lambda size: "<%=" + " " * size,
    "spaces in ours": lambda size: "{{ a" + " " * size,
    "spaces in all": lambda size: ("<%= {% {{ [[ *| %% ${ « <<" + " " * 150) * (size // 176),
    "line ends": lambda size: "a" + "\n" * size,
    "one word": lambda size: "a" * size,
    "digits": lambda size: "&#" + "9" * size,
    "raw": lambda size: "<p>x</p>{% raw %}" + "{{" * (size // 4) + "{#" * (size // 4) + "{% endraw %}",
    "quotes": lambda size: "{{ '" + "\\'" * (size // 2),
    "z": lambda size: "mjcode" + "z" * size,
    "one address": lambda size: '<a href="mailto:' + "a" * size + '">x</a>',
    "nested conditions": lambda size: "{% if a %}" * (size // 21) + "{% endif %}" * (size // 21),
}

SIZE = 12_000
UNNOTICED = 0.06  # seconds; twice the size in about twice the time is linear


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", READERS)
def test_twice_as_much_is_read_in_twice_the_time(reader: str) -> None:
    read, slow = READERS[reader], []
    for name, shape in SHAPES.items():
        once, twice = shape(SIZE), shape(2 * SIZE)
        taken = _seconds(read, twice)
        if taken > UNNOTICED:
            ratio = min(taken, _seconds(read, twice)) / max(_seconds(read, once), _seconds(read, once))
            if ratio > 3.2:
                slow.append((name, round(taken, 2), round(ratio, 1)))
    assert not slow


def _seconds(read: Callable[[str], object], source: str) -> float:
    gc.disable()  # it traverses all objects, so its time grows with their number
    try:
        since = process_time()
        read(source)
        return process_time() - since
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", ["<div>", "{{ a }}", '<a href="">', "<![a[b]>", "raw"])
def test_the_longest_email_is_read_within_the_limits(shape: str) -> None:
    """The limit on processor time, which does not depend on the load of the machine."""
    source = SHAPES[shape](450_000)
    parts = {"subject": source[:2000], "html": source}
    for read in (
        lambda html: email_analysis.analyse(parts, html, OURS, broken=False),
        lambda html: email_analysis.analyse_for_page(parts, html),
    ):
        assert _seconds(read, source) < render_process.CPU_SECONDS


def test_no_parser_but_our_own_reads_an_email() -> None:
    """``html.parser`` of Python 3.11 takes quadratic time, and fails on what browsers read as comments."""
    modules = Path(mailganer.__file__).parent.rglob("*.py")
    assert [each for each in modules if re.search(r"HTMLParser|html\.parser", each.read_text())] == []


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("<p>x</p><![a[b]>", 1),
        ("Price <![sale]>", 5),
        ("<![ if !mso]>x", 1),
        ("<![end if]-->x", 1),
        ("<![>", 0),
        ("&#" + "9" * 5000 + ";", 1),
    ],
)
def test_what_browsers_read_as_a_comment_is_one(written: str, words: int) -> None:
    found = analyse_email({"html": written}, written, ours=OURS, broken=False)
    assert found.facts is not None
    assert found.facts.characters == words
