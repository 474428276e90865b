"""HTML tokenizer that follows the HTML standard and keeps every byte.

The tokens are spans of the source. An email is changed by replacing such spans, so everything else stays as
it was written. Source: https://html.spec.whatwg.org/multipage/parsing.html#tokenization
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from html.entities import html5
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple

from .placeholders import OPEN, OURS

_SPACE = r"\t\n\f\r "
_NAME = rf"[^{_SPACE}/>][^{_SPACE}/>=]*+"  # its first character may be "="
_UNQUOTED = rf"[^{_SPACE}>\"'][^{_SPACE}>]*+"
_TOKEN = re.compile(
    rf"""<(?:
      (?P<slash>/?)(?P<name>[a-zA-Z][^{_SPACE}/>]*+)
      (?P<attributes>
        (?:[{_SPACE}/]*+{_NAME}
          (?:[{_SPACE}]*+=[{_SPACE}]*+(?:"[^"]*+"|'[^']*+'|{_UNQUOTED}|(?=>))|(?![{_SPACE}]*+=))
        )*+[{_SPACE}/]*+
      )>
    | (?P<comment>!--(?:-?>|.*?(?:--!?>|\Z))|(?:[!?]|/(?![a-zA-Z]))[^>]*+(?:>|\Z))
    | (?P<unfinished>/?[a-zA-Z])
    )""",
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(rf"""({_NAME})(?:[{_SPACE}]*+=[{_SPACE}]*+(?:"([^"]*)"|'([^']*)'|({_UNQUOTED}))?)?""")
RAW = frozenset(("script", "style", "title", "textarea", "xmp", "noembed", "noframes", "iframe", "plaintext"))
VOID = frozenset(
    (
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    )
)


class Attribute(NamedTuple):
    """One attribute of a tag. Offsets are those of the whole source."""

    name: str  # lower case
    start: int  # of the whole attribute
    end: int
    value: str  # as a browser reads it
    value_start: int  # of the value inside its quotes
    value_end: int


class Token:
    """A span of the source. Attributes are parsed on first access."""

    __slots__ = ("_attributes", "_source", "_span", "end", "kind", "name", "start")

    def __init__(
        self,
        kind: str,
        name: str,
        start: int,
        end: int,
        source: str = "",
        span: tuple[int, int] = (0, 0),
    ) -> None:
        """Create a token.

        ``kind`` is one of "text", "open", "close", "comment", "raw" (the content of script, style, title and
        the like) and "lost" (a tag that never ends: browsers drop it with everything after it). ``name`` is
        the name of the tag, or for "raw" of the tag around it. ``span`` is the position of the attributes in
        ``source``.
        """
        self.kind = kind
        self.name = name
        self.start = start
        self.end = end
        self._source = source
        self._span = span
        self._attributes: tuple[Attribute, ...] | None = None

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        if self._attributes is None:
            self._attributes = tuple(_attributes(self._source, *self._span))
        return self._attributes

    def attribute(self, name: str) -> Attribute | None:
        """Return the first attribute of this name: browsers ignore the others."""
        return next((found for found in self.attributes if found.name == name), None)

    def value(self, name: str) -> str:
        found = self.attribute(name)
        return found.value if found else ""


def tokens(source: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Yield tags, comments and the text between them, in order. Offsets are those of ``source``."""
    at, stop, foreign = start, len(source) if end is None else end, 0
    while match := _TOKEN.search(source, at, stop):
        first, at = match.span()
        if first > match.pos:
            yield Token("text", "", match.pos, first)
        if match["name"]:
            token = _tag(match)
            yield token
            foreign += _FOREIGN.get(token.name, 0) * (1 if token.kind == "open" else -1)
            # Self-closing <title/> exists only in SVG and MathML, as a title without content.
            if token.kind == "open" and token.name in RAW and not (foreign and source[at - 2] == "/"):
                at = _end_of_raw(source, token.name, at, stop)
                if at > match.end():
                    yield Token("raw", token.name, match.end(), at)
        elif match["comment"]:
            yield Token("comment", "", first, at)
        else:
            yield Token("lost", "", first, stop)
            return
    if at < stop:
        yield Token("text", "", at, stop)


_FOREIGN = {"svg": 1, "math": 1}
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def _tag(match: re.Match[str]) -> Token:
    kind = "close" if match["slash"] else "open"
    name = match["name"].translate(_LOWER)
    return Token(kind, name, match.start(), match.end(), match.string, match.span("attributes"))


def _attributes(source: str, start: int, end: int) -> Iterator[Attribute]:
    for match in _ATTRIBUTE.finditer(source, start, end):
        group = match.lastindex or 1
        written, place = ("", (match.end(), match.end())) if group == 1 else (match[group], match.span(group))
        yield Attribute(match[1].translate(_LOWER), match.start(), match.end(), decoded(written), *place)


# --- attribute values

# A value inserted right after an entity name most likely begins with a letter or a digit.
_REFERENCE = re.compile(rf"&(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+));?|([a-zA-Z][a-zA-Z0-9]*+)(;|=|{OPEN})?)")
_MOST_DIGITS = 7


def decoded(value: str) -> str:
    """Return the value of an attribute with its character references resolved.

    A name without its semicolon is text when "=" or an alphanumeric character follows: ``?a=1&copy=2`` has a
    parameter ``copy``. (In the text between tags it would be a copyright sign.)
    """
    return _REFERENCE.sub(_referenced, value) if "&" in value else value


def _referenced(reference: re.Match[str]) -> str:
    hexadecimal, decimal, name, behind = reference.groups()
    if name is None:
        return _character(hexadecimal or decimal, 16 if hexadecimal else 10)
    if behind in ("=", OPEN):
        return reference[0]
    return html5.get(reference[0][1:], reference[0])


def _character(digits: str, base: int) -> str:
    digits = digits.lstrip("0")
    number = int(digits or "0", base) if len(digits) <= _MOST_DIGITS else 0
    if not 0 < number <= 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return "\ufffd"
    if 0x80 <= number <= 0x9F:
        # Numbers of Windows-1252; those it does not use stay as they are.
        return bytes((number,)).decode("cp1252", "ignore") or chr(number)
    # Characters reserved for placeholders must not come from outside.
    return "\ufffd" if OURS.match(chr(number)) else chr(number)


_LONG_NUMBER = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9a-fA-F]{8,}+);?")


def readable(text: str) -> str:
    """Return the text between tags with its character references resolved."""
    # Python refuses to parse a number of thousands of digits; no character has a number that long.
    return unescape(_LONG_NUMBER.sub("\ufffd", text)) if "&" in text else text


# --- not parsed as HTML


def _end_of_raw(source: str, name: str, start: int, stop: int) -> int:
    if name == "plaintext":  # It has no end tag.
        return stop
    closing = _closing(name).search(source, start, stop)
    return closing.start() if closing else stop


@lru_cache(maxsize=len(RAW))
def _closing(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}(?=[{_SPACE}/>])", re.IGNORECASE)


def outlook_tags(source: str, comment: Token) -> Iterator[Token]:
    """Yield the tags inside ``<!--[if mso]> ... <![endif]-->``, which Outlook shows instead of the rest."""
    if source.startswith("<!--[if", comment.start):
        body = source.find("]>", comment.start, comment.end)
        if body > 0:
            closed = source.endswith("-->", comment.start, comment.end)
            yield from tokens(source, body + 2, comment.end - len("-->") * closed)


# --- edits


@dataclass(frozen=True)
class Edit:
    """New text for a span of the source."""

    start: int
    end: int
    text: str


def apply(source: str, edits: Iterable[Edit]) -> str:
    """Return the source with all edits made; they do not overlap. Edits at one position keep their order."""
    out, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        out += [source[at : edit.start], edit.text]
        at = edit.end
    return "".join((*out, source[at:]))
