"""Uploaded files with the HTML of an email."""

from typing import Any

from mailganer.errors import (
    FileRefused,
    _,
)

LARGEST_FILE = 1_000_000  # bytes of an uploaded email, the same limit as for a written one


def read_email_file(posted: Any) -> str:
    """Return the text of an uploaded HTML file. Raise ``FileRefused``."""
    if posted is None or not hasattr(posted, "file"):
        raise FileRefused(_("Choose an HTML file first."))
    with posted.file:
        content = posted.file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise FileRefused(_("This file is larger than 1 MB. Link images instead of embedding them."))
    if not content.strip():
        raise FileRefused(_("This file is empty."))
    if _is_no_text(content):
        raise FileRefused(_("This is not a text file. Save the email as HTML and choose that file."))
    return _decoded(content)


def _is_no_text(content: bytes) -> bool:
    """Return whether it is an archive, a PDF, an old Word file, or has zero bytes without being UTF-16."""
    if content.startswith((b"PK\x03\x04", b"%PDF", b"\xd0\xcf\x11\xe0")):
        return True
    return b"\x00" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff"))


def _decoded(content: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1251."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1251", "replace")
