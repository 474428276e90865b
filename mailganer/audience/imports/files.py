"""CSV files: storage of uploads, detection of encoding and delimiter, and reading of rows.

A file is read line by line from any of its rows on: a million rows need no more memory than one, and an
interrupted import continues where it stopped.
"""

import codecs
import csv
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from ...errors import NoRoom, is_full
from ..headings import EMAIL, heading_words, known_heading
from .encoding_repair import GarbledError, looks_garbled, repair_text
from .encodings import Guess, cyrillic_share, guess
from .reasons import FileProblem

LARGEST: Final = 500_000_000  # bytes; some five million subscribers with a dozen columns
MOST_COLUMNS: Final = 100
LONGEST_LINE: Final = 2_000_000  # bytes; the csv module stops at 131,072 characters a cell anyway
HEAD: Final = 1_000_000  # bytes examined before the response to an upload
_PIECE: Final = 1_000_000
_SAMPLE: Final = 200_000  # bytes around the first that is not UTF-8
_DELIMITERS: Final = ";,\t|"
_ONE_COLUMN: Final = "\x1f"  # a delimiter that does not occur

_NULS: Final = 1_000  # one NUL in so many bytes of a text may be an error; programs and images have more
_FEW_NULS: Final = 3  # and so many in a short text

_MAGIC: Final = (
    (b"\xd0\xcf\x11\xe0", "workbook"),
    (b"\x1f\x8b", "archive"),
    (b"Rar!", "archive"),
    (b"7z\xbc\xaf", "archive"),
    (b"%PDF", "binary"),
    (b"\x89PNG", "binary"),
    (b"\xff\xd8\xff", "binary"),  # JPEG
)
_WIDE: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR_LINE: Final = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)
_MULTIBYTE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# Matches only a cell closed in its line, so that no other text is taken for one.
_QUOTED_BEHIND_BLANKS: Final = {
    each: re.compile(rf'(?:^|(?<={re.escape(each)})) +("(?:[^"]|"")+") *(?={re.escape(each)}|$)')
    for each in _DELIMITERS
}
# A cell of a MySQL export, closed in its line, such as "A \"x\" B".
_BACKSLASHED: Final = {
    each: re.compile(
        rf'(?:^|(?<={re.escape(each)}))"((?:[^"\\]++|\\.|""){{0,1000}}+)"(?={re.escape(each)}|$)'
    )
    for each in _DELIMITERS
}
_ESCAPED_QUOTE: Final = re.compile(r'\\"')
_ESCAPED: Final = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class StoredFile:
    """A file in the uploads folder."""

    path: Path
    size: int
    encoding: str
    certain: bool = True  # nothing else comes into question
    explicit: bool = False  # the user named it


@dataclass(frozen=True)
class Dialect:
    encoding: str
    delimiter: str  # "" if there is one column
    start: int  # byte where the first row begins: after a byte order mark and a line "sep=;"
    first_record: int  # rows before that: 1 for a line "sep=;"
    explicit: bool = False  # the encoding was named: no line is in another one


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


def store(stream: BinaryIO, uploads: Path, encoding: str = "", *, largest: int = LARGEST) -> StoredFile:
    """Copies an upload to disk under a random name.

    ``encoding`` is one of ``NAMES`` that the user chose; a byte order mark overrides it. Raises
    ``FileProblem`` or ``NoRoom``, and keeps nothing then.
    """
    path = uploads / f"{secrets.token_hex(16)}.csv"
    try:
        uploads.mkdir(parents=True, exist_ok=True)
        return _copy(stream, path, largest, encoding)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and is_full(error):
            raise NoRoom from error
        raise


def _copy(stream: BinaryIO, path: Path, largest: int, encoding: str) -> StoredFile:
    head = stream.read(_PIECE)
    _require_text(head)
    wide = next((name for mark, name in _WIDE if head.startswith(mark)), "")
    source = codecs.getincrementaldecoder(wide)("replace") if wide else None
    utf8 = codecs.getincrementaldecoder("utf-8")()
    first_wrong: int | None = None
    size = 0
    only_returns = not wide and b"\r" in head and b"\n" not in head  # line ends of old Macs
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        piece = head
        while piece:
            if source:
                piece = source.decode(piece).encode()
            elif only_returns:
                piece = piece.replace(b"\r", b"\n")
            if first_wrong is None:
                try:
                    utf8.decode(piece)
                except UnicodeDecodeError as error:
                    first_wrong = max(0, size + error.start - 4)
            size += len(piece)
            if size > largest:
                raise FileProblem("size", largest // 1_000_000)
            file.write(piece)
            piece = stream.read(_PIECE)
        file.flush()
        os.fsync(file.fileno())
    if encoding and not wide and not head.startswith(codecs.BOM_UTF8):
        return StoredFile(path, size, encoding, explicit=True)
    return StoredFile(
        path, size, *(Guess("utf-8") if first_wrong is None else _encoding_at(path, first_wrong))
    )


def _require_text(head: bytes) -> None:
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise FileProblem("empty")
    for magic, code in _MAGIC:
        if head.startswith(magic):
            raise FileProblem(code)
    if head.startswith(b"PK\x03\x04"):
        packed = b"xl/" in head or b"[Content_Types].xml" in head or b"opendocument.spreadsheet" in head
        raise FileProblem("workbook" if packed else "archive")
    if head.count(b"\x00") > max(_FEW_NULS, len(head) / _NULS) and not head.startswith(
        tuple(mark for mark, _name in _WIDE)
    ):
        raise FileProblem("binary")


def _encoding_at(path: Path, offset: int) -> Guess:
    with path.open("rb") as file:
        file.seek(max(0, offset - _SAMPLE // 2))
        return guess_in_lines(file.read(_SAMPLE))


def guess_in_lines(sample: bytes) -> Guess:
    """Return the encoding of bytes that are not clean UTF-8: mostly UTF-8 after all, Cyrillic, or Western.

    A file assembled from several has lines in both encodings; the other kind is marked line by line when
    read.
    """
    lines = [line for line in sample.splitlines() if not line.isascii()]
    if 2 * sum(map(is_utf8, lines)) >= len(lines):
        return Guess("utf-8")
    broken = sample.decode("utf-8", "replace").count("\ufffd")
    if len(_MULTIBYTE.findall(sample)) > 10 * broken:
        return Guess("utf-8")  # a few broken rows; the others are fine
    return guess(sample)


def is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def best_reading(line: bytes) -> str:
    """Return a line that is not in its file's encoding in the most likely other one.

    It is not imported, but shown for correction.
    """
    shares = {name: cyrillic_share(line, name) for name in ("cp1251", "koi8_r", "cp866")}
    likeliest = max(shares, key=lambda name: shares[name])
    if shares[likeliest] > 0.5:
        return line.decode(likeliest, "replace")
    if _MULTIBYTE.search(line):
        return line.decode("utf-8", "replace")
    return line.decode("cp1252", "replace")


def find_dialect(stored: StoredFile) -> Dialect:
    """Detect delimiter and start from the first rows. Raise ``FileProblem``."""
    with stored.path.open("rb") as file:
        head = file.read(_SAMPLE)
    start = 3 if head.startswith(codecs.BOM_UTF8) else 0
    separator = _SEPARATOR_LINE.match(head, start)
    if separator:
        delimiter = separator[1].decode("latin-1")
        if delimiter in _DELIMITERS:
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
    for delimiter in _DELIMITERS:
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
            csv.reader((_line(line, delimiter) for line in text.split("\n")), delimiter=delimiter), 200
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
            yield _line(text, self._dialect.delimiter)
        self._ended = True


def _repaired(record: FileRow) -> FileRow:
    """Return the row with garbled text repaired."""
    try:
        cells = [cell if cell.isascii() else repair_text(cell) for cell in record.cells]
    except GarbledError:
        return replace(record, garbled=True)
    return replace(record, cells=cells, repaired=cells != record.cells)


def _line(text: str, delimiter: str = "") -> str:
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


def first_records(path: Path, dialect: Dialect, number: int) -> list[FileRow]:
    """Return the first rows that are not blank."""
    with FileRows(path, dialect) as records:
        return list(islice((record for record in records if not is_blank(record.cells)), number))


def is_blank(cells: Sequence[str]) -> bool:
    return not any(cell and not cell.isspace() for cell in cells)
