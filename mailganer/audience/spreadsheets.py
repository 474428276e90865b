"""Cells that a spreadsheet shows and does not compute, and what they were before."""

from typing import Final

# What a spreadsheet takes for the beginning of a formula, also after a quote or a space that it drops.
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def safe_cell(text: str) -> str:
    """The text with a ' before it when a spreadsheet would compute it (OWASP: CSV injection)."""
    return f"'{text}" if _is_computed(text) else text


def original_cell(text: str) -> str:
    """A cell of a file of ours that comes back: without the ' that ``safe_cell`` gave it."""
    return text[1:] if text[:1] == "'" and _is_computed(text[1:]) else text


def _is_computed(text: str) -> bool:
    return text.lstrip(" \u00a0\"'").startswith(_FORMULA) or text.startswith(("\t", "\r", "\n"))
