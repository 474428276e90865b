"""Lines as the csv module reads them best."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Final

DELIMITERS: Final = ";,\t|"
# Matches only a cell closed in its line, so that no other text is taken for one.
_QUOTED_BEHIND_BLANKS: Final = {
    each: re.compile(rf'(?:^|(?<={re.escape(each)})) +("(?:[^"]|"")+") *(?={re.escape(each)}|$)')
    for each in DELIMITERS
}
# A cell of a MySQL export, closed in its line, such as "A \"x\" B".
_BACKSLASHED: Final = {
    each: re.compile(
        rf'(?:^|(?<={re.escape(each)}))"((?:[^"\\]++|\\.|""){{0,1000}}+)"(?={re.escape(each)}|$)'
    )
    for each in DELIMITERS
}

_ESCAPED_QUOTE: Final = re.compile(r'\\"')
_ESCAPED: Final = re.compile(r'\\(["\\])')


def needs_normalising(text: str) -> bool:
    """Return whether a text without carriage returns may have a line that ``normalised_line`` changes."""
    return ' "' in text or '\\"' in text


def normalised_line(text: str, delimiter: str = "") -> str:
    """Normalize a line for the csv module.

    A carriage return within it would make the csv module abort the whole file; as a vertical tab it affects
    only its own row. A space between a delimiter and a quoted cell is removed: the csv module would take the
    quotes for a part of the value.
    """
    line = text.rstrip("\r\n").replace("\r", "\v")
    if delimiter and ' "' in line:
        line = _QUOTED_BEHIND_BLANKS[delimiter].sub(r"\1", line)
    if delimiter and '\\"' in line:
        line = _BACKSLASHED[delimiter].sub(partial(_doubled, delimiter), line)
    return line + "\n"


def _doubled(delimiter: str, cell: re.Match[str]) -> str:
    """Return a quoted cell with its inner quotes doubled where a backslash escapes them."""
    text = cell[1]
    # A backslash and a quote before a delimiter may as well end the cell.
    ends = ('"', delimiter, "")
    if all(text[found.end() : found.end() + 1] in ends for found in _ESCAPED_QUOTE.finditer(text)):
        return cell[0]
    text = _ESCAPED.sub(lambda found: '""' if found[1] == '"' else found[1], text)
    return f'"{text}"'


def is_blank(cells: Sequence[str]) -> bool:
    return not "".join(cells).strip()
