"""HTML is parsed as browsers parse it, and foreign parts are sent byte for byte."""

import random
import re
from dataclasses import replace
from html.entities import html5
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailganer.rendering import MessageRenderer, markup, render_link, web_addresses
from mailganer.rendering.compiler import _all_tags
from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.placeholders import SLOT_CLOSE, SLOT_OPEN
from mailganer.rendering.render_budget import RenderBudget
from mailganer.rendering.types import CompiledEmail

from .conftest import COPY, ENVELOPE, URLS, email_of, part

CASES = Path(__file__).parent / "cases"
PAGE = "<!DOCTYPE html>\n<html><body>\n{}<!-- {{{{ unsubscribe_url }}}} --></body></html>\n"


def rendered(html: str, **ways: bool) -> str:
    """Return the HTML as sent, without a preheader, a pixel or a footer."""
    email = email_of(PAGE.format(html))
    return Engine(email, opens=False, **ways).render(recipient_links(URLS), RenderBudget()).html


def sent(html: str) -> str:
    return PAGE.format(html).replace("{{ unsubscribe_url }}", URLS.unsubscribe)


# --- attribute values


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("?a=1&timestamp=2&copy=3&lt=4&amp=5", "?a=1&timestamp=2&copy=3&lt=4&amp=5"),
        ("?a=1&amp;copy=2&amp;amp;b", "?a=1&copy=2&amp;b"),
        ("&copy &copy;&copy", "© ©©"),
        ("&copyx &notit; &notin; &nosuch;", "&copyx &notit; ∉ &nosuch;"),
        ("&#38;&#x26;&#38=&#x26G", "&&&=&G"),
        ("&#0;&#xd800;&#x110000;&#99999999999999999999;", "\ufffd" * 4),
        ("&#128;&#x81;&#1;", "€\x81\x01"),
        ("&#x10ff00;0&#x10ff01;", "\ufffd0\ufffd"),
        ("& &; &# &#x; &=", "& &; &# &#x; &="),
    ],
)
def test_a_value_is_read_by_the_rules_for_attributes(written: str, read: str) -> None:
    assert markup.decoded(written) == read


def test_a_name_before_a_value_is_a_parameter() -> None:
    email = email_of('<a href="https://e.com/?a=1&copy{{ n }}=2">x</a>')
    assert email.links == ("https://e.com/?a=1&copy{{ n }}=2",)


PIECES = (
    *(f"&{name}" for name in sorted(html5)[::7]),
    *("&amp", "&lt", "&copy", "&not", "&para", "&times", "&reg", "&quot;", "&apos;", "&NewLine;", "&Tab;"),
    *("&#", "&#x", "&#38", "&#60;", "&#x3E", "&#128;", "&#0", "&#13;", "&#xD800;", "&#1114112;", "&#xFFFE;"),
    *"=;&#/?<>\"'` \n\tx7aБ🙂",
    *("https://shop.test/", "?a=1", "%26", "İ", "\u00a0", "\u2028", "a=", "B='", 'c="', "d=e/", "/", " = "),
)


def soup(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(PIECES, k=chance.randint(0, length)))


def attributes_of(tag: str) -> dict[str, str]:
    """Return the attributes of the tag; of those with one name, the first, as browsers do."""
    token = next(iter(markup.tokens(tag)))
    return {each.name: each.value for each in reversed([*token.attributes])}


def test_attributes_are_those_a_browser_finds(browser: Any) -> None:
    chance = random.Random(20261130)
    written: list[str] = []
    while len(written) < 4000:
        quote = chance.choice(("'", '"', ""))
        value = soup(chance, 8)
        tag = f"<x-y href={quote}{value}{quote} {soup(chance, 5)}>"
        # One tag and nothing else, so that the document has as many elements as there are sources.
        if [token.kind for token in markup.tokens(tag)] == ["open"]:
            written.append(tag)
    page = browser.new_page()
    found = page.evaluate(
        """tags => [...new DOMParser().parseFromString(tags.join("</x-y>"), "text/html")
            .querySelectorAll("x-y")].map(tag => [...tag.attributes].map(each => [each.name, each.value]))""",
        written,
    )
    page.close()
    assert len(found) == len(written)
    for tag, attributes in zip(written, found, strict=True):
        assert dict(attributes) == attributes_of(tag), tag


def test_tags_and_comments_end_where_a_browser_ends_them(browser: Any) -> None:
    chance = random.Random(3)
    pieces = (
        *("<x-y", "<x-y a='", '<x-y b="', "</x-y", "</", "<", ">", "/>", "'", '"', " ", "=", "t", "z"),
        *("<!--", "-->", "--!>", "<!-->", "<!--->", "--", "<!", "<?", "<!doctype", "<![if x]>", "</>", "</ "),
        *("<title>", "</title", "<textarea>", "</textarea >", "<style>", "</style/>", "<xmp>", "</XMP>"),
    )
    sources = ["".join(chance.choices(pieces, k=chance.randint(1, 14))) for _ in range(3000)]
    page = browser.new_page()
    found = page.evaluate(
        """sources => sources.map(source => [
            ...new DOMParser().parseFromString("<body>" + source, "text/html")
            .querySelectorAll("x-y, title, textarea, style, xmp")].map(tag => tag.localName +
            (tag.localName == "x-y" ? JSON.stringify([...tag.attributes].map(each => each.value)) : "")))""",
        sources,
    )
    page.close()
    names = {"x-y", "title", "textarea", "style", "xmp"}
    for source, expected in zip(sources, found, strict=True):
        tags = [token for token in markup.tokens(source) if token.kind == "open" and token.name in names]
        assert [_shown(tag) for tag in tags] == expected, source


def _shown(token: markup.Token) -> str:
    if token.name != "x-y":
        return token.name
    firsts: dict[str, str] = {}
    for attribute in token.attributes:
        firsts.setdefault(attribute.name, attribute.value)
    return "x-y[" + ",".join('"' + value.replace('"', '\\"') + '"' for value in firsts.values()) + "]"


def test_a_source_of_tags_that_never_end_is_read_once() -> None:
    source = "<a " * 50_000 + "<b c='" * 50_000
    assert [token.kind for token in markup.tokens(source)] == ["lost"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from((*PIECES, "<a href=", "<p ", "</p>", "<!--", "-->", "<style>")), max_size=12))
def test_tokens_are_the_whole_source(pieces: list[str]) -> None:
    source = "".join(pieces)
    found = list(markup.tokens(source))
    assert "".join(source[token.start : token.end] for token in found) == source


# --- addresses


def test_a_click_leads_where_the_browser_would_have_gone(browser: Any) -> None:
    chance = random.Random(7)
    pieces = (
        *(
            "/",
            "?",
            "#",
            "\\",
            " ",
            "\n",
            "\t",
            "%20",
            "%2F",
            "%",
            "a",
            "Б",
            "🙂",
            "=",
            "&",
            "+",
            ":",
            "@",
            "|",
        ),
        *('"', "'", "<", ">", "^", "`", "{", "}", "[", "]", ";", ",", "~", "!", "*", "(", ")", "."),
    )
    starts = (
        "https://shop.test/",
        "HTTP://SHOP.test:81/",
        " https://пример.рф/",
        "https://u@пример.рф:8080?",
    )
    written = [
        chance.choice(starts) + "".join(chance.choices(pieces, k=chance.randint(0, 9))) for _ in range(2000)
    ]
    ours = [web_addresses.web_address(each) for each in written]
    assert None not in ours
    page = browser.new_page()
    read = "all => all.map(address => new URL(address).href)"
    theirs, led = page.evaluate(read, written), page.evaluate(read, ours)
    page.close()
    for address, wanted, got in zip(written, theirs, led, strict=True):
        # An empty query and what need not be encoded make no difference.
        assert _plain(got) == _plain(wanted), address


def _plain(address: str) -> str:
    return unquote(re.sub(r"\?(?=#|$)|#$", "", address))


def test_line_breaks_and_tabs_in_an_address_disappear() -> None:
    email = email_of((CASES / "line_breaks.html").read_text())
    assert email.links == ("https://shop.test/long?a=1&b=2", "https://shop.test/tab")
    assert web_addresses.web_address(" https://e.com/\n\tx\r ") == "https://e.com/x"
    assert render_link(email_of("<a href='{{ page }}'>x</a>"), 1, {"page": "https://e.com/a\nb c"}) == (
        "https://e.com/ab%20c"
    )


def test_the_port_of_an_address_in_other_emails_stays_one() -> None:
    assert web_addresses.web_address("https://пример.рф:8080/") == "https://xn--e1afmkfd.xn--p1ai:8080/"


@pytest.mark.parametrize("number", range(14))
def test_parameters_that_look_like_signs_arrive(number: int) -> None:
    source = (CASES / "ampersands.html").read_text()
    email = email_of(source)
    written = re.findall('href="([^"]*)"', source)[number]
    assert render_link(email, number + 1, {}) == written
    untracked = Engine(email, tracked=False).render(recipient_links(URLS), RenderBudget()).html
    assert re.findall('<a href="([^"]*)"', untracked)[number] == written


# --- unchanged parts


@pytest.mark.parametrize("case", ["ampersands.html", "links.html", "line_breaks.html"])
def test_without_tracking_an_email_is_sent_byte_for_byte(case: str) -> None:
    source = re.sub(r"\{\{.*?\}\}", "x", (CASES / case).read_text())
    assert rendered(source, tracked=False) == sent(source)
    renderer = MessageRenderer(
        email_of(PAGE.format(source)), replace(ENVELOPE, track_opens=False, track_clicks=False)
    )
    assert part(renderer.render(COPY), "html") == sent(source)


@pytest.mark.parametrize("case", ["ampersands.html", "links.html", "line_breaks.html"])
def test_with_tracking_nothing_but_the_links_differs(case: str) -> None:
    source = re.sub(r"\{\{.*?\}\}", "x", (CASES / case).read_text())
    assert _without_links(rendered(source, tracked=True)) == _without_links(sent(source))


def _without_links(html: str) -> str:
    """Remove every web address of a tag, in conditional comments for Outlook too."""
    edits = []
    for token in _all_tags(html, [*markup.tokens(html)]):
        href = token.attribute("href")
        if href and web_addresses.is_web(web_addresses.as_read(href.value)):
            edits.append(markup.Edit(href.value_start, href.value_end, ""))
    assert edits
    return markup.apply(html, edits)


TAGS = ("<p>", "</p>", "<a href=", "https://e.com/?a=1", "<b class=x", ">", "<br/>", "<!--", "-->", "&nbsp;")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES + TAGS), max_size=14))
def test_any_markup_is_sent_byte_for_byte(pieces: list[str]) -> None:
    source = "".join(pieces)
    assert rendered(source, tracked=False) == sent(source)


def test_a_style_that_no_rule_adds_to_stays_as_it_was_written() -> None:
    source = "<style>i { color: red }</style><div style=MARGIN:0>a</div><p STYLE='Color : blue;;'>b</p>"
    assert rendered(source) == sent(source)


def test_emails_of_earlier_versions_have_marks_without_an_address() -> None:
    mark = f"{SLOT_OPEN}link 1{SLOT_CLOSE}"
    old = CompiledEmail(
        "s", "", f'<a href="{mark}">x</a>', "x", ("https://e.com/?a=1&b={{ b }}",), frozenset("b")
    )
    shown = {
        tracked: Engine(old, tracked=tracked).render({"b": "2", **recipient_links(URLS)}, RenderBudget()).html
        for tracked in (True, False)
    }
    assert shown[True].startswith(f'<a href="{URLS.click}/1">x</a>')
    assert shown[False].startswith('<a href="https://e.com/?a=1&amp;b=2">x</a>')


@pytest.mark.slow
def test_what_we_add_stands_before_a_tag_that_never_ends() -> None:
    html = (
        Engine(email_of("<p>Hello</p><a href='https://e.com>x</a>"))
        .render(recipient_links(URLS), RenderBudget())
        .html
    )
    assert html.index(URLS.open) < html.index("<a href='https://e.com>")
