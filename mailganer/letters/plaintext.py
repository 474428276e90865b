"""The text part of a letter that was written as HTML.

The HTML is read from top to bottom and its template code stays where it is, so that loops and conditions
work in the text as they do in the HTML. (A tool that lays out a parsed document cannot do that: parsing
moves ``{% for %}`` out of its table.)
"""

import html
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from . import markup
from .masks import MASK, Masked, escape_code

_BLOCKS = frozenset(
    (
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    )
)
_APART = frozenset(
    (
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "blockquote",
        "pre",
        "hr",
    )
)  # an empty line around
_SILENT = frozenset(("head", *markup.RAW, "noscript", "template", "svg", "select", "object"))
_HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all|visibility\s*:\s*hidden", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_RAW = re.compile(r"\{%[-+]?\s*raw\b")
_LOOP = re.compile(r"\{%[-+]?\s*for\b")
_NOTHING = re.compile("[\u200b\u200c\u200d\u2060\u034f\u00ad\ufeff]")


class Target(NamedTuple):
    """What is put behind the text of a link, and the address itself: it is not written twice."""

    shown: str = ""
    address: str = ""


class _Writer:
    """Collects words; line ends wait until there is something to put after them."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.lines = 0  # line ends that wait
        self.space = False
        self.written = False
        self.cells: list[int] = []  # of the table rows we are inside of

    def breaks(self, lines: int) -> None:
        self.lines = max(self.lines, lines)
        self.space = False

    def line(self) -> None:
        self.lines = min(self.lines + 1, 2)
        self.space = False

    def word(self, text: str) -> None:
        self._settle()
        self.out.append(text)
        self.written = True

    def code(self, text: str) -> None:
        """Template code that prints nothing: it goes before the spaces and line ends that wait."""
        if _LOOP.match(text):
            # What waits is written at every turn: a line end between the turns, the empty line before them.
            if self.written and self.lines == 2:
                self.out.append("\n")
            self.lines = min(self.lines, 1)
            self.written = True
        self.out.append(text)

    def text(self, text: str) -> None:
        for index, piece in enumerate(_SPACE.split(text)):
            if index:
                self.space = True
            if piece:
                self.word(escape_code(piece))

    def _settle(self) -> None:
        if self.lines and self.written:
            self.out.append("\n" * self.lines)
        elif self.space and self.written:
            self.out.append(" ")
        self.lines, self.space = 0, False


def text_of(masked: Masked, tokens: Iterable[markup.Token], links: Mapping[int, Target]) -> str:
    """A template for the text part. ``links``: place of an opening ``<a>`` -> what follows its text."""
    source, writer = masked.text, _Writer()
    silent: list[str] = []  # the tags we are inside of whose content nobody reads
    targets: list[tuple[Target, int]] = []
    for token in tokens:
        if token.kind == "text":
            _write(masked, source[token.start : token.end], writer, bool(silent))
            continue
        # A condition may begin in a comment or decide on an attribute: none of its ends may get lost.
        _write(masked, source[token.start : token.end], writer, silent=True)
        if token.kind == "open":
            if silent:
                if token.name == silent[-1]:
                    silent.append(token.name)
            elif _unread(token):
                silent.append(token.name)
            else:
                _open(masked, token, writer, targets, links)
        elif token.kind == "close":
            if silent:
                if token.name == silent[-1]:
                    silent.pop()
            else:
                _close(token, writer, targets)
    return "".join(writer.out) + "\n"


def _unread(token: markup.Token) -> bool:
    if token.name in markup.VOID:
        return False
    hidden = token.value("aria-hidden") == "true" or bool(_HIDDEN.search(token.value("style")))
    return hidden or token.name in _SILENT


def _write(masked: Masked, text: str, writer: _Writer, silent: bool) -> None:
    at = 0
    for mask in MASK.finditer(text):
        if not silent:
            writer.text(_readable(text[at : mask.start()]))
        code = masked.code(mask)
        if masked.is_statement(mask) and not _RAW.match(code):
            # Also from hidden places: an {% endif %} must not get lost.
            writer.code(code)
        elif not silent and not code.startswith("{#"):
            writer.word(code)
        at = mask.end()
    if not silent:
        writer.text(_readable(text[at:]))


def _readable(text: str) -> str:
    return _NOTHING.sub("", html.unescape(text)).replace("\u00a0", " ")


def _open(
    masked: Masked,
    token: markup.Token,
    writer: _Writer,
    targets: list[tuple[Target, int]],
    links: Mapping[int, Target],
) -> None:
    name = token.name
    if name == "br":
        writer.line()
    elif name == "hr":
        writer.breaks(2)
        writer.word("-" * 20)
        writer.breaks(2)
    elif name == "img":
        alt = token.value("alt").strip()
        if alt:
            _write(masked, html.escape(alt), writer, silent=False)
    elif name in ("td", "th"):
        writer.space = True
        if writer.cells:
            writer.cells[-1] += 1
    elif name == "li":
        writer.breaks(1)
        writer.word("-")
        writer.space = True
    elif name == "a":
        targets.append((links.get(token.start, Target()), len(writer.out)))
    elif name in _BLOCKS:
        writer.breaks(2 if name in _APART else 1)
        if name == "tr":
            writer.cells.append(0)


def _close(token: markup.Token, writer: _Writer, targets: list[tuple[Target, int]]) -> None:
    if token.name == "a" and targets:
        _end_link(writer, *targets.pop())
    elif token.name == "tr":
        # Rows of several cells are lines of a table; a row of one cell is a paragraph of the layout.
        cells = writer.cells.pop() if writer.cells else 0
        writer.breaks(1 if cells > 1 else 2)
    elif token.name in _BLOCKS:
        writer.breaks(2 if token.name in _APART else 1)


def _end_link(writer: _Writer, target: Target, since: int) -> None:
    said = "".join(writer.out[since:])
    words = said.strip()
    if words and words in (target.address, escape_code(target.address)):
        # The text of the link is its address: the one that is shown takes its place.
        writer.out[since:] = [said.replace(words, target.shown)]
    elif target.shown and words:
        writer.space, writer.lines = True, 0
        writer.word(f"({target.shown})")
    elif target.shown:
        writer.word(target.shown)
