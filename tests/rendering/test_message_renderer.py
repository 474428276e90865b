"""Whole messages as sent, with exactly the intended headers."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailganer.errors import EmailError
from mailganer.rendering import CompiledEmail, MessageRenderer, Urls, headers
from mailganer.rendering.sandbox_operations import clean

from .conftest import COPY, ENVELOPE, URLS, email_of, part, read

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Id",
    "Precedence",
    "MIME-Version",
    "Content-Type",
]
# Each tries to end a header, to begin another, or to be decoded into one.
NAUGHTY = [
    "Anna\r\nBcc: victim@example.com",
    "Anna\nBcc: victim@example.com",
    "Anna\rBcc: victim@example.com",
    "Anna\r\n\r\n<p>another body</p>",
    "Anna\x00\x0b\x0cBcc: victim@example.com",
    "Anna\u0085Bcc: victim@example.com",
    "Anna\u2028Bcc: victim@example.com\u2029X: y",
    "=?utf-8?q?Anna=0D=0ABcc=3A_victim=40example.com?=",
    "=?utf-8?b?QW5uYQ0KQmNjOiB2aWN0aW1AZXhhbXBsZS5jb20=?=",
    "=?utf-8?q?=0D=0A=0D=0Abody?= =?utf-8?q?more?=",
    '"Anna" <victim@example.com>, other',
    "Anna <victim@example.com>",
    "Anna\\",
    'Anna "the \\ best"',
    "\u202eannA",
    "\ud800half",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🎂" * 30,
    "a" * 900,
    " ".join(["word"] * 150),
    "; filename=x; boundary=y",
    "--=_mailganer--",
    ",;:()<>@[]",
    "Ünïcode\tTab",
]


def spoken(value: object) -> str:
    return str(make_header(decode_header(str(value))))


def wire_is_clean(message: bytes) -> None:
    assert message.endswith(b"\r\n")
    rest = message.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert b"\0" not in rest
    assert message.isascii()
    assert max(map(len, message.split(b"\r\n"))) <= 998


def test_an_email_carries_exactly_the_headers_of_the_contract(printed) -> None:
    message = printed()
    wire_is_clean(message)
    parsed = read(message)
    assert parsed.keys() == HEADERS
    assert parsed["From"].addresses[0].display_name == "Мария из Мастерской"
    assert parsed["From"].addresses[0].addr_spec == "maria@example.com"
    assert parsed["To"].addresses[0].display_name == "Анна Иванова"
    assert parsed["Message-ID"] == "<1f.2a@example.com>"
    assert parsed["Date"].datetime == COPY.date
    assert parsed["Precedence"] == "bulk"
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert parsed.get_content_type() == "multipart/alternative"
    assert [piece.get_content_type() for piece in parsed.iter_parts()] == ["text/plain", "text/html"]


def test_the_unsubscribe_header_is_one_unfolded_unencoded_line(printed) -> None:
    long = "https://mail.example.com/u/" + "T" * 300
    message = printed(copy={"urls": URLS._replace(unsubscribe=long)})
    assert f"\r\nList-Unsubscribe: <{long}>\r\n".encode() in message


def test_an_email_sent_without_a_web_server_is_left_by_answering_it(printed) -> None:
    urls = Urls(unsubscribe="mailto:maria@example.com?subject=unsubscribe", browser="", open="", click="")
    quiet = {"track_opens": False, "track_clicks": False}
    message = printed('<a href="https://e.com/">x</a>', copy={"urls": urls}, envelope=quiet)
    assert read(message).keys() == [name for name in HEADERS if name != "List-Unsubscribe-Post"]
    assert b"\r\nList-Unsubscribe: <mailto:maria@example.com?subject=unsubscribe>\r\n" in message
    assert 'href="mailto:maria@example.com?subject=unsubscribe"' in part(message, "html")
    assert "в браузере" not in part(message, "html") + part(message, "plain")


@pytest.mark.parametrize(
    "url",
    ["javascript:x", "/u/1", "", "https://e.com/u/1>\r\nBcc: v@e.com", "https://e.com/ u", "ftp://e.com/"],
)
def test_a_way_out_that_leads_nowhere_stops_the_copy(url: str) -> None:
    with pytest.raises(EmailError):
        MessageRenderer(email_of(), ENVELOPE).render(COPY._replace(urls=URLS._replace(unsubscribe=url)))


def test_replies_go_where_the_sender_wants_them(printed) -> None:
    message = printed(envelope={"reply_to": "answers@example.com"})
    assert read(message)["Reply-To"].addresses[0].addr_spec == "answers@example.com"
    assert read(message).keys() == ["From", "Reply-To", *HEADERS[1:]]


@pytest.mark.parametrize("naughty", NAUGHTY)
def test_a_naughty_name_is_only_ever_a_name(naughty: str, printed) -> None:
    message = printed(
        "<p>{{ first_name }}</p>",
        {"first_name": naughty},
        subject="For {{ first_name }}",
        copy={"name": naughty},
        envelope={"from_name": naughty, "list_name": naughty},
    )
    wire_is_clean(message)
    parsed = read(message)
    assert parsed.keys() == HEADERS
    for header, address in (("From", "maria@example.com"), ("To", "anna@example.org")):
        assert [found.addr_spec for found in parsed[header].addresses] == [address]
    raw = message.split(b"\r\n\r\n", 1)[0].decode()
    subject = re.search(r"\r\nSubject: ([^\r\n]*(?:\r\n [^\r\n]*)*)", raw)
    assert subject
    assert spoken(subject[1].replace("\r\n", "")) == headers.literal(f"For {clean(naughty)}")


@pytest.mark.parametrize(
    "email",
    [
        "a@b>\r\nRCPT TO:<v@example.com",
        "a@b.example> NOTIFY=NEVER",
        "a b@example.com",
        "two@example.com, three@example.com",
        "no-domain@",
        "@example.com",
        "josé smith@example.com",
        "jos\u0085@example.com",
        "jos\u202e@example.com",
        "é" * 33 + "@example.com",
        "a@exa\nmple.com",
        "<a@example.com>",
        "",
    ],
)
def test_an_address_that_is_none_stops_only_this_copy(email: str) -> None:
    renderer = MessageRenderer(email_of(), ENVELOPE)
    with pytest.raises(EmailError):
        renderer.render(COPY._replace(email=email))
    assert read(renderer.render(COPY))["To"]


@pytest.mark.parametrize("email", ["josé@example.com", "анна@почта.рф", "राम@example.org"])
def test_a_local_part_in_another_script_is_written_as_it_is(printed: Any, email: str) -> None:
    message = printed(copy={"email": email})
    local, domain = email.split("@")
    assert f"<{local}@{domain.encode('idna').decode()}>".encode() in message


def test_a_domain_in_another_script_is_written_in_ascii(printed) -> None:
    message = printed(copy={"email": "bob@münchen.example"})
    assert b"<bob@xn--mnchen-3ya.example>" in message


@pytest.mark.parametrize(
    "message_id", ["1.2@example.com", "<1 2@example.com>", "<a@b>\r\nX: y", "<@>", "<a>"]
)
def test_a_message_id_that_is_not_well_formed_stops_the_copy(message_id: str) -> None:
    with pytest.raises(EmailError):
        MessageRenderer(email_of(), ENVELOPE).render(COPY._replace(message_id=message_id))


def test_an_added_header_may_not_be_one_of_ours_and_cannot_smuggle(printed) -> None:
    message = printed(envelope={"extra_headers": (("X-Campaign", "17\r\nBcc: v@example.com"),)})
    assert read(message)["X-Campaign"] == "17 Bcc: v@example.com"
    for name in ("Bcc", "Subject", "Auto-Submitted", "X-A\r\nBcc", "X A", ""):
        with pytest.raises(EmailError):
            MessageRenderer(email_of(), replace(ENVELOPE, extra_headers=((name, "x"),)))


@pytest.mark.parametrize(
    "head",
    [
        b"From: a\r\nTo: b\r\nBcc: c",
        b"From: a",
        b"From: a\r\nFrom: b\r\nTo: c",
        b"From: a\nTo: b\r\nTo: c",
        b"From: a\r\nTo: b\rc",
        b"From: a\r\nTo: " + b"x" * 1000,
        b"From: a\r\n \r\nTo: b",
        b"To: b\r\nFrom: a",
        b"From: a\r\nTo: b\r\n",
    ],
)
def test_the_gate_stops_a_head_that_is_not_the_one_that_was_meant(head: bytes) -> None:
    with pytest.raises(EmailError):
        headers.require_headers(head + b"\r\n", headers.header_pattern(["From", "To"]))


def test_the_gate_lets_folded_lines_through() -> None:
    headers.require_headers(
        b"From: a\r\n <a@example.com>\r\nTo: b\r\n", headers.header_pattern(["From", "To"])
    )


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_subject_is_read_as_it_was_written(subject: str) -> None:
    value = headers.text_value(subject)
    assert value.isascii()
    assert all(len(line) <= 76 for line in f"Subject:  {value}".split("\r\n"))
    assert spoken(value.replace("\r\n", "")) == headers.literal(subject)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_name_is_read_as_it_was_written(name: str) -> None:
    line = f"To: {headers.mailbox(name, 'anna@example.org')}\r\n\r\n"
    assert [found.addr_spec for found in read(line.encode("ascii"))["To"].addresses] == ["anna@example.org"]
    # The modern policy keeps the space between two encoded words of a name, against RFC 2047, section 6.2.
    phrase = headers.phrase(name)
    if phrase.startswith('"'):
        phrase = re.sub(r"\\(.)", r"\1", phrase[1:-1])
    assert spoken(phrase.replace("\r\n", "")) == headers.literal(name)


def test_an_address_without_a_name_stands_alone() -> None:
    assert headers.mailbox("", "anna@example.org") == "anna@example.org"


def test_dates_are_written_as_mail_programs_expect() -> None:
    assert headers.date_value(datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC)) == "Sun, 01 Mar 2026 09:05:07 +0000"


def test_values_are_escaped_in_html_and_plain_in_text_and_subject(printed) -> None:
    evil = '<script>alert("x")</script>&'
    message = printed(
        '<p title="{{ first_name }}">{{ first_name }}</p>',
        {"first_name": evil},
        subject="To {{ first_name }}",
    )
    assert "<script>" not in part(message, "html")
    assert part(message, "html").count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;") == 2
    assert evil in part(message, "plain")
    assert read(message)["Subject"] == f"To {evil}"


@pytest.mark.parametrize(
    "value", ["{{ 7*7 }}", "{% for x in y %}", "{# #}", "${7*7}", "{{ unsubscribe_url }}"]
)
def test_a_value_is_never_evaluated(value: str, printed) -> None:
    message = printed("<p>{{ first_name }}{{ promo }}</p>", {"first_name": value, "promo": value})
    assert part(message, "html").count(value) == 2


def test_a_field_that_is_too_long_stops_only_this_copy() -> None:
    renderer = MessageRenderer(email_of("<p>{{ first_name }}</p>"), ENVELOPE)
    with pytest.raises(EmailError, match="first_name"):
        renderer.render(COPY._replace(values={"first_name": "x" * 10_001}))
    assert renderer.render(COPY._replace(values={"first_name": "x" * 10_000, "unused": "x" * 10**6}))


def test_lines_with_dots_and_odd_line_ends_arrive_as_they_were(printed) -> None:
    body = "<p>a</p>\r\n.\r\n..\n.\r\r.\n<p>{{ first_name }}</p>"
    message = printed(body, {"first_name": "x\r.\ny\r\n.\r\n"})
    wire_is_clean(message)
    assert "<p>a</p>\n.\n..\n.\n\n.\n<p>x\n.\ny\n.\n</p>" in part(message, "html")


def test_clicks_and_opens_can_be_left_uncounted(printed) -> None:
    html = '<a href="https://shop.example.com/?a=1&amp;b={{ first_name }}">x</a>'
    counted = part(printed(html), "html")
    assert f'href="{URLS.click}/1"' in counted
    assert URLS.open in counted
    quiet = printed(html, envelope={"track_clicks": False, "track_opens": False})
    assert 'href="https://shop.example.com/?a=1&amp;b=Анна"' in part(quiet, "html")
    assert "https://shop.example.com/?a=1&b=Анна" in part(quiet, "plain")
    assert URLS.open not in part(quiet, "html")
    assert URLS.click not in part(quiet, "html")


def test_an_email_survives_being_kept_as_json() -> None:
    import json

    email = email_of(
        '<p>{{ promo }}</p><a href="https://example.com/">x</a>', variables={"promo": "For {{ first_name }}"}
    )
    kept = json.loads(json.dumps(email.to_json()))
    assert CompiledEmail.from_json(kept) == email
    assert MessageRenderer(CompiledEmail.from_json(kept), ENVELOPE).render(COPY) == MessageRenderer(
        email, ENVELOPE
    ).render(COPY)


def test_the_postal_address_stands_under_emails_that_have_one(printed) -> None:
    message = printed(envelope={"postal_address": "Garden St. 12 {{ 7*7 }} <b>"})
    assert "Garden St. 12 {{ 7*7 }} &lt;b&gt;" in part(message, "html")
    assert "Garden St. 12 {{ 7*7 }} <b>" in part(message, "plain")
