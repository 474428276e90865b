"""Conversion of an email written as text to its HTML part.

Without an HTML part no open could be counted and no address would be a link. It looks like the text: constant
text is escaped, template code stays where it is, and so do all line ends, so that an error names the line
that the user sees.
"""

import html
import re
import sys
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from jinja2 import TemplateSyntaxError

from . import sandbox
from .placeholders import CLOSE, MASK, OPEN, RAW, MaskedSource, mask

_ADDRESS = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_WWW = re.compile(r"(?<![\w./@:=&?#%-])www\.[\w-]+\.[^\s<>\"]+", re.IGNORECASE)  # read as https://
_OWN_ADDRESS = re.compile(r"\{\{[-+]?\s*(?:unsubscribe_url|browser_url)\s*[-+]?\}\}")
_BEHIND = ".,;:!?)»”\"'"  # punctuation after an address that belongs to the sentence
# A line end that is removed by a minus in the code beside it ({%- if a %}): it is no break in the HTML
# either.
TAKEN = "\U0010ff04"

_SPACE_CODE = re.compile(rf"(?<!\s)\s++(?={OPEN}([0-9]+){CLOSE})")
_CODE_SPACE = re.compile(rf"{OPEN}([0-9]+){CLOSE}\s+")

_MINUS_BEFORE = re.compile(r"\{.-")
_MINUS_BEHIND = re.compile(r"-.\}\Z")

_LINE = 24  # pixels
_LOOK = (
    "max-width:600px;margin:0 auto;padding:24px;white-space:pre-wrap;overflow-wrap:break-word;"
    f"font-family:-apple-system,'Segoe UI',Roboto,Arial,sans-serif;font-size:16px;line-height:{_LINE}px"
)


def html_of(text: str) -> str:
    """Return a template for the HTML part from the one for the text part."""
    masked = mask(text.rstrip())
    shown = without_taken(masked)
    out, at = [], 0
    for start, end in links(masked):
        address = html.escape(masked.text[start:end])
        out += [_words(shown[at:start]), f'<a href="{scheme_of(address)}{address}">{address}</a>']
        at = end
    body = "".join((*out, _words(shown[at:]))).replace(TAKEN, "\n")
    spoken = replace(masked, codes=tuple(map(_escaped_raw, masked.codes)))
    return spoken.unmask(framed(body))


def framed(body: str) -> str:
    """Return the paragraphs of a body in the frame of emails written as text."""
    return f'<div style="{_LOOK}"><p style="margin:0">{body}</p></div>'


def web_addresses(masked: MaskedSource, start: int = 0, end: int = sys.maxsize) -> Iterator[tuple[int, int]]:
    """Yield start and end of web addresses in a text, including the values in them."""
    for match in _ADDRESS.finditer(masked.text, start, end):
        found = _without_signs(_whole(masked, match[0]))
        if _ADDRESS.match(found):
            yield match.start(), match.start() + len(found)


def _without_signs(address: str) -> str:
    """Return the address without the punctuation after it. A bracket opened in the address belongs to it."""
    end = len(address)
    opened = address.count("(") - address.count(")")
    while end and address[end - 1] in _BEHIND:
        if address[end - 1] == ")":
            if opened >= 0:
                break
            opened += 1
        end -= 1
    return address[:end]


def scheme_of(address: str) -> str:
    """Return the scheme missing before an address that begins with ``www.``."""
    return "https://" if address[:4].lower() == "www." else ""


def _whole(masked: MaskedSource, address: str) -> str:
    """Cut an address at a statement begun outside of it: ``{% if a %}https://example.com{% endif %}``."""
    statements = [found for found in MASK.finditer(address) if masked.is_statement(found)]
    if not statements:
        return address
    try:
        sandbox.TEXT.parse(masked.unmask(address))
    except TemplateSyntaxError:
        return address[: statements[0].start()]
    return address


def links(masked: MaskedSource, start: int = 0, end: int = sys.maxsize) -> Iterator[tuple[int, int]]:
    """Yield start and end of web addresses, and of our own addresses that stand alone, in order."""
    web = list(web_addresses(masked, start, end))
    is_outside = _outside(web)
    for match in _WWW.finditer(masked.text, start, end):
        if is_outside(match.start()):
            web.append((match.start(), match.start() + len(_without_signs(_whole(masked, match[0])))))
    web.sort()
    own = [
        found.span()
        for found in MASK.finditer(masked.text, start, end)
        if _OWN_ADDRESS.fullmatch(masked.code(found))
    ]
    is_outside = _outside(web)
    yield from sorted([*web, *(each for each in own if is_outside(each[0]))])


def _outside(spans: Sequence[tuple[int, int]]) -> Callable[[int], bool]:
    """Return a test whether a position is in none of ``spans``, which are in order."""
    ends = [0, *(last for _first, last in spans)]
    starts = [first for first, _last in spans]
    return lambda place: place >= ends[bisect(starts, place)]


def without_taken(masked: MaskedSource) -> str:
    """Return the text, with ``TAKEN`` for line ends that a minus removes."""

    def before(space: re.Match[str]) -> str:
        return space[0].replace("\n", TAKEN) if _MINUS_BEFORE.match(masked.codes[int(space[1])]) else space[0]

    def behind(code: re.Match[str]) -> str:
        return code[0].replace("\n", TAKEN) if _MINUS_BEHIND.search(masked.codes[int(code[1])]) else code[0]

    return _CODE_SPACE.sub(behind, _SPACE_CODE.sub(before, masked.text))


def _words(text: str) -> str:
    return re.sub(r"\n+", line_break, html.escape(text, quote=False))


def line_break(ends: re.Match[str]) -> str:
    """Return a new line for one line end, a new paragraph for more.

    They stand inside the tag: "pre-wrap", there for the sake of values, would show them a second time.
    Outlook does not support it, hence the tags.
    """
    more = ends[0].count("\n") - 1
    return f'</p{ends[0]}><p style="margin:{more * _LINE}px 0 0">' if more else "<br\n>"


def _escaped_raw(code: str) -> str:
    raw = RAW.fullmatch(code)
    return f"{raw[1]}{_words(raw[2])}{raw[3]}" if raw else code
