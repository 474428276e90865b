"""Quoted-printable encoding (RFC 2045, section 6.7) in pieces that can be concatenated.

A piece starts at column 0 and ends with a line end: a soft one (``=`` and CRLF, which decodes to nothing)
where the text continues. So constant text is encoded once per email and a value once per value, and only
joining is left to do for a recipient. ``binascii.b2a_qp`` alone cannot make such pieces: it keeps a bare CR
and counts columns from an unknown position.

No line begins with a dot, which is written as ``=2E`` there (rule 1 allows it for every byte): SMTP would
need another dot before it, and searching every copy for such lines takes as long as rendering it.
"""

import binascii
import re

_LINE = 76  # with the "=" of a soft line end
_CODES = [
    chr(byte) if (33 <= byte <= 126 and byte != 61) or byte in (9, 32) else f"={byte:02X}"
    for byte in range(256)
]
_SAFE = re.compile(r"(?!\.)[ !-<>-~\t]{0,75}")


def encode(text: str) -> str:
    """Return a piece of text, lines ended by any of CRLF, CR and LF; empty for empty text."""
    if _SAFE.fullmatch(text):
        return text + "=\r\n" if text else ""
    if len(text) < _LINE and text.isprintable() and not text.startswith("."):
        # Within one line the standard library's encoder is correct, and many times faster.
        coded = binascii.b2a_qp(text.encode())
        if len(coded) < _LINE:
            return coded.decode("ascii") + "=\r\n"
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    *lines, rest = text.split("\n")
    encoded = [_line(line) + "\r\n" for line in lines]
    if rest:
        encoded.append(_wrap(_coded(rest)) + "=\r\n")
    return "".join(encoded)


def _line(line: str) -> str:
    coded = _coded(line)
    if coded[-1:] in (" ", "\t"):
        # White space before a line end would be removed in transport.
        coded = coded[:-1] + f"={ord(coded[-1]):02X}"
    return _wrap(coded, last=_LINE)


def _coded(line: str) -> str:
    return "".join([_CODES[byte] for byte in line.encode("utf-8", "replace")])


def _wrap(coded: str, last: int = _LINE - 1) -> str:
    """Insert soft line ends so that every line has at most 76 columns; the last one may have ``last``."""
    lines, at = [], 0
    while True:
        start = ""
        if coded.startswith(".", at):
            start, at = "=2E", at + 1
        if len(coded) - at <= last - len(start):
            lines.append(start + coded[at:])
            return "=\r\n".join(lines)
        end = at + _LINE - 1 - len(start)
        # Not inside =XX.
        if coded[end - 1] == "=":
            end -= 1
        elif coded[end - 2] == "=":
            end -= 2
        lines.append(start + coded[at:end])
        at = end
