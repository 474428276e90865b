"""Variables that a source protects against empty values. The text is only searched, nothing is run."""

import re
from collections.abc import Iterable, Iterator

from .code_spans import code_spans

_ASKED = re.compile(r"-?\s*+(?:el)?if\b(.*)", re.DOTALL)
_ASKED_INLINE = re.compile(r"\bif\s++(?:not\s++)?([^\W\d]\w*)")
_NAME = re.compile(r"(?<![\w.\"'])([^\W\d]\w*)")
_PIECE = re.compile(r"\w+|[^\w\s]")


def guarded_names(texts: Iterable[str]) -> frozenset[str]:
    """Return variables that never leave a gap: each output has a default, or an ``if`` tests the variable."""
    asked, printed_bare, defaulted = set[str](), set[str](), set[str]()
    for text in texts:
        for start, end in code_spans(text):
            inner = text[start + 2 : end - 2]
            if text.startswith("{{", start):
                safe = {*_defaulted(inner), *_ASKED_INLINE.findall(inner)}
                defaulted |= safe
                printed_bare |= set(_NAME.findall(inner)) - safe
            elif text.startswith("{%", start) and (condition := _ASKED.match(inner)):
                asked |= set(_NAME.findall(condition[1]))
    return frozenset(asked | (defaulted - printed_bare))


def _defaulted(expression: str) -> Iterator[str]:
    """Yield names before ``|default`` or ``or``, also with filters between: ``a|trim|d("x")``, ``a or b``."""
    name, in_filter = "", False
    for match in _PIECE.finditer(expression):
        piece = match[0]
        is_word = piece[0].isalnum() or piece[0] == "_"
        if piece == "|" and name and not in_filter:
            in_filter = True
        elif is_word and in_filter:
            if piece in ("default", "d"):
                yield name
                name = ""
            in_filter = False
        elif piece == "or" and name:
            yield name
            name = ""
        else:
            name = piece if is_word and not piece[0].isdigit() else ""
            in_filter = False
