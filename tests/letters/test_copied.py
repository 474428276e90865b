"""The source of a received email, used again: its own addresses become each recipient's own."""

from pathlib import Path
from typing import Any

import pytest

from mailganer.letters import OWN_ADDRESSES, Letter, Source, copied
from mailganer.letters.bounds import Run
from mailganer.letters.engine import Engine, reader_links

from .conftest import URLS, letter_of

OURS = "https://m.example.com"
OLD = "UY85S9AYrKBvRsGvJzgW8A"
CASE = (Path(__file__).parent / "cases" / "copied.html").read_text().replace("{{ORIGIN}}", OURS)


def again(html: str, targets: dict[str, str] | None = None, **more: Any) -> Letter:
    return letter_of(html, ours=OURS, targets=targets or {}, **more)


def rendered(letter: Letter, **values: object) -> tuple[str, str]:
    shown = Engine(letter).render({**values, **reader_links(URLS)}, Run())
    return shown.html, shown.text


def test_a_received_email_becomes_each_recipients_own() -> None:
    letter = again(CASE, {f"{OLD}/1": "https://shop.test/?a=1&b=2"})
    assert letter.adjusted == (OWN_ADDRESSES,)
    assert letter.links == ("https://shop.test/?a=1&b=2",)
    html, text = rendered(letter)
    assert OLD not in html + text
    assert f'<a href="{URLS.unsubscribe}">Unsubscribe</a>' in html
    assert f'<a href="{URLS.click}/1">one</a>' in html
    assert html.count(URLS.open) == 1, "the copied pixel would count an opening twice"
    assert html.count("<img") == 1


def test_without_tracking_its_links_lead_straight_to_their_targets() -> None:
    letter = again(CASE, {f"{OLD}/1": "https://shop.test/?a=1&b={{ city }}"})
    html = Engine(letter, tracked=False, opens=False).render({"city": "Т", **reader_links(URLS)}, Run()).html
    assert '<a href="https://shop.test/?a=1&amp;b=Т">one</a>' in html
    assert "<img" not in html


def test_a_counted_link_without_a_known_target_stays() -> None:
    letter = again(CASE)
    assert letter.links == (f"{OURS}/c/{OLD}/1",)
    assert copied.clicks_in(letter.links, OURS) == {copied.Click(OLD, 1)}


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        (f"<a href='{OURS}/u/{OLD}?x=1&amp;y#top'>x</a>", f"<a href='{URLS.unsubscribe}'>x</a>"),
        (f"<a href={OURS}/v/{OLD}>x</a>", f"<a href={URLS.browser}>x</a>"),
        (f'<a href="//M.EXAMPLE.com:443/u/{OLD}">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f'<a href="http://m.example.com/u/{OLD}">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f'<a href="&#104;ttps://m.example.com/u&#47;{OLD}">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f'<a href="{OURS}/u/\n{OLD}">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f'<a href="{OURS}/u/test">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f"<p>Leave: {OURS}/u/{OLD}.</p>", f"<p>Leave: {URLS.unsubscribe}.</p>"),
        (f'<td background="{OURS}/o/{OLD}.gif">x', '<td background="">x'),
        (
            f'<!--[if mso]><v:rect href="{OURS}/u/{OLD}"/><![endif]-->x',
            f'<!--[if mso]><v:rect href="{URLS.unsubscribe}"/><![endif]-->x',
        ),
        (f'<a href="{OURS}/c/{OLD}/3">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f'<a href="{OURS}/u/{OLD}/">x</a>', f'<a href="{URLS.unsubscribe}">x</a>'),
        (f'<p style="background:url({OURS}/o/{OLD}.gif)">x', '<p style="background:url()">x'),
        (
            "<a href='https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fm.example.com%2Fu%2F"
            f"{OLD}&amp;data=05%7C02'>x</a>",
            f"<a href='{URLS.unsubscribe}'>x</a>",
        ),
        (
            f'<a href="https://www.google.com/url?q=https://m.example.com/v/{OLD}&amp;sa=D">x</a>',
            f'<a href="{URLS.browser}">x</a>',
        ),
    ],
)
def test_wherever_they_stand(written: str, becomes: str) -> None:
    letter = again(f"<div>{written}</div>", {f"{OLD}/3": f"{OURS}/u/{OLD}"})
    assert letter.adjusted == (OWN_ADDRESSES,)
    assert becomes in rendered(letter)[0]


@pytest.mark.parametrize(
    "address",
    [
        f"https://other.example.com/u/{OLD}",
        f"https://m.example.com.evil.test/u/{OLD}",
        f"https://evil-m.example.com/u/{OLD}",
        f"https://m.example.com:8443/u/{OLD}",
        f"https://m.example.com/u/{OLD}x",
        f"https://m.example.com/u/{OLD}/x",
        "https://m.example.com/u/short",
        f"https://m.example.com/page/u/{OLD}",
        "https://m.example.com/",
    ],
)
def test_other_addresses_are_left_alone(address: str) -> None:
    letter = again(f'<p><a href="{address}">x</a></p>', {f"{OLD}/1": "https://shop.test/"})
    assert (letter.adjusted, letter.links) == ((), (address,))


def test_a_counted_link_in_a_wrapper_leads_to_its_target() -> None:
    wrapped = f"https%3a%2f%2fm.example.com%2fc%2f{OLD}%2f1"
    html = f'<a href="https://linkprotect.cudasvc.com/url?a={wrapped}&amp;c=E,1">x</a>'
    assert copied.clicks_in([html], OURS) == {copied.Click(OLD, 1)}
    assert again(html, {f"{OLD}/1": "https://shop.test/"}).links == ("https://shop.test/",)


@pytest.mark.parametrize("written", ["https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"])
@pytest.mark.parametrize("ours", ["https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"])
def test_an_idn_is_ours_in_both_its_forms(ours: str, written: str) -> None:
    source = copied.Copied(ours, {}).in_source(Source("s", "", f'<a href="{written}/u/{OLD}">x</a>', ""))
    assert source.html == '<a href="{{ unsubscribe_url }}">x</a>'


def test_a_pixel_in_the_text_part_goes() -> None:
    assert again("", text=f"Hello [{OURS}/o/{OLD}.gif]").text.startswith("Hello []")


def test_the_text_part_and_variables_too() -> None:
    letter = again(
        "<p>{{ foot }}</p>",
        {f"{OLD}/2": "https://shop.test/{{ city }}"},
        text=f"See {OURS}/c/{OLD}/2, leave {OURS}/u/{OLD}",
        variables={"foot": f"Leave: {OURS}/u/{OLD}"},
    )
    html, text = rendered(letter, city="tver")
    assert f"<p>Leave: {URLS.unsubscribe}</p>" in html
    assert text.startswith(f"See {URLS.click}/1, leave {URLS.unsubscribe}")
    assert letter.links == ("https://shop.test/{{ city }}",)


def test_an_installation_without_pages_has_no_addresses() -> None:
    assert letter_of(CASE).adjusted == ()
    assert copied.clicks_in([CASE], "") == frozenset()
