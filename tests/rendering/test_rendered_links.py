"""Links of another recipient that values bring or templates build: they become this recipient's own."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from mailganer.rendering import MessageRenderer, Urls
from mailganer.rendering.divided_links import VisibleText
from mailganer.rendering.rendered_links import OtherRecipients, has_recipients_link

from .conftest import COPY, ENVELOPE, email_of, part

OURS = "https://m.example.com"
OLD, OWN = "UY85S9AYrKBvRsGvJzgW8A", "AAAAAAAAAAAAAAAAAAAAAA"
URLS = Urls(f"{OURS}/u/{OWN}", f"{OURS}/v/{OWN}", f"{OURS}/o/{OWN}.gif", f"{OURS}/c/{OWN}")
LEAVE = f"{OURS}/u/{OLD}"


def sent(html: str, *, tracked: bool = False, subject: str = "Hello", **values: Any) -> tuple[str, str]:
    envelope = replace(ENVELOPE, track_clicks=tracked)
    renderer = MessageRenderer(email_of(html, subject, ours=OURS), envelope)
    message = renderer.render(COPY._replace(values=values, urls=URLS))
    assert OLD.encode() not in message
    return part(message, "html"), part(message, "plain")


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(
    ("html", "values"),
    [
        ("<p>{{ cell }}</p>", {"cell": LEAVE}),
        ("<p>{{ cell }}</p>", {"cell": LEAVE.removeprefix("https://")}),
        ("<p>{{ cell }}</p>", {"cell": LEAVE.replace("m.", "m\x01.")}),
        ("<p>{{ cell }}</p>", {"cell": f"see {LEAVE}, please"}),
        ("<p>{{ cell }}</p>", {"cell": ["one", LEAVE]}),
        ("<p>{{ cell }}</p>", {"cell": f"https://track.test/?u={quote(LEAVE, safe='')}"}),
        ("<p>{{ cell }}</p>", {"cell": "https://t.test/?u=" + LEAVE.replace("/", "\\u002f")}),
        (f'<p>{{{{ "{LEAVE[::-1]}"|reverse }}}}</p>', {}),
        (f'<p>{{{{ "{LEAVE[::-1]}"[::-1] }}}}</p>', {}),
        (f'<p>{{{{ "{LEAVE[:-4]}QQ{LEAVE[-4:]}"|replace("QQ", "") }}}}</p>', {}),
        (f'<p>{{% for x in ["{LEAVE[:-8]}", "{LEAVE[-8:]}"] %}}{{{{ x }}}}{{% endfor %}}</p>', {}),
        ("<p>{% if cell %}{{ cell|lower|upper|lower }}{% endif %}</p>", {"cell": LEAVE}),
        ("{% set x = cell[::-1] %}<p>{{ x }}</p>", {"cell": LEAVE[::-1]}),
        ("{% macro show(x) %}{{ x }}{% endmacro %}<p>{{ show(cell) }}</p>", {"cell": LEAVE}),
        ("<p>https://m.example.com/u/{{ cell }}</p>", {"cell": OLD}),
        ("<p>{{ first }}{{ second }}</p>", {"first": LEAVE[:18], "second": LEAVE[18:]}),
        (
            "<p>{% if first %}{{ first }}{{ second }}{% endif %}</p>",
            {"first": LEAVE[:9], "second": LEAVE[9:]},
        ),
    ],
)
def test_no_text_has_another_recipients_link(html: str, values: dict[str, Any], tracked: bool) -> None:
    shown, text = sent(f"{html}<p><a href='https://shop.test/'>shop</a></p>", tracked=tracked, **values)
    assert shown.count(URLS.unsubscribe) == text.count(URLS.unsubscribe) == 2  # the footer has the other one
    assert ("https://shop.test/" in shown) is not tracked


HALVES = {"first": LEAVE[:38], "second": LEAVE[38:]}


@pytest.mark.parametrize("own_text", ["", "Words of my own"])
@pytest.mark.parametrize(
    ("html", "values"),
    [
        ("<p>see {{ first }}<wbr>{{ second }} end</p>", HALVES),
        ("<p>see <b>{{ first }}</b>{{ second }} end</p>", HALVES),
        ("<p>see {{ first }}<!-- x -->{{ second }} end</p>", HALVES),
        ("<p>see {% for x in [first, second] %}<span>{{ x }}</span>{% endfor %} end</p>", HALVES),
        ("{% macro m(x) %}{{ x }}{% endmacro %}<p>see {{ m(first) }}<i></i>{{ m(second) }} end</p>", HALVES),
        ("<p>see {{ cell[:30] }}&shy;{{ cell[30:] }} end</p>", {"cell": LEAVE}),
        ("<p>see {{ cell[:12] }}&#8203;{{ cell[12:] }} end</p>", {"cell": LEAVE}),
        ("<p>see {{ cell[:12] }}<wbr>{{ cell[12:] }} end</p>", {"cell": LEAVE}),
        (f"<p>see {OURS}/u/<b>{{{{ cell[-22:] }}}}</b> end</p>", {"cell": LEAVE}),
        ("<p>see {{ cell|safe }} end</p>", {"cell": f"{LEAVE[:-9]}<b></b>{LEAVE[-9:]}"}),
        ("<p>see {{ cell|safe }} end</p>", {"cell": f"{LEAVE[:12]}<b></b>{LEAVE[12:]}"}),
    ],
)
def test_no_html_shows_another_recipients_link_that_tags_divide(
    html: str, values: dict[str, Any], own_text: str
) -> None:
    """Also when no other part shows it undivided."""
    renderer = MessageRenderer(
        email_of(html, text=own_text, ours=OURS), replace(ENVELOPE, track_clicks=False)
    )
    shown = VisibleText(part(renderer.render(COPY._replace(values=values, urls=URLS)), "html")).text
    assert f"see {URLS.unsubscribe} end" in shown
    assert OLD not in shown


def test_texts_in_different_blocks_are_not_put_together() -> None:
    html = "<table><tr><td>{{ first }}</td><td>{{ second }}</td></tr></table><p>{{ cell }}</p>"
    shown, _text = sent(html, **HALVES, cell=LEAVE)
    assert f"<td>{HALVES['first']}</td><td>{HALVES['second']}</td>" in shown


def test_the_check_finds_a_link_that_tags_divide() -> None:
    assert has_recipients_link(f"<p>{LEAVE[:38]}<wbr>{LEAVE[38:]}</p>", OURS)
    assert not has_recipients_link(f"<p>{OURS}/about<wbr>{LEAVE[-22:]}</p>", OURS)


@pytest.mark.parametrize(
    ("address", "becomes"),
    [
        (LEAVE, URLS.unsubscribe),
        (f"{OURS}/v/{OLD}", URLS.browser),
        (f"{OURS}/c/{OLD}/3", URLS.browser),  # its target is known to the server only
        (f" {OURS}/\tu/\n{OLD}", URLS.unsubscribe),
        ("https://shop.test/?x=1&y", "https://shop.test/?x=1&amp;y"),
        (f"{OURS}/about", f"{OURS}/about"),
    ],
)
def test_untracked_links_lead_to_the_recipients_own(address: str, becomes: str) -> None:
    assert f'<a href="{becomes}">x</a>' in sent('<a href="{{ cell }}">x</a>', cell=address)[0]


def test_pixels_and_subjects_lose_them() -> None:
    shown, _text = sent("<p>x<img src='{{ cell }}'></p>", subject="{{ cell }}", cell=f"{OURS}/o/{OLD}.gif")
    assert shown.count("<img") == 1  # its own
    sent("<p>x</p>", subject="Leave {{ cell }}", cell=LEAVE)


def test_what_has_no_such_link_is_not_examined_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examining a whole part costs more than rendering it, so it is done for few recipients."""

    def refused(*_given: object, **_options: object) -> str:
        raise AssertionError("a whole part was examined")

    monkeypatch.setattr(OtherRecipients, "replaced", refused)
    html = (
        "{% set shop = 'https://shop.test' %}<p>Hello {{ name|default('friend') }}, {{ city }}:"
        "{% if vip %}<b>VIP {{ name }}</b>{% endif %} {% for x in [1, 2] %}<i>{{ x }}</i>{% endfor %}"
        "<a href='https://shop.test/{{ city }}'>shop</a> {{ city|upper }} {{ page }}"
        "<a href='{{ unsubscribe_url }}'>leave</a> <a href='{{ browser_url }}'>browser</a></p>"
    )
    for values in ({}, {"name": "Anna", "city": "Riga", "vip": True, "page": "https://anna.test/?a=1"}):
        sent(html, tracked=True, **values)
        sent(html.partition("%}")[2], tracked=True, **values)
