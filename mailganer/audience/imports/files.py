"""CSV files: reading of rows.

A file is read line by line from any of its rows on: a million rows need no more memory than one, and an
interrupted import continues where it stopped.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from .csv_lines import is_blank, normalised_line
from .dialects import Dialect
from .encoding_repair import GarbledError, looks_garbled, repair_text
from .line_encodings import best_reading, is_utf8
from .reasons import FileProblem

LONGEST_LINE: Final = 2_000_000  # bytes; the csv module stops at 131,072 characters a cell anyway
HEAD: Final = 1_000_000  # bytes examined before the response to an upload
_ONE_COLUMN: Final = "\x1f"  # a delimiter that does not occur


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file: its number from 1, the byte offset after it, and its cells.

    ``broken``: some letters could not be decoded; ``repaired``: garbled letters were repaired; ``garbled``:
    they could not be repaired.
    """

    number: int
    end: int
    cells: list[str]
    broken: bool
    repaired: bool = False
    garbled: bool = False


class FileRows:
    """Iterator over the rows of a file from ``position`` on; ``record`` is the number of the row before it.

    Iterating raises ``FileProblem`` where a cell is too large or a quote is never closed.
    """

    def __init__(
        self, path: Path, dialect: Dialect, position: int | None = None, record: int | None = None
    ) -> None:
        self._dialect = dialect
        self._offset = dialect.start if position is None else position
        self._number = dialect.first_record if record is None else record
        self._broken = False
        self._suspect = False
        self._ended = False
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise FileProblem("gone") from error
        self._file.seek(self._offset)

    def __enter__(self) -> "FileRows":
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[FileRow]:
        rows = csv.reader(self._lines(), delimiter=self._dialect.delimiter or _ONE_COLUMN)
        try:
            for cells in rows:
                self._number += 1
                if self._ended:  # the csv module returns a complete row before it reads another line
                    raise FileProblem("quote", self._number)
                record = FileRow(self._number, self._offset, cells, self._broken)
                yield _repaired(record) if self._suspect else record
                self._broken = self._suspect = False
        except csv.Error as error:
            raise FileProblem("cell", self._number + 1) from error

    def _lines(self) -> Iterator[str]:
        encoding = self._dialect.encoding
        legacy = encoding != "utf-8" and not self._dialect.explicit
        while line := self._file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise FileProblem("cell", self._number + 1)
            self._offset += len(line)
            if legacy and not line.isascii() and is_utf8(line):
                text, self._broken = line.decode("utf-8"), True
            else:
                text = line.decode(encoding, "replace")
            if "\ufffd" in text:
                self._broken = True
                text = best_reading(line)
            elif not text.isascii() and looks_garbled(text):
                self._suspect = True
            yield normalised_line(text, self._dialect.delimiter)
        self._ended = True


def _repaired(record: FileRow) -> FileRow:
    """Return the row with garbled text repaired."""
    try:
        cells = [cell if cell.isascii() else repair_text(cell) for cell in record.cells]
    except GarbledError:
        return replace(record, garbled=True)
    return replace(record, cells=cells, repaired=cells != record.cells)


def first_records(path: Path, dialect: Dialect, number: int) -> list[FileRow]:
    """Return the first rows that are not blank."""
    with FileRows(path, dialect) as records:
        return list(islice((record for record in records if not is_blank(record.cells)), number))
