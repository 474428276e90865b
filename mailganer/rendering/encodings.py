"""Texts inside of encodings that email apps, gateways and templates put around addresses.

Each parser takes time in proportion to the length of its text, because sources are untrusted.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{30,}+")
_BASE64_ADDRESS: Final = re.compile(r"aHR0c[A-Za-z0-9+_-]{15,}+(?:/[A-Za-z0-9+_-]++)*+")  # "http"
_STANDARD: Final = str.maketrans("-_", "+/")
_VISIBLE: Final = re.compile(r"[!-~]*")
_SOFT_END: Final = re.compile(r"=[ \t]*\r?\n")
_CODED: Final = re.compile(r"=([0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(
    r"\\(?:x(?P<x>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>000[0-9A-Fa-f]{5})|(?P<o>[0-7]{1,3})|(?P<c>.))",
    re.DOTALL,
)
_EMAILS: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}


def may_have_base64_address(text: str) -> bool:
    """Tell quickly whether there can be an address in Base64."""
    return "aHR0c" in text


def base64_addresses(text: str) -> Iterator[str]:
    """Yield the addresses that stand in Base64 in a text, as some gateways write them."""
    if may_have_base64_address(text):
        for found in _BASE64_ADDRESS.finditer(text):
            whole, first = found[0], found[0].partition("/")[0]
            for each in (whole, first) if whole != first else (whole,):
                if visible := _VISIBLE.match(_decoded(each)):
                    yield visible[0]


def in_base64(text: str) -> Iterator[str]:
    """Yield all that may be in Base64 in a text; the emails before it may hide where it begins."""
    for found in _BASE64.finditer(text):
        for begin in range(4):
            yield _decoded(found[0][begin:])


def _decoded(text: str) -> str:
    text = text.translate(_STANDARD)
    usable = text[: len(text) - (len(text) % 4 == 1)]
    return binascii.a2b_base64(usable + "=" * (-len(usable) % 4)).decode("latin-1")


def from_quoted_printable(text: str) -> str:
    """Return a text without quoted-printable: the source of a raw message that was pasted."""
    return _CODED.sub(lambda code: chr(int(code[1], 16)), _SOFT_END.sub("", text))


def is_quoted_printable(text: str) -> bool:
    """Whether a text is, plainly, the quoted-printable source of an email."""
    return bool(_QUOTED_ATTRIBUTE.search(text)) and bool(_SOFT_END.search(text) or _MANY_CODED.search(text))


_QUOTED_ATTRIBUTE: Final = re.compile(r"<[A-Za-z][^<>]{0,500}?\w=3D[\"'\w]")
_MANY_CODED: Final = re.compile(r"(?:=[C-F][0-9A-F](?:=[89AB][0-9A-F])+){2}")


def without_escapes(text: str) -> str:
    """Return the text of a string in template code: ``\\x41`` is ``A``."""
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def _unescaped(escape: re.Match[str]) -> str:
    for name, base in (("x", 16), ("u", 16), ("U", 16), ("o", 8)):
        if escape[name]:
            return chr(int(escape[name], base))
    return _EMAILS.get(escape["c"], escape["c"] if escape["c"] in "\\'\"" else escape[0])
