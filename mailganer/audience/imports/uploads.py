"""Storage of uploaded files, with the detection of their encoding."""

import codecs
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ...errors import NoRoom, is_full
from .encodings import Guess
from .line_encodings import guess_in_lines
from .reasons import FileProblem

LARGEST: Final = 500_000_000  # bytes; some five million subscribers with a dozen columns
_PIECE: Final = 1_000_000
SAMPLE_BYTES: Final = 200_000  # bytes around the first that is not UTF-8
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


@dataclass(frozen=True)
class StoredFile:
    """A file in the uploads folder."""

    path: Path
    size: int
    encoding: str
    certain: bool = True  # nothing else comes into question
    explicit: bool = False  # the user named it


def store(stream: BinaryIO, uploads: Path, encoding: str = "", *, largest: int = LARGEST) -> StoredFile:
    """Copy an upload to disk under a random name.

    ``encoding`` is one of ``NAMES`` that the user chose; a byte order mark overrides it. Raise
    ``FileProblem`` or ``NoRoom``; nothing is kept then.
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
        file.seek(max(0, offset - SAMPLE_BYTES // 2))
        return guess_in_lines(file.read(SAMPLE_BYTES))
