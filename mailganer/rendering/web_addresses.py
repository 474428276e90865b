"""Web addresses as browsers parse them. Source: https://url.spec.whatwg.org/#url-parsing"""

import re
from urllib.parse import quote, unquote, urlsplit

MOST_CHARACTERS = 4000
_AROUND = "".join(map(chr, range(0x21)))  # control characters and the space
_INSIDE = re.compile(r"[\t\n\r]")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_AUTHORITY = re.compile(r"[A-Za-z0-9._~%:@!$&'()*+,;=\[\]-]+")
_KEPT = "!#$%&'()*+,/:;=?@[]~"


def as_read(address: str) -> str:
    """Return the address without surrounding spaces and without line breaks and tabs inside."""
    return _INSIDE.sub("", address.strip(_AROUND))


def without_scheme(address: str) -> str:
    """Return the bare address of ``mailto:info%40example.com?subject=Hi``, or the number in ``tel:``.

    The number in ``sms:``, too. Any other address is returned as it is.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or scheme.lower() not in ("mailto", "tel", "sms", "callto"):
        return address
    rest = rest.partition("?")[0]
    return unquote(rest.partition(";")[0] if scheme.lower() == "sms" else rest)


def is_web(address: str) -> bool:
    return bool(_WEB.match(address))


def web_address(address: str) -> str | None:
    """Return the address in ASCII, safe in a Location header; None if it does not lead to a web page.

    Addresses that browsers parse in different ways, such as with a backslash before the path, are refused.
    """
    address = as_read(address)
    if not is_web(address):
        return None
    try:
        parts = urlsplit(re.sub(r"\s", " ", address))
        authority = _ascii(parts.netloc)
        path, query, fragment = (
            quote(part, safe=_KEPT) for part in (parts.path.replace("\\", "/"), parts.query, parts.fragment)
        )
    except (ValueError, UnicodeError):
        return None
    if not _AUTHORITY.fullmatch(authority):
        return None
    return f"{parts.scheme}://{authority}{path}{query and '?' + query}{fragment and '#' + fragment}"


def _ascii(authority: str) -> str:
    """Return ``user@пример.рф:8080`` with the host in ASCII. Raises ``UnicodeError``."""
    if authority.isascii():
        return authority
    user, at, rest = authority.rpartition("@")
    host, colon, port = rest.partition(":")
    return f"{quote(user, safe=_KEPT)}{at}{host.encode('idna').decode()}{colon}{port}"
