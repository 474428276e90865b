"""CSV cells that no spreadsheet evaluates as formulas, and their original texts."""

import re
from typing import Final

# First characters of a formula, full-width and small forms included.
_SIGNS: Final = "=+\\-@＝＋－＠﹦﹢﹣﹫"
# Characters at which other programs than ours end rows and cells.
_ENDS: Final = r"\t\r\n\v\f\x85\u2028\u2029"
# Characters that programs drop before a formula: quotes, spaces of any width and invisible characters.
_DROPPED: Final = rf"(?:[^\S{_ENDS}]|[\"'\x00-\x08\x0e-\x1f\x7f\u200b-\u200f\u2060\ufeff])*+"
_COMPUTED: Final = re.compile(rf"[{_ENDS}]|{_DROPPED}[{_SIGNS}{_ENDS}]")
_INSIDE: Final = re.compile(rf"(?<=[;|{_ENDS}])(?={_DROPPED}[{_SIGNS}])")
_GUARDED: Final = re.compile(rf"(?<=[;|{_ENDS}])'(?={_DROPPED}[{_SIGNS}])")


def safe_cell(text: str) -> str:
    """Insert a ' wherever a spreadsheet would start to evaluate a formula (OWASP: CSV injection)."""
    if not text or (text[0].isalnum() and text.isprintable() and ";" not in text and "|" not in text):
        return text  # nearly all cells
    guarded = _INSIDE.sub("'", text)
    return f"'{guarded}" if _is_computed(text) else guarded


def original_cell(text: str) -> str:
    """Undo ``safe_cell`` for a cell of a file that Mailganer wrote."""
    return unguarded(_GUARDED.sub("", text))


def unguarded(text: str) -> str:
    """Return a cell of any file without the leading ' that keeps a spreadsheet from evaluating it."""
    return text[1:] if text[:1] == "'" and _is_computed(text[1:]) else text


def _is_computed(text: str) -> bool:
    return _COMPUTED.match(text) is not None
