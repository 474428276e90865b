"""The source of a received email, used again: our links in it become each recipient's own."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mailganer.rendering import OWN_ADDRESSES, CompiledEmail, Source, copied_links, own_links
from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.render_budget import RenderBudget

from .conftest import URLS, email_of

OURS = "https://m.example.com"
OLD = "UY85S9AYrKBvRsGvJzgW8A"
CASE = (Path(__file__).parent / "cases" / "copied.html").read_text().replace("{{ORIGIN}}", OURS)


def again(html: str, targets: dict[str, str] | None = None, **more: Any) -> CompiledEmail:
    return email_of(html, ours=OURS, targets=targets or {}, **more)


def rendered(email: CompiledEmail, **values: object) -> tuple[str, str]:
    shown = Engine(email).render({**values, **recipient_links(URLS)}, RenderBudget())
    return shown.html, shown.text


def test_a_received_email_becomes_each_recipients_own() -> None:
    email = again(CASE, {f"{OLD}/1": "https://shop.test/?a=1&b=2"})
    assert email.adjusted == (OWN_ADDRESSES,)
    assert email.links == ("https://shop.test/?a=1&b=2",)
    html, text = rendered(email)
    assert OLD not in html + text
    assert f'<a href="{URLS.unsubscribe}">Unsubscribe</a>' in html
    assert f'<a href="{URLS.click}/1">one</a>' in html
    assert html.count(URLS.open) == 1, "the copied pixel would count an opening twice"
    assert html.count("<img") == 1


def test_without_tracking_its_links_lead_straight_to_their_targets() -> None:
    email = again(CASE, {f"{OLD}/1": "https://shop.test/?a=1&b={{ city }}"})
    html = (
        Engine(email, tracked=False, opens=False)
        .render({"city": "Т", **recipient_links(URLS)}, RenderBudget())
        .html
    )
    assert '<a href="https://shop.test/?a=1&amp;b=Т">one</a>' in html
    assert "<img" not in html


def test_a_counted_link_without_a_known_target_stays() -> None:
    email = again(CASE)
    assert email.links == (f"{OURS}/c/{OLD}/1",)
    assert copied_links.clicks_in(email.links, OURS) == {copied_links.CopiedClick(OLD, 1)}


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
    email = again(f"<div>{written}</div>", {f"{OLD}/3": f"{OURS}/u/{OLD}"})
    assert email.adjusted == (OWN_ADDRESSES,)
    assert becomes in rendered(email)[0]


WRAPPED = quote(f"{OURS}/u/{OLD}", safe="")
PROOFPOINT = f"https-3A__m.example.com_u_{OLD.replace('-', '-2D').replace('_', '-5F')}"


@pytest.mark.parametrize(
    "address",
    [
        f"{OURS}//u/{OLD}",
        f"{OURS}/./u/{OLD}",
        f"{OURS}/x/../u/{OLD}",
        f"{OURS}/x/%2e%2e/u/{OLD}",
        f"{OURS}/%75/{OLD}",
        f"{OURS}/u%2F{OLD}",
        f"{OURS}/u\\{OLD}",
        f"{OURS}/u/{OLD}/undo",
        f"{OURS}/u/{OLD}/?x#y",
        f"{OURS}/u/{OLD[:10]}{{# #}}{OLD[10:]}",
        f"https://user@m.example.com/u/{OLD}",
        f"https://user:secret@m.example.com:443/u/{OLD}",
        f"https://m.example.com./u/{OLD}",
        f"https://%6d.example.com/u/{OLD}",
        f"http:\\\\m.example.com/u/{OLD}",
        f"https:/m.example.com/u/{OLD}",
        f"HTTPS:///m.example.com/u/{OLD}",
        f"\\\\m.example.com/u/{OLD}",
        f"https://track.test/?u={WRAPPED}",
        f"https://track.test/?u={quote(WRAPPED, safe='')}&v=1",
        f"https://track.test/{WRAPPED}",
        f"https://a.test/?x={quote(f'https://b.test/?y={WRAPPED}', safe='')}",
        f"https://track.test/?next={OURS}/u/{OLD}",
        f"https://www.google.com/url?q={WRAPPED}&sa=D&source=editors",
        f"https://nam02.safelinks.protection.outlook.com/?url={WRAPPED}&data=05%7C01",
        f"https://nam02.safelinks.protection.outlook.com/ap/t-59584e83/?url={WRAPPED}",
        f"https://urldefense.proofpoint.com/v1/url?u={WRAPPED}&k=x",
        f"https://urldefense.proofpoint.com/v2/url?u={PROOFPOINT}&d=DwMFaQ&c=x",
        f"https://urldefense.com/v3/__{OURS}/u/{OLD}__;!!abc!def$",
    ],
)
def test_an_address_is_known_in_every_spelling(address: str) -> None:
    email = again(f'<p>x <a href="{address}">x</a></p>', text=f"Leave: {address} now")
    html, text = rendered(email)
    assert f'<p>x <a href="{URLS.unsubscribe}">x</a></p>' in html
    assert text.startswith(f"Leave: {URLS.unsubscribe} now")
    assert OLD not in html + text


def base64_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "address",
    [
        f"https://eu1.protection.sophos.test/?d=m.example.com&u={base64_of(f'{OURS}/u/{OLD}')}&p=x",
        f"https://links.test/r/{base64_of(f'{OURS}/u/{OLD}')}/abc/1",
        f"https://links.test/?l={base64_of('https://track.test/?u=' + quote(f'{OURS}/u/{OLD}', safe=''))}",
        f"https://links.test/?l={quote(base64.b64encode(f'{OURS}/u/{OLD}?x'.encode()).decode(), safe='')}",
    ],
)
def test_an_address_in_base64_is_known(address: str) -> None:
    email = again(f'<p>x <a href="{address}">x</a></p>')
    assert email.adjusted == (OWN_ADDRESSES,)
    assert f'<p>x <a href="{URLS.unsubscribe}">x</a></p>' in rendered(email)[0]


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        (f"""<a href='{{{{ "{OURS}/u/{OLD}" }}}}'>x</a>""", f"<a href='{URLS.unsubscribe}'>x</a>"),
        (
            f"""{{% set leave = '{OURS}/u/{OLD}' %}}<a href="{{{{ leave }}}}">x</a>""",
            f'<a href="{URLS.unsubscribe}">x</a>',
        ),
        (
            f'<p>{{{{ ("Leave: {OURS}/u/{OLD} " "now")|trim }}}}!</p>',
            f"<p>Leave: {URLS.unsubscribe} now!</p>",
        ),
        (f'<a href="{{{{ shop or "{OURS}/c/{OLD}/1" }}}}">x</a>', ">x</a>"),
        (f'<p>a{{{{ "{OURS}/o/{OLD}.gif" }}}}b</p>', "<p>ab</p>"),
        (f"""<p>{{{{ {{"a": "{OURS}/v/{OLD}"}}["a"] }}}}</p>""", f"<p>{URLS.browser}</p>"),
    ],
)
def test_an_address_in_a_string_of_template_code_is_known(written: str, becomes: str) -> None:
    email = again(f"<div>{written}</div>", {f"{OLD}/1": "https://shop.test/"})
    assert email.adjusted == (OWN_ADDRESSES,)
    html, text = rendered(email)
    assert becomes in html
    assert OLD not in html + text + email.html + "".join(email.links)


def test_a_subject_keeps_no_address_in_its_code() -> None:
    source = Source(f"{{{{ name or '{OURS}/u/{OLD}' }}}}", "", "<p>x</p>", "")
    assert copied_links.CopiedLinks(OURS, {}).in_source(source).subject == "{{ name or '' }}"


def test_counted_links_in_code_and_in_base64_are_looked_up() -> None:
    texts = (
        f"{{{{ '{OURS}/c/{OLD}/1' }}}}",
        f"<a href='https://a.test/?u={base64_of(f'{OURS}/c/{OLD}/2')}'>x</a>",
    )
    assert copied_links.clicks_in(texts, OURS) == {
        copied_links.CopiedClick(OLD, 1),
        copied_links.CopiedClick(OLD, 2),
    }


@pytest.mark.parametrize(
    "written",
    [
        f'<a href=3D"https://m.example.com/u/{OLD[:9]}=\n{OLD[9:]}">x</a>',
        f'<a href=3D"https://m.example.com/u/=\r\n=55{OLD[1:]}">x</a>',
        f"{{{{ 'https://m.example.com/u/{OLD[:9]}' ~ \"{OLD[9:]}\" }}}}",
        f"{{{{ 'https://m.example.com/u/\\x55{OLD[1:]}' }}}}",
        f"{{% raw %}}{OURS}/u/{OLD}{{% endraw %}}",
        f"https://a.test/?p={OURS}/u/{OLD}".replace("/", "\\u002f"),
        f"https://a.test/?p={base64_of(json.dumps({'p': json.dumps({'url': f'{OURS}/u/{OLD}'})}))}",
        f"https://a.test/x{base64_of(f'{OURS}/u/{OLD}')}",
        base64.encodebytes(
            f"<p>A long beginning of an email</p> {OURS}/u/{OLD} and its end".encode()
        ).decode(),
    ],
)
def test_a_token_is_found_however_it_is_encoded(written: str) -> None:
    assert OLD in set(own_links.tokens_in([written]))


@pytest.mark.parametrize(
    "between",
    [
        "<wbr>",
        "<b class='a>b'>",
        "</span><span title={{ a > b }}>",
        "<!-- a > b -->",
        "<style>p{}</style>",
        "<div>",
        "&shy;",
        "&#8203;",
        "<wbr>\u200d<wbr>",
        "\u00ad",
        "\u2060",
        "\ufe0f",
        "\U000e0020",
        "\U0010ff42",
        "{% if a %}",
        "{{ nothing }}",
    ],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("leave: https://m.example.com/u/", ""),
        ("<p>x < y: https://m.example.com/u/", "<br>Best regards"),
        ("See<i>", "</i>.<p>Next</p>"),
        ("https://m.example.com/u/%55", ""),
    ],
)
def test_a_token_is_found_whatever_divides_it(before: str, after: str, between: str) -> None:
    token = OLD[1:] if before.endswith("%55") else OLD
    written = before + token[:9] + between + token[9:15] + between + token[15:] + after
    assert OLD in set(own_links.tokens_in([written]))


def test_a_divided_token_is_found_in_what_only_outlook_shows() -> None:
    written = f"<!--[if mso]><p>https://m.example.com/u/{OLD[:9]}<wbr>{OLD[9:]}</p><![endif]-->"
    assert OLD in set(own_links.tokens_in([written]))


def test_few_words_can_be_a_divided_token() -> None:
    words = "<i>a</i>" * 1000 + " " + "\u200b".join(OLD * 100)
    assert len(set(own_links.tokens_in([words]))) <= len(OLD) + 1


@pytest.mark.parametrize(
    ("link", "hidden"),
    [
        ("https://protect-eu.mimecast.com/s/AbC1?domain=m.example.com", True),
        ("https://url.uk.m.mimecastprotect.com/s/AbC1?a=1&amp;domain=M.example.com", True),
        ("https://protect-us.mimecast.com/s/AbC1/m.example.com", True),
        ("https://protect-eu.mimecast.com/s/AbC1?domain=other.example.com", False),
        ("https://mimecast.com.test/s/AbC1?domain=m.example.com", False),
    ],
)
def test_a_link_to_us_that_a_gateway_hides_is_found(link: str, hidden: bool) -> None:
    assert bool(list(own_links.hidden_in([f'<a href="{link}">x</a>'], OURS))) is hidden


@pytest.mark.parametrize("host", ["127.0.0.1:6543", "LOCALHOST:6543", "localhost.:6543", "[::1]:6543"])
def test_this_machine_has_several_names(host: str) -> None:
    email = email_of(f'<a href="http://{host}/u/{OLD}">x</a>', ours="http://localhost:6543")
    assert URLS.unsubscribe in rendered(email)[0]
    other = email_of(
        f'<a href="http://{host.replace("6543", "80")}/u/{OLD}">x</a>', ours="http://localhost:6543"
    )
    assert other.adjusted == ()


@pytest.mark.parametrize(
    "written",
    [
        f'<p style="background:url({OURS}/o/{OLD}.gif)">x</p>',
        f"<p style=\"background:url('{OURS}/o/{OLD}.gif')\">x</p>",
        f"<style>p{{background:url({OURS}/./o/{OLD}.gif)}}</style><p>x</p>",
        f'<table background="{OURS}/o/{OLD}.gif"><tr><td>x</table>',
        f'<img alt="" srcset="{OURS}/o/{OLD}.gif 2x, https://shop.test/a.png 1x">x',
        f'<video poster="{OURS}/o/{OLD}.gif"></video>x',
        f'<form action="{OURS}/u/{OLD}" method="post">x</form>',
    ],
)
def test_no_pixel_and_no_form_of_another_recipient_stays(written: str) -> None:
    html, text = rendered(again(written))
    assert OLD not in html + text
    assert html.count(URLS.open) == 1
    assert "shop.test" in html or "shop.test" not in written


def test_the_preheader_and_the_subject_lose_them() -> None:
    source = Source(f"Hi {OURS}/u/{OLD}", f"Leave: {OURS}/v/{OLD} or stay", "<p>x</p>", "")
    changed = copied_links.CopiedLinks(OURS, {}).in_source(source)
    assert (changed.subject, changed.preheader) == ("Hi ", "Leave:  or stay")


def test_hostile_addresses_take_time_in_proportion_to_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    direct = own_links.OwnAddress._direct

    def count(self: own_links.OwnAddress, address: str) -> own_links.OwnLink | None:
        nonlocal counted
        counted += len(address)
        return direct(self, address)

    monkeypatch.setattr(own_links.OwnAddress, "_direct", count)
    for piece in (
        "/http:/m.example.com",
        "=https://m.example.com/u/",
        "%252Fhttps%3A//m.example.com",
        "{#x#}//",
    ):
        counted = 0
        source = Source("s", "", f"m.example.com {piece * (400_000 // len(piece))}", "")
        copied_links.CopiedLinks(OURS, {}).in_source(source)
        assert counted < 10_000_000, piece


@pytest.mark.parametrize(
    "address",
    [
        f"https://other.example.com/u/{OLD}",
        f"https://track.test/?u=https%3A%2F%2Fother.example.com%2Fu%2F{OLD}",
        f"https://m.example.com@evil.test/u/{OLD}",
        f"https://evil.test/m.example.com/u/{OLD}",
        f"https://m.example.com%2eevil.test/u/{OLD}",
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
    email = again(f'<p><a href="{address}">x</a></p>', {f"{OLD}/1": "https://shop.test/"})
    assert (email.adjusted, email.links) == ((), (address,))


def test_a_counted_link_in_a_wrapper_leads_to_its_target() -> None:
    wrapped = f"https%3a%2f%2fm.example.com%2fc%2f{OLD}%2f1"
    html = f'<a href="https://linkprotect.cudasvc.com/url?a={wrapped}&amp;c=E,1">x</a>'
    assert copied_links.clicks_in([html], OURS) == {copied_links.CopiedClick(OLD, 1)}
    assert again(html, {f"{OLD}/1": "https://shop.test/"}).links == ("https://shop.test/",)


@pytest.mark.parametrize("written", ["https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"])
@pytest.mark.parametrize("ours", ["https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"])
def test_an_idn_is_ours_in_both_its_forms(ours: str, written: str) -> None:
    source = copied_links.CopiedLinks(ours, {}).in_source(
        Source("s", "", f'<a href="{written}/u/{OLD}">x</a>', "")
    )
    assert source.html == '<a href="{{ unsubscribe_url }}">x</a>'


def test_a_pixel_in_the_text_part_goes() -> None:
    assert again("", text=f"Hello [{OURS}/o/{OLD}.gif]").text.startswith("Hello []")


def test_the_text_part_and_variables_too() -> None:
    email = again(
        "<p>{{ foot }}</p>",
        {f"{OLD}/2": "https://shop.test/{{ city }}"},
        text=f"See {OURS}/c/{OLD}/2, leave {OURS}/u/{OLD}",
        variables={"foot": f"Leave: {OURS}/u/{OLD}"},
    )
    html, text = rendered(email, city="tver")
    assert f"<p>Leave: {URLS.unsubscribe}</p>" in html
    assert text.startswith(f"See {URLS.click}/1, leave {URLS.unsubscribe}")
    assert email.links == ("https://shop.test/{{ city }}",)


def test_an_installation_without_pages_has_no_addresses() -> None:
    assert email_of(CASE).adjusted == ()
    assert copied_links.clicks_in([CASE], "") == frozenset()
