"""Positions of template code in a source that may be malformed, found in one pass whatever is left open."""

import re
from collections.abc import Iterator

_OPENERS = re.compile(r"\{[{%#]")
_CLOSERS = {"{{": "}}", "{%": "%}", "{#": "#}"}
_FORMATTING = re.compile(r"</?[a-zA-Z]")


def code_spans(text: str, *, whole: bool = False) -> Iterator[tuple[int, int]]:
    """Yield start and end of each piece of template code; ``whole``: only pieces without HTML tags inside.

    The first closing braces end a piece, even inside quotes; for sources that compile see
    ``placeholders.mask``.
    """
    at, behind = 0, {opener: Ahead(text, re.compile(re.escape(end))) for opener, end in _CLOSERS.items()}
    formatting = Ahead(text, _FORMATTING)
    while opener := _OPENERS.search(text, at):
        at = opener.end()
        end = behind[opener[0]].after(at)
        if end is None:
            continue
        divided = formatting.after(at) if whole and opener[0] != "{#" else None
        if divided is None or divided > end:
            at = end + 2
            yield opener.start(), at


class Ahead:
    """Find the next match of a pattern. As long as positions grow, the text is read only once."""

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        self._text, self._pattern = text, pattern
        self._found: int | None = -1

    def after(self, at: int) -> int | None:
        if self._found is not None and self._found < at:
            match = self._pattern.search(self._text, at)
            self._found = match.start() if match else None
        return self._found
