"""How tall the preview of an email has to be: a frame that runs nothing cannot say so itself."""

import re
from html.parser import HTMLParser
from math import ceil

LINE, LINE_HEIGHT, GAP = 60, 26, 16  # characters of a line, pixels of it and of the space between blocks
PICTURE = 240  # pixels of one that does not say its height
SMALL, MEDIUM = 220, 430  # pixels that fit the sizes of the style sheet

_SILENT = frozenset({"head", "style", "script", "title"})
_BLOCKS = re.compile(r"p|div|t[drh]|table|li|[uo]l|h[1-6r]|br|blockquote|center|section|article")
_VOID = frozenset({"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})
_HIDDEN = re.compile(r"display\s*:\s*none")
_HEIGHT = re.compile(r"(?:^|;)\s*(?:min-)?height\s*:\s*(\d+)px")


def preview_size(html: str) -> str:
    """Return "small" or "medium" for a short email, else nothing. A guess that is too small scrolls."""
    reader = _Height()
    reader.feed(html)
    reader.close()
    reader.end_block()
    if reader.pixels <= SMALL:
        return "small"
    return "medium" if reader.pixels <= MEDIUM else ""


class _Height(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pixels = 0
        self._letters = 0
        self._silent = 0
        self._hidden = 0  # elements open within one that is not shown, itself included

    def end_block(self) -> None:
        if self._letters:
            self.pixels += ceil(self._letters / LINE) * LINE_HEIGHT + GAP
        self._letters = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._hidden or _HIDDEN.search(given.get("style") or ""):
            self._hidden += tag not in _VOID
            return
        self._silent += tag in _SILENT
        if _BLOCKS.fullmatch(tag):
            self.end_block()
        found = _HEIGHT.search(given.get("style") or "")
        height = (found[1] if found else given.get("height")) or ""
        if tag == "img":
            self.pixels += int(height) if height.isdecimal() else PICTURE
        elif height.isdecimal():
            self.pixels += int(height)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= tag not in _VOID
            return
        if tag in _SILENT and self._silent:
            self._silent -= 1
        if _BLOCKS.fullmatch(tag):
            self.end_block()

    def handle_data(self, data: str) -> None:
        if not self._silent and not self._hidden:
            self._letters += len(" ".join(data.split()))
