"""Encodings of single lines: a file assembled from several has lines in more than one."""

import re
from typing import Final

from .encodings import Guess, cyrillic_share, guess

_MULTIBYTE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


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
