"""Plain text typed into the HTML field keeps its paragraphs and links."""

import html
import re
from typing import Any

import pytest

from mailganer.errors import EmailError
from mailganer.rendering import PARAGRAPHS, CompiledEmail
from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.render_budget import RenderBudget

from .conftest import URLS, email_of

THREE = (
    "Hello {{ first_name }}!\n\nThe sale begins on Friday: https://shop.test/?a=1&copy=2.\n\n"
    "See you,\n<b>Anna</b>\n"
)


def shown(email: CompiledEmail, **values: object) -> str:
    """Return the body above the footer, with the links as written."""
    whole = Engine(email, tracked=False).render({**values, **recipient_links(URLS)}, RenderBudget()).html
    return re.sub(r'.*?<div style="max-width[^>]*>(.*?)</div>.*', r"\1", whole, flags=re.DOTALL)


def text(email: CompiledEmail, **values: object) -> str:
    rendered = Engine(email).render({**values, **recipient_links(URLS)}, RenderBudget()).text
    return rendered.split("\n-- \n")[0].strip("\n")


def test_three_paragraphs_stay_three_and_the_address_is_a_link() -> None:
    email = email_of(THREE)
    assert email.adjusted == (PARAGRAPHS,)
    assert email.links == ("https://shop.test/?a=1&copy=2",)
    assert re.sub(r" style=\"[^\"]*\"|\n", "", shown(email, first_name="Ира")) == (
        "<p>Hello Ира!</p><p>The sale begins on Friday: "
        '<a href="https://shop.test/?a=1&amp;copy=2">https://shop.test/?a=1&amp;copy=2</a>.</p>'
        "<p>See you,<br><b>Anna</b></p>"
    )
    assert text(email, first_name="Ира") == (
        f"Hello Ира!\n\nThe sale begins on Friday: {URLS.click}/1.\n\nSee you,\nAnna"
    )


def test_a_browser_shows_the_lines_and_the_link(browser: Any) -> None:
    page = browser.new_page()
    whole = (
        Engine(email_of(THREE), tracked=False, opens=False).render(recipient_links(URLS), RenderBudget()).html
    )
    page.set_content(whole)
    lines = page.inner_text("body").splitlines()
    link = page.get_attribute("a", "href")
    heights = page.eval_on_selector_all("p", "all => all.map(each => each.offsetHeight)")
    page.close()
    said = [line for line in lines if line.strip()]
    assert said[:4] == [
        "Hello !",
        "The sale begins on Friday: https://shop.test/?a=1&copy=2.",
        "See you,",
        "Anna",
    ]
    assert link == "https://shop.test/?a=1&copy=2"
    assert heights == [24, 24, 48], "a line is shown once"


@pytest.mark.parametrize(
    "source",
    [
        "<p>one</p>\n\nhttps://e.com",
        "one<br>\ntwo",
        "<table><tr><td>one\ntwo</td></tr></table>",
        "<DIV>one\n\ntwo</DIV>",
        "<style>p { color: red }</style>one\ntwo",
        "<span style='display:block'>one\ntwo</span>",
        "<!--[if mso]>one<![endif]-->\ntwo\n\nthree",
        "<!-- note -->one <i>line</i>",
        "one<br>\n<br>\ntwo<br>\n<br>\n<b>three</b><br>",
        "one<br>\n\ntwo<br>\n\nthree",
        "Dear John,<br>\n<br>\nThis sentence goes on and on until the one who wrote it\nwrapped it.<br>\nBye",
        "Dear John,<br>\n<br>\nour <b>shop</b>\nhttps://shop.test\nis open.<br>\n<br>Bye",
        "<o:p>one\ntwo</o:p>",
        "one line <b>of</b> words",
        "{{ first_name }}",
        '<a href="https://e.com">https://e.com</a>\n',
        '<a href="https://e.com"><img src="a.png"></a>\n<a href="https://e.com"><img src="b.png"></a>',
        "{{ offer|safe }}\n{{ more }}",
    ],
)
def test_markup_that_lays_itself_out_is_left_alone(source: str) -> None:
    email = email_of(source)
    assert email.adjusted == ()
    rendered = Engine(email, tracked=False, opens=False).render(recipient_links(URLS), RenderBudget()).html
    assert re.sub(r"\{\{.*?\}\}", "", source) in rendered


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://e.com", '<a href="https://e.com">https://e.com</a>'),
        ("one\ntwo", "one<br>two"),
        ("\n\none\n \ntwo\n\n", "one</p ><p>two"),
        ("Write to <ivan@e.com>\nor <https://e.com>", None),
        ("a < b & c &amp; d <3\nif a <b", "a < b & c &amp; d <3<br>if a &lt;b"),
        ("<b>a\n\nb</b>", "<b>a<br><br>b</b>"),
        ('<a href="https://e.com">one\ntwo</a>', '<a href="https://e.com">one<br>two</a>'),
        ("&quot;https://e.com/a&quot;", '&quot;<a href="https://e.com/a">https://e.com/a</a>&quot;'),
        ("Hi\n{% if 1 %}\nThanks\n{% endif %}\nBye", "Hi<br>Thanks<br>Bye"),
        ("Hi{% if 1 -%}\n  you{% endif %}\nBye", "Hiyou<br>Bye"),
        ("Out: {{ unsubscribe_url }}", f'Out: <a href="{URLS.unsubscribe}">{URLS.unsubscribe}</a>'),
        ("{% for x in [1, 2] %}\n- {{ x }}\n{% endfor %}", "- 1<br>- 2<br>"),
        ("one\n\ntwo<br>three\n\nfour", "one</p><p>two<br>three</p><p>four"),
        ("one<BR />\ntwo\n\nthree", "one<BR />two</p><p>three"),
        ("one\n<br>two\n\nthree", "one<br>two</p><p>three"),
        ("one<br>\n\ntwo\n\nthree", "one<br><br>two</p><p>three"),
        ("one\ntwo<br>three\nfour", "one<br>two<br>three<br>four"),
        ("<!-- <p>note</p> -->\none\ntwo", "<!-- <p>note</p> -->one<br>two"),
        ("one\n\n<!-- a -- b -->\n\ntwo", "one</p><p><!-- a -- b -->two"),
        ("one <!-- https://e.com -->\ntwo", "one <!-- https://e.com --><br>two"),
        ('<b><a href="/">one</a></b>\n<i>two</i>', '<b><a href="/">one</a></b><br><i>two</i>'),
        ("Hi\n\n{% if 1 %}\n\nThanks\n\n{% endif %}\n\nBye", "Hi</p><p>Thanks</p><p>Bye"),
        ("Hi\n\n{% if 0 %}\n\nThanks\n\n{% endif %}\n\nBye", "Hi</p><p>Bye"),
        ("Hi\n\n{% if 0 %}\n\na\n\n{% else %}\n\nb\n\n{% endif %}\n", "Hi</p><p>b"),
        ("Hi\n{% if 1 %}\n\nThanks\n{% endif %}\nBye", "Hi<br><br>Thanks<br>Bye"),
        ("{% if 1 %}\n\nHi\n\nyou\n\n{% endif %}", "Hi</p><p>you"),
    ],
)
def test_lines_and_addresses(source: str, expected: str | None) -> None:
    found = re.sub(r" style=\"[^\"]*\"|\n", "", shown(email_of(source)))
    expected = expected or ('Write to &lt;ivan@e.com><br>or &lt;<a href="https://e.com">https://e.com</a>>')
    assert found == f"<p>{expected}</p>"


def test_an_error_names_the_line_that_was_typed() -> None:
    with pytest.raises(EmailError) as caught:
        email_of("\none\n{% if 1 %}\n\nthree {{ 'a' * 'b' }}\n{% endif %}")
    assert (caught.value.field, caught.value.line) == ("html", 5)


def test_the_text_of_a_link_that_is_its_address_is_not_written_twice() -> None:
    assert text(email_of('<p><a href="https://e.com/?a=1&amp;b=2">https://e.com/?a=1&amp;b=2</a></p>')) == (
        f"{URLS.click}/1"
    )
    assert text(email_of('<p><a href="{{ unsubscribe_url }}">{{ unsubscribe_url }}</a></p>')) == (
        URLS.unsubscribe
    )


def test_a_break_beside_a_line_end_is_seen_once(browser: Any) -> None:
    source = "Hello<br>\nIra\n\n<!-- note -->\n\n{% if 1 %}\n\nCome early<br>\n\nor late\n{% endif %}\n\nBye"
    page = browser.new_page()
    page.set_content(
        Engine(email_of(source), tracked=False, opens=False)
        .render(recipient_links(URLS), RenderBudget())
        .html
    )
    heights = page.eval_on_selector_all("p", "all => all.map(each => each.offsetHeight)")
    page.close()
    assert heights == [48, 120]
    assert text(email_of(source)) == "Hello\nIra\n\nCome early\n\nor late\n\nBye"


@pytest.mark.parametrize(
    ("words", "href", "behind"),
    [
        (
            "See https://en.wikipedia.org/wiki/Rust_(language)",
            "https://en.wikipedia.org/wiki/Rust_(language)",
            "",
        ),
        ("https://x.test/a_(b), c", "https://x.test/a_(b)", ", c"),
        ("(see https://x.test/a)", "https://x.test/a", ")"),
        ("(see https://x.test/a_(b).)", "https://x.test/a_(b)", ".)"),
        ("(https://x.test/a_(b))", "https://x.test/a_(b)", ")"),
        ("Go to www.example.net.", "https://www.example.net", "."),
        ("https://x.test/?a=1&timestamp=2&copy=3", "https://x.test/?a=1&timestamp=2&copy=3", ""),
        ("www.x.test/?a=1&copy=3&reg_id=4", "https://www.x.test/?a=1&copy=3&reg_id=4", ""),
    ],
)
def test_an_address_in_words_is_linked_whole(words: str, href: str, behind: str) -> None:
    written = href if href in words else href.removeprefix("https://")
    for email in (email_of(f"Hello,\n\n{words}"), email_of("", text=f"Hello,\n\n{words}")):
        whole = Engine(email, tracked=False).render(recipient_links(URLS), RenderBudget()).html
        found = re.search(r'<a href="([^"]*)">([^<]*)</a>([^<]*)<', whole)
        assert found
        assert [html.unescape(each) for each in found.groups()] == [href, written, behind]


@pytest.mark.parametrize(
    "words", ["a@www.example.net", "https://x.test/?u=www.example.net", "www.x", "awww.a.b"]
)
def test_what_only_looks_like_an_address_is_not_linked_by_itself(words: str) -> None:
    assert "https://www." not in email_of(f"Hello,\n\n{words}").html
