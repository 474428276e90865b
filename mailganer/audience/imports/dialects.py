"""Detection of the delimiter and of the first row of a file."""

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..headings import EMAIL, heading_words, known_heading
from .csv_lines import DELIMITERS, is_blank, normalised_line
from .uploads import SAMPLE_BYTES, StoredFile

MOST_COLUMNS: Final = 100
_SEPARATOR_LINE: Final = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    encoding: str
    delimiter: str  # "" if there is one column
    start: int  # byte where the first row begins: after a byte order mark and a line "sep=;"
    first_record: int  # rows before that: 1 for a line "sep=;"
    explicit: bool = False  # the encoding was named: no line is in another one


def find_dialect(stored: StoredFile) -> Dialect:
    """Detect delimiter and start from the first rows. Raise ``FileProblem``."""
    with stored.path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    start = 3 if head.startswith(codecs.BOM_UTF8) else 0
    separator = _SEPARATOR_LINE.match(head, start)
    if separator:
        delimiter = separator[1].decode("latin-1")
        if delimiter in DELIMITERS:
            return Dialect(stored.encoding, delimiter, separator.end(), 1, stored.explicit)
    if len(head) < stored.size:
        head = head[: head.rfind(b"\n") + 1] or head
    text = head[start:].decode(stored.encoding, "replace")
    return Dialect(stored.encoding, guess_delimiter(text), start, 0, stored.explicit)


def guess_delimiter(text: str) -> str:
    """Return which of ; , tab | most rows have equally often, or, in a ragged file, have at all.

    Return "" for a single column. Notes and titles above the table do not count.
    """
    even, ragged = [], []
    for delimiter in DELIMITERS:
        counts = _widths(text, delimiter)
        # Of equally frequent widths the first is taken: that of the headings.
        width = Counter(counts).most_common(1)[0][0] if counts else 1
        if width > 1:
            even.append((counts.count(width) / len(counts), width, delimiter))
            ragged.append((sum(count > 1 for count in counts) / len(counts), width, delimiter))
    for found in (even, ragged):
        share, _width, delimiter = max(found, default=(0.0, 1, ""))
        if share >= 0.5:
            return delimiter
    return ""


def _widths(text: str, delimiter: str) -> list[int]:
    widths: list[int] = []
    above = True  # within notes and titles, which have one cell and are not a column of addresses
    try:
        for row in islice(
            csv.reader((normalised_line(line, delimiter) for line in text.split("\n")), delimiter=delimiter),
            200,
        ):
            if (
                above
                and len(row) == 1
                and "@" not in row[0]
                and known_heading(heading_words(row[0])) != EMAIL
            ):
                continue
            if not is_blank(row):
                above = False
                widths.append(len(row))
    except csv.Error:
        pass  # cell too large: the rows before it are enough here, and reading raises the error
    return widths
