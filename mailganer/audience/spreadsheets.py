"""Cells that a spreadsheet shows and does not compute, and what they were before."""

import re
from typing import Final

# What a spreadsheet takes for the beginning of a formula, also after a quote or a space that it drops.
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
# The same within a cell, for a program that divides rows at other signs than ours: after each of these a new
# cell begins there.
_INSIDE: Final = re.compile(r"(?<=[;\t\r\n])(?=[ \u00a0\"']*[=+\-@＝＋－＠])")
_GUARDED: Final = re.compile(r"(?<=[;\t\r\n])'(?=[ \u00a0\"']*[=+\-@＝＋－＠])")


def safe_cell(text: str) -> str:
    """Return the text with a ' wherever a spreadsheet would begin to compute (OWASP: CSV injection)."""
    guarded = _INSIDE.sub("'", text)
    return f"'{guarded}" if _is_computed(text) else guarded


def original_cell(text: str) -> str:
    """Return a cell of a file that Mailganer wrote as it was before ``safe_cell``."""
    return unguarded(_GUARDED.sub("", text))


def unguarded(text: str) -> str:
    """Return a cell of any file without a ' that keeps a spreadsheet from computing it as a whole."""
    return text[1:] if text[:1] == "'" and _is_computed(text[1:]) else text


def _is_computed(text: str) -> bool:
    return text.lstrip(" \u00a0\"'").startswith(_FORMULA) or text.startswith(("\t", "\r", "\n"))
