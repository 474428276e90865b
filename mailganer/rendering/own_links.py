"""Detection of links at this installation that belong to one recipient, however they are written.

An address is parsed as a browser parses it (https://url.spec.whatwg.org/#url-parsing) and then as the server
does. Addresses wrapped by email apps and gateways are unwrapped.
"""

import html
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate, islice
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from . import encodings, markup, web_addresses
from .placeholders import CLOSE, MASK, OPEN, MaskedSource, mask

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}|test")  # format of a token; test emails have "test" instead
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "[::1]", "0.0.0.0"))  # noqa: S104
_BEGIN: Final = re.compile(r"(?:https?:[/\\]*|[/\\]{2,})", re.IGNORECASE)
_ENCODED: Final = 3  # how many times an address may be percent-encoded: a wrapper in a wrapper
_INNER: Final = re.compile(r"(?<=[=/_&?:])https?:[/\\]", re.IGNORECASE)
_MOST_INNER: Final = 20
_LONGEST: Final = 3 * web_addresses.MOST_CHARACTERS
_AFTER: Final = ".,;:!?*]}|"  # punctuation that a sentence puts after an address


class OwnLink(NamedTuple):
    """An address of one recipient. ``kind``: its first segment, u, v, c or o; ``number``: that of a link."""

    kind: str
    token: str
    number: int = 0


class OwnAddress:
    """The public address of an installation."""

    def __init__(self, ours: str) -> None:
        parts = urlsplit(ours)
        netloc = parts.netloc.rpartition("@")[2].lower()
        host, port = _host_and_port(netloc)
        self.hosts = _spellings(host)
        default = {"", "80", "443"}
        self._ports = {port} | (default if port in default else set())
        self._path = [each for each in parts.path.split("/") if each]
        # As gateways write a host: Proofpoint encodes "-" as "-2D".
        self._written = {spelling for each in self.hosts for spelling in (each, each.replace("-", "-2d"))}

    def may_be_in(self, text: str) -> bool:
        """Return whether a text may have one of our addresses. A cheap test that can give false positives."""
        lower = text.lower()
        if any(each in lower for each in self._written):
            return True
        if encodings.may_have_base64_address(text):
            return True
        if "%" not in lower and "&" not in lower:
            return False
        lower = unquote(unquote(unescaped(lower))).lower()
        return any(each in lower for each in self._written)

    def read(self, address: str) -> OwnLink | None:
        """Return the link of ours that this address is, alone or wrapped; None for any other address."""
        if len(address) > _LONGEST:
            return None
        address = web_addresses.as_read(address)
        return self._direct(address) or next(filter(None, map(self._direct, _inside(address))), None)

    def _direct(self, address: str) -> OwnLink | None:
        begin = _BEGIN.match(address)
        if begin is None:
            return None
        authority, path = _split(re.split("[?#]", address[begin.end() :], maxsplit=1)[0])
        host, port = _host_and_port(unquote(authority.rpartition("@")[2]).lower())
        if host.rstrip(".") not in self.hosts or port not in self._ports:
            return None
        segments = _segments(path)
        if segments[: len(self._path)] != self._path:
            return None
        return _own(segments[len(self._path) :])

    def in_text(self, masked: MaskedSource) -> Iterator[tuple[int, int, OwnLink]]:
        """Yield start, end and link of our addresses in a masked text. Comments may be inside an address."""
        for found in _CANDIDATE.finditer(_with_notes(masked)):
            written = found[0].rstrip(_AFTER)
            for each in (found[0], written) if written != found[0] else (written,):
                own = self.read(each.replace(_NOTE, ""))
                if own is not None:
                    yield found.start(), found.start() + len(each), own
                    break


@lru_cache(maxsize=16)
def place_of(ours: str) -> OwnAddress:
    return OwnAddress(ours)


_NOTE: Final = "\U0010ff06"  # stands for each character of a masked comment
_CANDIDATE: Final = re.compile(
    rf"(?:https?:|(?<![:/\\\w])[/\\]{{2}})[^\s\"'<>(){{}}{OPEN}{CLOSE}]+", re.IGNORECASE
)


def without_code(text: str) -> str:
    return MASK.sub("", text) if OPEN in text else text


def _with_notes(masked: MaskedSource) -> str:
    if not any(code.startswith("{#") for code in masked.codes):
        return masked.text
    return MASK.sub(
        lambda found: _NOTE * len(found[0]) if masked.code(found).startswith("{#") else found[0], masked.text
    )


def _own(segments: list[str]) -> OwnLink | None:
    match segments:
        case ["u" | "v" as kind, token] | ["u" as kind, token, "undo"] if _TOKEN.fullmatch(token):
            return OwnLink(kind, token)
        case ["c", token, number] if _TOKEN.fullmatch(token) and re.fullmatch("[0-9]{1,4}", number):
            return OwnLink("c", token, int(number))
        case ["o", name] if name.endswith(".gif") and _TOKEN.fullmatch(name.removesuffix(".gif")):
            return OwnLink("o", name.removesuffix(".gif"))
    return None


def _split(rest: str) -> tuple[str, str]:
    found = re.search(r"[/\\]", rest)
    return (rest[: found.start()], rest[found.start() :]) if found else (rest, "")


def _segments(path: str) -> list[str]:
    """Return the segments of a path as the server sees them, without empty ones."""
    kept: list[str] = []
    for each in unquote(path.replace("\\", "/")).split("/"):
        if each == "..":
            del kept[-1:]
        elif each not in ("", "."):
            kept.append(each)
    return kept


def _host_and_port(netloc: str) -> tuple[str, str]:
    host, colon, port = netloc.rpartition(":")
    return (host, port) if colon and (port.isdigit() or not port) else (netloc, "")


def _spellings(host: str) -> frozenset[str]:
    """Return the host as configured and in the other spelling of an IDN, and all loopback names for one."""
    found = {host}
    with suppress(UnicodeError):
        found.add(host.encode("idna").decode())
        found.add(host.encode("idna").decode("idna"))
    return frozenset(found - {""}) | (_LOOPBACK if host in _LOOPBACK else frozenset())


def _inside(address: str) -> Iterator[str]:
    """Yield addresses in the parameters or the path of another one."""
    for form in _forms(address):
        yield from _readable_inside(form, 1)
        for decoded in islice(encodings.base64_addresses(form), _MOST_INNER):
            yield decoded
            for each in _forms(decoded):
                yield from _readable_inside(each, 1)


def _readable_inside(form: str, start: int) -> Iterator[str]:
    for found in islice(_INNER.finditer(form, start), _MOST_INNER):
        yield re.split(r"[&\s\"'<>]|__;", form[found.start() :], maxsplit=1)[0]


_ESCAPED_CHARACTER: Final = re.compile(r"\\[ux][0-9A-Fa-f]{2}")


def _forms(address: str) -> Iterator[str]:
    """Yield the address with its percent-encoding removed layer by layer.

    Also without the escapes of a string in JSON or JavaScript, and as Proofpoint encodes it.
    """
    form = address
    for _layer in range(_ENCODED):
        yield form
        if _ESCAPED_CHARACTER.search(form):
            yield encodings.without_escapes(form)
        if re.search("-3a", form, re.IGNORECASE):
            yield unquote(re.sub("-([0-9A-Fa-f]{2})", r"%\1", form.replace("_", "/")))
        decoded = unquote(form)
        if decoded == form:
            return
        form = decoded
    yield form


# --- tokens, whatever is around them

_LENGTH: Final = 22
_RUN: Final = re.compile(rf"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{{{_LENGTH}}}(?![A-Za-z0-9_-])")
_CUT: Final = "\U0010ff07"  # stands for whatever divides a text without being seen
_DIVIDED: Final = re.compile(rf"[A-Za-z0-9_{_CUT}-]{{{_LENGTH + 1},}}+")
# Default_Ignorable_Code_Point of Unicode, the annotation marks, control characters, and what the compiler
# removes.
INVISIBLE: Final = re.compile(
    "[\0-\x08\x0b\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U0010ff00-\U0010ffff]"
)


def tokens_in(texts: Iterable[str]) -> Iterator[str]:
    """Yield everything in the texts that can be a token, however it is encoded or divided."""
    for text in texts:
        for plain in (_without_comments(unescaped(text)), _without_markup(text)):
            for form in (*_forms(plain), *_other_forms(plain)):
                yield from _RUN.findall(form)
                yield from _divided(form)
                if "__" in form:
                    yield from _RUN.findall(form.replace("__", " "))
                for decoded in encodings.in_base64(form.replace(_CUT, "")):
                    yield from _RUN.findall(decoded)


def _divided(form: str) -> Iterator[str]:
    """Yield runs of the right length that begin and end at a cut or where the word does.

    Cuts are not simply removed, because what stands next to a token may be divided from it by a tag alone.
    """
    for found in _DIVIDED.finditer(INVISIBLE.sub(_CUT, form)):
        pieces = found[0].split(_CUT)
        word, cuts = "".join(pieces), set(accumulate(map(len, pieces), initial=0))
        for begin in cuts if len(pieces) > 1 else ():
            if begin + _LENGTH in cuts:
                yield word[begin : begin + _LENGTH]


def _without_markup(text: str) -> str:
    """Return the text with a cut for each tag, comment and piece of template code."""
    source = mask(_RAW_TAG.sub(_CUT, text)).text if "{" in text else text
    shown, for_outlook = [], []
    for token in markup.tokens(source):
        shown.append(source[token.start : token.end] if token.kind == "text" else _CUT)
        if token.kind == "comment":
            for_outlook += [
                source[each.start : each.end] if each.kind == "text" else _CUT
                for each in markup.outlook_tags(source, token)
            ]
            for_outlook.append(" ")
    return unescaped(MASK.sub(_CUT, "".join((*shown, " ", *for_outlook))))


_RAW_TAG: Final = re.compile(r"\{%[-+]?\s*+(?:end)?raw\s*+[-+]?%\}")


def _other_forms(plain: str) -> Iterator[str]:
    """The text as it is read by a browser, by a template and by an email app."""
    if "\n" in plain:
        yield re.sub("[\t\n\r]", "", plain)
    if "=" in plain:
        yield from _forms(unescaped(encodings.from_quoted_printable(plain)))
    if "{{" in plain or "{%" in plain:
        yield encodings.without_escapes(_BETWEEN_STRINGS.sub("", plain))


_BETWEEN_STRINGS: Final = re.compile(r"[\"']\s*+[~+]?\s*+[\"']")


_LINK: Final = re.compile(r"https?://([a-z0-9.-]{1,253})/([^\s\"'<>]{1,2000})", re.IGNORECASE)
_KEEPERS: Final = (".mimecast.com", ".mimecastprotect.com")


def hidden_in(texts: Iterable[str], ours: str) -> Iterator[str]:
    """Links of gateways that keep the address to themselves, and name only our host (``?domain=``)."""
    hosts = place_of(ours).hosts if ours else frozenset()
    for text in texts if hosts else ():
        if "mimecast" in text.lower():
            for found in _LINK.finditer(unescaped(text)):
                named = re.split("[/?&=:]", unquote(found[2]).lower())
                if found[1].lower().endswith(_KEEPERS) and not hosts.isdisjoint(named):
                    yield found[0]


def _without_comments(text: str) -> str:
    out, at = [], 0
    while (start := text.find("{#", at)) >= 0 and (end := text.find("#}", start + 2)) >= 0:
        out.append(text[at:start])
        at = end + 2
    return "".join((*out, text[at:]))


def unescaped(text: str) -> str:
    """Return the text without character references. Python parses no number of thousands of digits."""
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text))


_LONG_NUMBER: Final = re.compile("&#(?:[0-9]{30,}+|x[0-9a-f]{30,}+);?", re.IGNORECASE)
