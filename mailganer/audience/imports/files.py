"""CSV files: reading of rows.

A file is read line by line from any of its rows on: a million rows need no more memory than one, and an
interrupted import continues where it stopped.
"""

import csv
import re
from collections.abc import Iterator
from functools import partial
from itertools import accumulate, count, islice, repeat
from operator import add
from pathlib import Path
from typing import Final, NamedTuple

from .csv_lines import is_blank, needs_normalising, normalised_line
from .dialects import Dialect
from .encoding_repair import GarbledError, looks_garbled, repair_text, unusual_lines
from .line_encodings import best_reading, is_utf8
from .reasons import FileProblem

LONGEST_LINE: Final = 2_000_000  # bytes; the csv module stops at 131,072 characters a cell anyway
HEAD: Final = 1_000_000  # bytes examined before the response to an upload
_ONE_COLUMN: Final = "\x1f"  # a delimiter that does not occur
_BLOCK: Final = 65_536  # bytes read at once
_PERHAPS_UTF8: Final = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")


class FileRow(NamedTuple):
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
        while block := self._next_block():
            end = self._offset + len(block)
            rows = self._rows_of(block)
            if rows is not None:
                self._offset = end
                self._number += len(rows)
                yield from rows
            else:
                self._file.seek(self._offset)
                yield from self._rows_until(end)

    def _next_block(self) -> bytes:
        """Return the next complete lines, or the beginning of one that is longer than a block."""
        block = self._file.read(_BLOCK)
        if len(block) == _BLOCK and (end := block.rfind(b"\n") + 1):
            self._file.seek(self._offset + end)
            return block[:end]
        return block

    def _rows_of(self, block: bytes) -> list[FileRow] | None:
        """Return the rows of a block in which each line is one row; None if they need ``_rows_until``."""
        if len(block) == _BLOCK and not block.endswith(b"\n"):
            return None
        text = self._decoded(block)
        if text is None:
            return None
        lines, sizes = text.split("\n"), list(map(len, block.split(b"\n")))
        ends = list(map(add, accumulate(sizes), count(self._offset + 1)))
        if not sizes[-1]:
            del lines[-1], ends[-1]
        else:
            ends[-1] -= 1  # the file does not end with a line break
        delimiter = self._dialect.delimiter
        if delimiter and needs_normalising(text):
            lines = [normalised_line(line, delimiter) for line in lines]
        if len(lines) != len(ends) or _is_unclosed(lines[-1], delimiter):
            return None
        try:
            cells = list(csv.reader(lines, delimiter=delimiter or _ONE_COLUMN))
        except csv.Error:
            return None
        if len(cells) != len(lines):
            return None  # a cell has a line break
        no = repeat(False)
        rows = list(map(_ROW, zip(count(self._number + 1), ends, cells, no, no, no)))
        for number in unusual_lines(text):
            if looks_garbled(lines[number]):
                rows[number] = _repaired(rows[number])
        return rows

    def _decoded(self, block: bytes) -> str | None:
        """Return the text of a block, with plain line breaks; None if some lines need a closer look."""
        encoding = self._dialect.encoding
        legacy = encoding != "utf-8" and not self._dialect.explicit
        if legacy and any(is_utf8(line) for line in block.split(b"\n") if _PERHAPS_UTF8.search(line)):
            return None
        try:
            text = block.decode(encoding)
        except UnicodeDecodeError:
            return None
        text = text.replace("\r\n", "\n") if "\r" in text else text
        return None if "\r" in text or "\ufffd" in text else text

    def _rows_until(self, end: int) -> Iterator[FileRow]:
        """Read line by line, until a row ends at this offset or behind it."""
        rows = csv.reader(self._lines(), delimiter=self._dialect.delimiter or _ONE_COLUMN)
        try:
            for cells in rows:
                self._number += 1
                if self._ended:  # the csv module returns a complete row before it reads another line
                    raise FileProblem("quote", self._number)
                record = FileRow(self._number, self._offset, cells, self._broken)
                yield _repaired(record) if self._suspect else record
                self._broken = self._suspect = False
                if self._offset >= end:
                    return
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


_ROW: Final = partial(tuple.__new__, FileRow)


def _is_unclosed(line: str, delimiter: str) -> bool:
    """Return whether a quote of this line may be closed in a later one."""
    return '"' in line and len(list(csv.reader((line, ""), delimiter=delimiter or _ONE_COLUMN))) == 1


def _repaired(record: FileRow) -> FileRow:
    """Return the row with garbled text repaired."""
    try:
        cells = [cell if cell.isascii() else repair_text(cell) for cell in record.cells]
    except GarbledError:
        return record._replace(garbled=True)
    return record._replace(cells=cells, repaired=cells != record.cells)


def first_records(path: Path, dialect: Dialect, number: int) -> list[FileRow]:
    """Return the first rows that are not blank."""
    with FileRows(path, dialect) as records:
        return list(islice((record for record in records if not is_blank(record.cells)), number))
