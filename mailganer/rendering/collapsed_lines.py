"""Detection of empty lines between paragraphs that HTML does not show."""

import re

from .foreign_tags import without_code
from .markup import tokens

# Words on both sides of an empty line, with no tag between.
_LOST = re.compile(r"\w(?:[^\S\n]*+[^\w\s]{1,8})?[^\S\n]*+\n[^\S\n]*+\n\s*+[^\w\s]{0,8}\w")
_KEPT_IN = frozenset(("pre", "textarea", "xmp"))


def has_collapsed_lines(source: str) -> bool:
    """Return whether empty lines divide words of the source, and nothing in it shows them."""
    if "\n" not in source or "white-space" in source:
        return False
    text, kept = without_code(source), 0
    for token in tokens(text):
        if token.name in _KEPT_IN and token.kind in ("open", "close"):
            kept = max(0, kept + (1 if token.kind == "open" else -1))
        elif token.kind == "text" and not kept and _LOST.search(text, token.start, token.end):
            return True
    return False
