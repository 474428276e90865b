"""Estimated height of an email's preview: the sandboxed frame cannot report its own."""

import re
from math import ceil

from .markup import VOID, Token, readable, tokens

LINE, LINE_HEIGHT, GAP = 60, 26, 16  # characters of a line, pixels of it and of the space between blocks
IMAGE_HEIGHT = 240  # pixels of an image without a height
SMALL, MEDIUM = 220, 430  # pixels that fit the sizes of the style sheet

_SILENT = frozenset({"head", "style", "script", "title"})
_BLOCKS = re.compile(r"p|div|t[drh]|table|li|[uo]l|h[1-6r]|br|blockquote|center|section|article")
_HIDDEN = re.compile(r"display\s*+:\s*+none")
_HEIGHT = re.compile(r"(?:^|;)\s*+(?:min-)?height\s*+:\s*+([0-9]{1,5})px")
_NUMBER = re.compile(r"[0-9]{1,5}")


def preview_size(html: str) -> str:
    """Return "small" or "medium" for a short email, else an empty string. Too small a frame scrolls."""
    reader = _Height()
    for token in tokens(html):
        if token.kind == "open":
            reader.begin(token)
        elif token.kind == "close":
            reader.end(token.name)
        elif token.kind == "text":
            reader.text(html[token.start : token.end])
        if reader.pixels > MEDIUM:
            return ""
    reader.end_block()
    if reader.pixels <= SMALL:
        return "small"
    return "medium" if reader.pixels <= MEDIUM else ""


class _Height:
    def __init__(self) -> None:
        self.pixels = 0
        self._characters = 0
        self._silent = 0
        self._hidden = 0  # elements open within a hidden one, itself included

    def end_block(self) -> None:
        if self._characters:
            self.pixels += ceil(self._characters / LINE) * LINE_HEIGHT + GAP
        self._characters = 0

    def begin(self, tag: Token) -> None:
        style = tag.value("style")
        if self._hidden or _HIDDEN.search(style):
            self._hidden += tag.name not in VOID
            return
        self._silent += tag.name in _SILENT
        if _BLOCKS.fullmatch(tag.name):
            self.end_block()
        found = _HEIGHT.search(style)
        height = found[1] if found else tag.value("height")
        if _NUMBER.fullmatch(height):
            self.pixels += int(height)
        elif tag.name == "img":
            self.pixels += IMAGE_HEIGHT

    def end(self, name: str) -> None:
        if self._hidden:
            self._hidden -= name not in VOID
            return
        if name in _SILENT and self._silent:
            self._silent -= 1
        if _BLOCKS.fullmatch(name):
            self.end_block()

    def text(self, text: str) -> None:
        if not self._silent and not self._hidden:
            self._characters += len(" ".join(readable(text).split()))
