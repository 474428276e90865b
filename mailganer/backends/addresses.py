"""Addresses and host names in the form that mail servers accept."""

from __future__ import annotations

import re

import idna
from email_validator import EmailNotValidError, validate_email

from ..errors import InputError, _

LONGEST_ADDRESS = 254  # maximum length between the brackets of an envelope (RFC 5321, section 4.5.3.1.3)


def normalise_email(email: str) -> str:
    """Return the address with its domain in lower case and, unless ASCII, encoded as in RFC 5891.

    Raises ``InputError`` for what cannot stand between the angle brackets of an envelope.
    """
    local, at, domain = email.strip().rpartition("@")
    if not at or not local or not domain or _UNSAFE.search(local) or _UNSAFE.search(domain):
        raise InputError({"email": _("Use the format name@example.com.")})
    host = _ascii_host(domain)
    if not host:
        raise InputError({"email": _("This is not a valid email address. Use the format name@example.com.")})
    address = f"{local}@{host}"
    if len(address) > LONGEST_ADDRESS:
        raise InputError(
            {"email": _("An address can have at most ${most} characters.", mapping={"most": LONGEST_ADDRESS})}
        )
    return address


def new_mailbox(email: str) -> str:
    """Return the normalised address of a mail account that is signed in with or added.

    Addresses follow the rules of those of subscribers, and a ``mailto:`` before one is removed. Raises
    ``InputError`` also for likely typing errors: several @, or a domain of one word. Stored mail accounts are
    not checked for them, so that those added by earlier versions stay usable.
    """
    address = normalise_email(_MAILTO.sub("", email.strip()))
    local, _at, domain = address.rpartition("@")
    if "@" in local:
        raise InputError(
            {"email": _("The address contains more than one @. Use the format name@example.com.")}
        )
    labels = domain.split(".")
    if len(labels) < 2 or not all(labels):
        raise InputError(
            {
                "email": _(
                    "“${domain}” is not a complete domain. Use the format name@example.com.",
                    mapping={"domain": domain},
                )
            }
        )
    if not _is_valid(local, domain):
        raise InputError({"email": _("This is not a valid email address. Use the format name@example.com.")})
    return address


def _is_valid(local: str, domain: str) -> bool:
    """Return whether an address follows RFC 5321; a network's own domains are allowed."""
    if local.startswith("-") or domain.rpartition(".")[2].isdecimal():
        return False
    try:
        for each in (f"{local}@example.com", f"name@{domain}.com"):
            validate_email(each, check_deliverability=False, strict=True)
    except EmailNotValidError:
        return False
    return True


_MAILTO = re.compile(r"\Amailto:\s*", re.IGNORECASE)
_UNSAFE = re.compile(r"[\s<>\x00-\x1f\x7f]")


def normalise_host(host: str, field_name: str = "host") -> str:
    """Return a host name in lower case, in ASCII, without its trailing dot. Raises ``InputError``."""
    name = _ascii_host(host)
    if not name:
        raise InputError({field_name: _("Enter a host name such as smtp.example.com.")})
    return name


def _ascii_host(host: str) -> str:
    """Return a host name as servers are asked for it; empty when it is none."""
    name = host.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            return ""
    return name if len(name) <= 253 and re.fullmatch(r"[a-z0-9_.:\-\[\]]+", name) else ""
