"""Reading HTML as it was written: tokens with their places, nothing corrected and nothing moved.

Letters are old-fashioned HTML, with comments that only Outlook reads and tags that a template closes
elsewhere. We change such a source in a few places and leave every other character as it was.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    <!--(?P<comment>.*?)(?:-->|\Z)
  | <(?P<close>/[a-zA-Z][^\s>]*)[^>]*>
  | <(?P<open>[a-zA-Z][^\s/>]*)(?P<attributes>(?:[^"'>]|"[^"]*"|'[^']*')*+)>
  | <[!?][^>]*>
    """,
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([^\s=>"'/]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+))?""")
RAW = frozenset(("script", "style", "title", "textarea", "xmp", "noembed", "noframes", "iframe"))
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


@dataclass(frozen=True)
class Attribute:
    name: str
    start: int  # of the whole attribute
    end: int
    value: str  # decoded
    value_start: int  # of the value inside its quotes
    value_end: int


@dataclass(frozen=True)
class Token:
    kind: str  # "text", "open", "close", "comment", "raw" (what stands inside script, style, title ...)
    name: str  # of a tag, lower case; of the tag around it for "raw"
    start: int
    end: int
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str) -> Attribute | None:
        return next((found for found in self.attributes if found.name == name), None)

    def value(self, name: str) -> str:
        found = self.attribute(name)
        return found.value if found else ""


def tokens(source: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Tags, comments and the text between them, in order. Places are offsets into ``source``."""
    at, stop = start, len(source) if end is None else end
    while match := _TOKEN.search(source, at, stop):
        if match.start() > at:
            yield Token("text", "", at, match.start())
        at = match.end()
        if match["open"]:
            token = _opening(match)
            yield token
            if token.name in RAW:
                at = _end_of_raw(source, token.name, at, stop)
                if at > match.end():
                    yield Token("raw", token.name, match.end(), at)
        elif match["close"]:
            yield Token("close", match["close"][1:].lower(), match.start(), match.end())
        else:
            yield Token("comment", "", match.start(), match.end())
    if at < stop:
        yield Token("text", "", at, stop)


def _opening(match: re.Match[str]) -> Token:
    offset = match.start("attributes")
    found = tuple(_attributes(match["attributes"], offset))
    return Token("open", match["open"].lower(), match.start(), match.end(), found)


def _attributes(text: str, offset: int) -> Iterator[Attribute]:
    for match in _ATTRIBUTE.finditer(text):
        raw = match[2] or ""
        quoted = raw[:1] in ("'", '"')
        start = offset + (match.start(2) + quoted if match[2] else match.end())
        inner = raw[1:-1] if quoted else raw
        yield Attribute(
            match[1].lower(),
            offset + match.start(),
            offset + match.end(),
            html.unescape(inner),
            start,
            start + len(inner),
        )


def _end_of_raw(source: str, name: str, start: int, stop: int) -> int:
    closing = re.compile(rf"</{re.escape(name)}\b", re.IGNORECASE).search(source, start, stop)
    return closing.start() if closing else stop


def outlook_tags(source: str, comment: Token) -> Iterator[Token]:
    """Tags inside ``<!--[if mso]> ... <![endif]-->``: what Outlook shows instead of the rest."""
    if source.startswith("<!--[if", comment.start):
        body = source.find("]>", comment.start, comment.end)
        if body > 0:
            yield from tokens(source, body + 2, comment.end - len("-->"))


@dataclass(frozen=True)
class Edit:
    start: int
    end: int
    text: str


def apply(source: str, edits: list[Edit]) -> str:
    """All edits at once; they do not overlap. Those at one place keep their order."""
    out, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        out += [source[at : edit.start], edit.text]
        at = edit.end
    return "".join((*out, source[at:]))
