"""Valid addresses, and addresses of the same mailbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailganer.audience import AddressError, parse_address


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("anna@example.com", "anna@example.com"),
        (" Anna.Ivanova@Example.COM\u00a0", "anna.ivanova@example.com"),
        ("\ufeffanna@example.com\u200b", "anna@example.com"),
        ("a+b@x.co", "a+b@x.co"),
        ("a_b-c'd@x.co", "a_b-c'd@x.co"),
        ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
        ("Иван@почта.рф", "иван@xn--80a1acny.xn--p1ai"),
        ("jose\u0301@example.com", "josé@example.com"),
        ("it@mail.corp.local", "it@mail.corp.local"),
        ("a@b.test", "a@b.test"),
    ],
)
def test_an_address_and_the_key_of_its_subscriber(text, key):
    assert parse_address(text).key == key


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "address_missing"),
        (" \t\u200b", "address_missing"),
        ("anna", "address_domain"),
        ("anna@", "address_domain"),
        ("anna@localhost", "address_domain"),
        ("anna@example..com", "address_domain"),
        ("anna@-example.com", "address_domain"),
        ("anna@1.2.3.4", "address_domain"),
        ("anna@[1.2.3.4]", "address_wrong"),
        ("@example.com", "address_wrong"),
        ("an na@example.com", "address_spaces"),
        ("Anna <anna@example.com>", "address_spaces"),
        ("a@example.com, b@example.com", "address_several"),
        ("a@example.com;b@example.com", "address_several"),
        ("a@b@example.com", "address_several"),
        ("-rf@example.com", "address_wrong"),
        ('"anna"@example.com', "address_wrong"),
        ("anna(home)@example.com", "address_wrong"),
        ("<anna@example.com>", "address_wrong"),
        (".anna@example.com", "address_wrong"),
        ("an..na@example.com", "address_wrong"),
        ("anna@example.com\r\nRCPT TO:<eve@example.com>", "address_control"),
        ("an\x00na@example.com", "address_control"),
        ("an\u202ena@example.com", "address_control"),
        ("a" * 65 + "@example.com", "address_wrong"),
        ("a" * 320 + "@example.com", "address_long"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text, code):
    with pytest.raises(AddressError) as refused:
        parse_address(text)
    assert refused.value.code == code
    assert refused.value.fields.keys() == {"email"}


@given(st.text(max_size=60) | st.from_regex(r"[^@\s]{1,20}@[^@\s]{1,20}\.[a-z]{2,5}", fullmatch=True))
def test_whatever_passes_is_one_line_and_its_key_stays_the_same(text):
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(address.key).key == address.key
    assert parse_address(address.email).key == address.key
    for character in '\r\n\x00 <>(),;:\\"\u2028':
        assert character not in address.email
    assert not address.email.startswith("-")
    assert address.key.rpartition("@")[2].isascii()


def test_an_address_of_255_characters_is_one_too_long():
    domain = f"{'d' * 60}.{'e' * 60}.{'f' * 63}.com"
    longest = "a" * 64 + "@" + domain
    assert len(longest) == 254
    assert parse_address(longest).email == longest
    with pytest.raises(AddressError) as refused:
        parse_address("a" * 64 + "@d" + domain)
    assert refused.value.code == "address_long"
