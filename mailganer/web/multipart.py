"""Form parsers that count fields while reading and stop at the limit.

The parser of the standard library examines every line and nests without limit: a megabyte of line breaks
costs it two seconds. Here it is used only for file uploads of signed-in accounts.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any
from urllib.parse import parse_qsl

from webob.compat import cgi_FieldStorage
from webob.multidict import MultiDict

LONGEST_BOUNDARY = 70  # characters (RFC 2046, section 5.1.1)
LONGEST_HEADER = 16_384  # bytes before the content of a part
_LEFT = "mailganer.fields_left"
_BOUNDARY = re.compile(r";\s*boundary=(?:\"([^\"]*)\"|([^\s;\"]*))", re.IGNORECASE)
_BOUNDARY_CHARACTERS = re.compile(r"[ -~]*[!-~]")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_DISPOSITION = re.compile(
    rb"^content-disposition:[ \t]*form-data[ \t]*;([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_PARAMETER = re.compile(rb"(name|filename)=(?:\"([^\"]*)\"|([^;\s\"]+))", re.IGNORECASE)


class MalformedForm(ValueError):
    """The request body is not a valid form."""


class TooManyFields(ValueError):
    """The form has more fields than are allowed."""


def boundary_of(content_type: str) -> bytes:
    """Return the boundary of a Content-Type. Raise ``MalformedForm``."""
    found = _BOUNDARY.search(content_type)
    boundary = (found[1] or found[2] or "") if found else ""
    if len(boundary) > LONGEST_BOUNDARY or not _BOUNDARY_CHARACTERS.fullmatch(boundary):
        raise MalformedForm
    return boundary.encode("ascii")


def fields_of(body: bytes, most: int) -> Sequence[tuple[str, str]]:
    """Return the fields of an urlencoded form. Raise ``TooManyFields``."""
    if body.count(b"&") >= most:
        raise TooManyFields
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")


def parts_of(body: bytes, boundary: bytes, most: int) -> Iterator[tuple[str, str]]:
    """Yield the fields of a small multipart body. Nested multipart is not parsed.

    Raise ``TooManyFields``, and ``MalformedForm`` for a file too: forms read here have no file fields.
    """
    sections = re.split(rb"\r?\n--" + re.escape(boundary), b"\n" + body, maxsplit=most + 2)
    if len(sections) > most + 2:
        raise TooManyFields
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise MalformedForm
    for section in sections[1:-1]:
        yield _part(section)


def _part(section: bytes) -> tuple[str, str]:
    ends = _BLANK_LINE.search(section, 0, LONGEST_HEADER)
    disposition = _DISPOSITION.search(section, 0, ends.start() + 1) if ends else None
    if ends is None or disposition is None:
        raise MalformedForm
    named = {
        name.lower(): (quoted or plain).decode("utf-8", "replace")
        for name, quoted, plain in _PARAMETER.findall(disposition[1])
    }
    if b"name" not in named or b"filename" in named:
        raise MalformedForm
    return named[b"name"], section[ends.end() :].decode("utf-8", "replace")


def read_upload(environ: dict[str, Any], body: IO[bytes], most: int, files: Collection[str]) -> MultiDict:
    """Return the fields of a form with files of any size, where only ``files`` may be files.

    Raise ``OSError`` when the disk is full, ``TooManyFields`` and ``MalformedForm``.
    """
    body.seek(0)
    try:
        form = UploadedFields(
            fp=_Lines(body),
            environ={**environ, "QUERY_STRING": "", _LEFT: most + 1},  # the form itself counts as one
            keep_blank_values=True,
            encoding="utf8",
        )
        fields = MultiDict.from_fieldstorage(form)
    except (OSError, TooManyFields, MalformedForm):
        raise
    except Exception as error:  # the parser raises many kinds of errors for malformed forms
        raise MalformedForm from error
    if any(hasattr(value, "file") and name not in files for name, value in fields.items()):
        raise MalformedForm
    return fields


class UploadedFields(cgi_FieldStorage):  # type: ignore[misc]  # WebOb has no types
    """The form of the standard library, counting its parts. Each part is an instance of this class too."""

    def __init__(
        self,
        fp: Any = None,
        headers: Any = None,
        outerboundary: bytes = b"",
        environ: Any = None,
        *arguments: Any,
        **options: Any,
    ) -> None:
        environ[_LEFT] -= 1
        if environ[_LEFT] < 0:
            raise TooManyFields
        super().__init__(fp, headers, outerboundary, environ, *arguments, **options)

    def read_multi(self, *arguments: Any) -> None:
        if self.outerboundary:
            raise MalformedForm  # nested multipart
        super().read_multi(*arguments)


class _Lines:
    """Body that limits the length of part headers: the parser reads their lines without a size."""

    def __init__(self, body: IO[bytes]) -> None:
        self._body, self._header = body, 0

    def read(self, size: int = -1) -> bytes:
        return self._body.read(size)

    def readline(self, size: int = -1) -> bytes:
        if size >= 0:
            self._header = 0
            return self._body.readline(size)
        line = self._body.readline(LONGEST_HEADER)
        self._header += len(line)
        if self._header > LONGEST_HEADER:
            raise MalformedForm
        return line
