"""Where template code stands in a source that may be broken: read once, whatever is left open in it."""

import re
from collections.abc import Iterator

_OPENERS = re.compile(r"\{[{%#]")
_CLOSERS = {"{{": "}}", "{%": "%}", "{#": "#}"}
_FORMATTING = re.compile(r"</?[a-zA-Z]")


def code_spans(text: str, *, whole: bool = False) -> Iterator[tuple[int, int]]:
    """Yield where template code begins and ends; ``whole``: only what no formatting divides.

    The first closing braces end it, also inside of quotes; see ``masks.chunks`` for sources that compile.
    """
    at, behind = 0, {planner: Ahead(text, re.compile(re.escape(end))) for planner, end in _CLOSERS.items()}
    formatting = Ahead(text, _FORMATTING)
    while planner := _OPENERS.search(text, at):
        at = planner.end()
        end = behind[planner[0]].after(at)
        if end is None:
            continue
        divided = formatting.after(at) if whole and planner[0] != "{#" else None
        if divided is None or divided > end:
            at = end + 2
            yield planner.start(), at


class Ahead:
    """Where a pattern is found next. Asked with growing places, it reads the text once."""

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        self._text, self._pattern = text, pattern
        self._found: int | None = -1

    def after(self, at: int) -> int | None:
        if self._found is not None and self._found < at:
            match = self._pattern.search(self._text, at)
            self._found = match.start() if match else None
        return self._found
