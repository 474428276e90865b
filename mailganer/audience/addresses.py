"""Parsing of email addresses, and the key by which two addresses belong to one subscriber."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from translationstring import TranslationString

from ..errors import InputError, _

LONGEST: Final = 254  # length limit of an address in an envelope (RFC 5321, 4.5.3.1.3)

# Characters around addresses in spreadsheets: spaces of all kinds, byte order marks, zero-width characters.
_TRIMMED: Final = (
    " \t\r\n\v\f\u00a0\u2000\u2001\u2002\u2003\u2009\u200a\u200b\u200c\u200d\u202f\u2060\u3000\ufeff"
)
_PLAIN_LOCAL: Final = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~]+(?:[-.][a-z0-9!#$%&'*+/=?^_`{|}~-]+|-)*", re.IGNORECASE
)

_DOUBLE_AT: Final = re.compile(r"@\s*@")

# Characters and words that users and programs add around an address; ``repair_address`` removes them.
_ANGLES: Final = re.compile(
    r"(?P<name>[^<>]*)<\s*(?:mailto:)?(?P<email>[^<>\s]+@[^<>\s]+)\s*>", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"mailto:\s*", re.IGNORECASE)
_SEVERAL: Final = re.compile(r"\s*:::\s*")  # separates the addresses of one contact in Google exports
_BEFORE: Final = "\"'<([{,;:"
_SIGNS: Final = ".,;:"
_BEHIND: Final = "\"'>)]},;:."

ADDRESS_REASONS: Final[dict[str, TranslationString]] = {
    "address_missing": _("Enter an email address."),
    "address_long": _("The address is longer than 254 characters."),
    "address_control": _("The address contains invisible control characters. Remove them."),
    "address_several": _("There is more than one address. Enter one address per subscriber."),
    "address_ats": _("The address contains more than one @. Use the format name@example.com."),
    "address_spaces": _("The address contains a space. Use the format name@example.com."),
    "address_domain": _(
        "The part after @ is missing or is not a valid domain. Use the format name@example.com."
    ),
    "address_wrong": _("This is not a valid email address. Use the format name@example.com."),
}


class AddressError(InputError):
    """Invalid address. ``code`` identifies the reason; its sentence is ``ADDRESS_REASONS[code]``."""

    def __init__(self, code: str) -> None:
        super().__init__({"email": ADDRESS_REASONS[code]})
        self.code = code


@dataclass(frozen=True, slots=True)
class Address:
    """An address as written, and its key: lower case, NFC, domain as A-labels. One key is one subscriber."""

    email: str
    key: str


def parse_address(text: str) -> Address:
    """Parse the single address in ``text``, ignoring spaces around it. Raise ``AddressError``.

    Quoted local parts, comments and a leading "-" are rejected although RFC 5321 allows some of them: no real
    mailbox uses them, and each allows injection into command lines or envelopes.
    """
    email = text.strip(_TRIMMED)
    if not email:
        raise AddressError("address_missing")
    if len(email) > LONGEST:
        raise AddressError("address_long")
    local, at, domain = email.rpartition("@")
    if not at:
        raise AddressError(_without_at(email))
    if key := plain_address_key(email):
        return Address(email, key)
    return _parse_slowly(email, local, domain)


def plain_address_key(email: str) -> str:
    """Return the key of an ordinary address; "" for a text that needs ``parse_address``."""
    local, _at, domain = email.rpartition("@")
    if len(email) <= LONGEST and len(local) <= 64 and _PLAIN_LOCAL.fullmatch(local):
        ascii_domain = _domain(domain)
        return ascii_domain and f"{local.lower()}@{ascii_domain}"
    return ""


@dataclass(frozen=True, slots=True)
class Repaired:
    """An address found in a text, and how it was found.

    ``code`` is "address_repaired", or "address_first" for the first of several addresses of one contact;
    empty for an address without additions. ``signs`` are the removed full stops and commas, if nothing else
    was removed.
    """

    address: Address
    name: str
    code: str
    signs: str = ""


def repair_address(text: str) -> Repaired | None:
    """Extract the address from a text that contains more than the address.

    Supported are ``Anna <a@b.org>``, ``mailto:a@b.org``, ``<a@b.org>``, ``a@b.org;`` and ``a@b.org :::
    c@d.org``. Return None when ``text`` contains no address, or several that are not known to belong to one
    contact.
    """
    if len(text) > 2 * LONGEST:
        return None
    first, *others = _SEVERAL.split(text.strip(_TRIMMED))
    name = ""
    if match := _ANGLES.fullmatch(first.strip(" ,;.")):
        first, name = match["email"], match["name"].strip(" \t\"'")
    elif match := _SCHEME.match(first):
        first = first[match.end() :].partition("?")[0]
    if name.lower() == first.lower():  # a@b.org <a@b.org>
        name = ""
    try:
        address = parse_address(first.strip(_TRIMMED).lstrip(_BEFORE).rstrip(_BEHIND))
    except AddressError:
        return None
    if "@" in name:
        return None
    if others:
        return Repaired(address, name, "address_first")
    before, _found, behind = text.partition(address.email)
    signs = "".join(f"{before} {behind}".split())
    only_signs = _found and set(signs) <= set(_SIGNS)
    return Repaired(address, name, "address_repaired", signs if only_signs else "")


def _parse_slowly(email: str, local: str, domain: str) -> Address:
    code = _obvious(email, local, domain)
    if code:
        raise AddressError(code)
    ascii_domain = _domain(domain)
    if not ascii_domain:
        raise AddressError("address_domain")
    try:
        local = _validate(f"{local}@example.com").local_part
    except EmailNotValidError as error:
        raise AddressError("address_wrong") from error
    return Address(f"{local}@{domain}", f"{_fold(local)}@{ascii_domain}")


def _obvious(email: str, local: str, domain: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} for character in email):
        return "address_control"
    if email.count("@") > 1:
        return "address_ats" if _DOUBLE_AT.search(email) else "address_several"
    if any(character.isspace() for character in email):
        return "address_spaces"
    if not domain or not local:
        return "address_domain" if local else "address_wrong"
    if local.startswith("-") or any(character in '"()<>,:;[]\\' for character in email):
        return "address_wrong"
    return ""


def _without_at(email: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in email):
        return "address_control"
    return "address_wrong" if any(map(str.isspace, email)) else "address_domain"


def _domain(domain: str) -> str:
    """Return the domain as lower-case A-labels; "" for an invalid domain."""
    if "." not in domain or domain.startswith("["):
        return ""
    return _known_domain(domain) if len(domain) <= LONGEST else _validated_domain(domain)


@lru_cache(maxsize=10_000)  # a million subscribers use a few thousand domains
def _known_domain(domain: str) -> str:
    return _validated_domain(domain)


def _validated_domain(domain: str) -> str:
    try:
        # Names like mail.local belong to private networks; whether they can be reached is decided by the mail
        # server. The validator rejects them, but not below a public domain.
        ascii_domain = _validate(f"name@{domain}.com").ascii_domain.lower().removesuffix(".com")
    except EmailNotValidError:
        return ""
    return "" if ascii_domain.rpartition(".")[2].isdecimal() else ascii_domain


def _validate(email: str) -> ValidatedEmail:
    return validate_email(email, check_deliverability=False, strict=True)


def _fold(local: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())
