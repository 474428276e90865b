"""Addresses that the tags of a rendered email divide: ``https://<b>mail.example.com</b>/u/...``.

A reader sees them as one address, and email apps may make a link of it. Only what is visible as one line is
put together: text between inline tags, without comments and without invisible characters.
"""

import re
from typing import Final, NamedTuple

from . import markup
from .html_to_text import BLOCKS
from .own_links import INVISIBLE, unescaped

_BREAKS: Final = BLOCKS | {"br", "button", "hr", "img", "input", "option", "select", "td", "th", "textarea"}
_HIDDEN: Final = re.compile(rf"&[#\w]{{1,40}};?|{INVISIBLE.pattern}")


class Span(NamedTuple):
    start: int
    end: int


class _Piece(NamedTuple):
    """A piece of the visible text: ``shown`` in the visible text, ``source`` in the HTML."""

    shown: Span
    source: Span
    is_literal: bool


class VisibleText:
    """The visible text of an HTML, and where each part of it is in the source."""

    def __init__(self, source: str) -> None:
        self._pieces: list[_Piece] = []
        self._texts: list[str] = []
        self._length = 0
        for token in markup.tokens(source):
            if token.kind == "text":
                self._add_text(source, token.start, token.end)
            elif token.kind in ("open", "close") and token.name in _BREAKS:
                self._add("\n", Span(token.start, token.start), is_literal=False)
        self.text = "".join(self._texts)

    def spans(self, start: int, end: int) -> list[Span]:
        """Return where a part of the visible text is in the source; neighbouring spans are one."""
        found: list[Span] = []
        for piece in self._pieces:
            first, last = max(start, piece.shown.start), min(end, piece.shown.end)
            if first >= last:
                continue
            span = piece.source
            if piece.is_literal:
                moved = piece.source.start - piece.shown.start
                span = Span(first + moved, last + moved)
            if found and found[-1].end == span.start:
                found[-1] = Span(found[-1].start, span.end)
            else:
                found.append(span)
        return found

    def _add_text(self, source: str, start: int, end: int) -> None:
        at = start
        for found in _HIDDEN.finditer(source, start, end):
            self._add(source[at : found.start()], Span(at, found.start()), is_literal=True)
            shown = INVISIBLE.sub("", unescaped(found[0]))
            self._add(shown, Span(*found.span()), is_literal=False)
            at = found.end()
        self._add(source[at:end], Span(at, end), is_literal=True)

    def _add(self, text: str, source: Span, *, is_literal: bool) -> None:
        if text:
            shown = Span(self._length, self._length + len(text))
            self._pieces.append(_Piece(shown, source, is_literal))
            self._texts.append(text)
            self._length += len(text)
