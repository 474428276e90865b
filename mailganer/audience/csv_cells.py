"""Cells that a spreadsheet shows and does not compute, and what they were before."""

import re
from typing import Final

# What a spreadsheet takes for the beginning of a formula, full-width and small forms too.
_SIGNS: Final = "=+\\-@＝＋－＠﹦﹢﹣﹫"
# Rows and cells end here for programs that divide a file at other signs than ours.
_ENDS: Final = r"\t\r\n\v\f\x85\u2028\u2029"
# What they drop before a formula: quotes, spaces of any width and characters that are not seen.
_DROPPED: Final = rf"(?:[^\S{_ENDS}]|[\"'\x00-\x08\x0e-\x1f\x7f\u200b-\u200f\u2060\ufeff])*+"
_COMPUTED: Final = re.compile(rf"[{_ENDS}]|{_DROPPED}[{_SIGNS}{_ENDS}]")
_INSIDE: Final = re.compile(rf"(?<=[;|{_ENDS}])(?={_DROPPED}[{_SIGNS}])")
_GUARDED: Final = re.compile(rf"(?<=[;|{_ENDS}])'(?={_DROPPED}[{_SIGNS}])")


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
    return _COMPUTED.match(text) is not None
