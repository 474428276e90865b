"""Faults of a link that can be found from its address alone.

An email has no address of its own: an address relative to a page leads nowhere, and ``//host`` is looked for
on the recipient's computer. Schemes are those that browsers and phones open (URL Standard, section 4.4).
"""

import re
from enum import StrEnum
from urllib.parse import urlsplit


class LinkFault(StrEnum):
    """Reason why an address leads nowhere."""

    empty = "empty"
    anchor = "anchor"  # to a place that the email does not have
    no_scheme = "no_scheme"  # www.shop.test
    relative = "relative"  # /news, page.html
    no_protocol = "no_protocol"  # //shop.test
    file = "file"  # on the writer's computer
    inside = "inside"  # cid: or mid:, a part that this email does not have
    unopened = "unopened"  # data: and its like, which email apps do not open
    code = "code"  # a variable that is not filled any more: %7B%7Bpage%7D%7D
    mistyped = "mistyped"  # http:/shop.test, https://https://shop.test
    script = "script"
    mail = "mail"  # an email address without mailto:, or mailto: without an address


_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_NEARLY_WEB = re.compile(r"(?:h[tp]{2,4}s?|hhtps?|t?tps?)[:;]/{0,3}(?=\w)|https?/{1,3}(?=\w)", re.IGNORECASE)
_ENCODED = re.compile(r"%7B%7B(.{0,400}?)%7D%7D", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+(?:[^\W\d_]{2,}|xn--[\w-]+)\.?(?::\d+)?(?=[/?#]|$)")
_MAIL = re.compile(r"[^\s@/:?#]++@(?:[\w-]++\.)++[\w-]+")
_HAS_MAIL = re.compile(r"(?<=[^\s@/:?#])@(?:[\w-]++\.)+[\w-]")
_LONGEST_MEANT = 1000  # longer ones are never shown
_FILE = re.compile(r"file:|[a-z]:[\\/]|\\\\", re.IGNORECASE)
_INSIDE = frozenset({"cid", "mid"})
_UNOPENED = frozenset({"data", "blob", "about", "view-source", "chrome", "moz-extension"})
_SCRIPTS = frozenset({"javascript", "vbscript"})
# Endings of files, which a browser takes for a page beside this one: "page.html" is no domain.
_PAGES = frozenset(
    {"html", "htm", "php", "asp", "aspx", "jsp", "pdf", "jpg", "jpeg", "png", "gif", "zip", "doc"}
)


def browser_reading(address: str) -> str:
    """Return the address as a browser reads it: without tabs and line breaks, trimmed."""
    return re.sub(r"[\t\r\n]", "", address).strip(" \x00\x0b\x0c\x1c\x1d\x1e\x1f")


def fault_of(address: str) -> LinkFault | None:
    """Return why an address leads nowhere, or None when it can be followed. ``#name`` is not checked."""
    address = browser_reading(address)
    if not address:
        return LinkFault.empty
    if address.startswith("#"):
        return None
    if _ENCODED.search(address) or "{{" in address:
        return LinkFault.code
    if _FILE.match(address):
        return LinkFault.file
    if address.startswith(("//", "\\/", "/\\")):
        return LinkFault.no_protocol
    if re.match(r"https?://", address, re.IGNORECASE):
        return _fault_of_site(address)
    if _NEARLY_WEB.match(address):
        return LinkFault.mistyped
    return _fault_of_scheme(address)


def _fault_of_site(address: str) -> LinkFault | None:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return LinkFault.mistyped
    if not host or " " in host or host.startswith(".") or ".." in host or "," in host:
        return LinkFault.mistyped
    if host in ("http", "https", "www") or host.startswith(("http:", "https:")):
        return LinkFault.mistyped  # https://https://shop.test
    return None


def _fault_of_scheme(address: str) -> LinkFault | None:
    scheme = _SCHEME.match(address)
    name = scheme[1].lower() if scheme else ""
    if not scheme or _HOST.match(address):  # shop.test:8080/x has a colon, and no scheme
        return _fault_without_scheme(address)
    if name == "mailto":
        return None if _HAS_MAIL.search(address) or "to=" in address.lower() else LinkFault.mail
    if name in _INSIDE:
        return LinkFault.inside
    if name in _UNOPENED:
        return LinkFault.unopened
    return LinkFault.script if name in _SCRIPTS else None


def _fault_without_scheme(address: str) -> LinkFault:
    if _MAIL.fullmatch(address.partition("?")[0]):
        return LinkFault.mail
    host = _HOST.match(address)
    if host and host[0].rstrip(".").rpartition(".")[2].partition(":")[0].lower() not in _PAGES:
        return LinkFault.no_scheme
    return LinkFault.relative


def suggested_address(address: str) -> str:
    """Return the address that is likely meant, or an empty string when it cannot be guessed."""
    address = browser_reading(address)
    fault = fault_of(address)
    address = address[:_LONGEST_MEANT]
    if fault is LinkFault.no_scheme:
        return f"https://{address}"
    if fault is LinkFault.no_protocol:
        return "https://" + address[2:]
    if fault is LinkFault.mail and "@" in address and not address.lower().startswith("mailto:"):
        return f"mailto:{address}"
    if fault is LinkFault.code:
        return _ENCODED.sub(lambda found: f"{{{{ {found[1].replace('%20', ' ').strip()} }}}}", address)
    if fault is LinkFault.mistyped:
        return _retyped(address)
    return ""


def _retyped(address: str) -> str:
    """Return ``https://http:/shop.test`` as ``http://shop.test``: what follows all such beginnings."""
    rest, secure = address, True
    while begun := (_NEARLY_WEB.match(rest) or re.match(r"https?:/*", rest, re.IGNORECASE)):
        secure, rest = "s" in begun[0].lower().partition(":")[0], rest[begun.end() :]
    return f"http{'s' if secure else ''}://{rest}" if _HOST.match(rest) else ""
