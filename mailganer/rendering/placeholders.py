"""Placeholders for template code inside HTML, so that HTML tools leave it intact.

An HTML parser moves ``{% for %}`` out of a table and ends an attribute at the quote of ``default("x")``. So
every piece of template code is replaced by a placeholder, two private-use characters around a number, which
any HTML or CSS tool treats as ordinary text.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

from .code_spans import Ahead, code_spans

# In the last private-use plane: no text and no icon font uses it. Removed from all input.
OPEN, CLOSE = "\U0010ff00", "\U0010ff01"
SLOT_OPEN, SLOT_CLOSE = "\U0010ff02", "\U0010ff03"
OURS = re.compile("[\U0010ff00-\U0010ffff]")
MASK = re.compile(f"{OPEN}([0-9]+){CLOSE}")

_START = re.compile(r"\{\{|\{%|\{#")
_RAW_START = re.compile(r"\{%[-+]?\s*+raw\s*+-?%\}")
_RAW_END = re.compile(r"\{%[-+]?\s*+endraw\s*+[-+]?%\}")
RAW = re.compile(rf"({_RAW_START.pattern})(.*?)({_RAW_END.pattern})", re.DOTALL)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_INSIDE = re.compile(
    r"""'(?:[^'\\]|\\.)*+(?:'|\Z)|"(?:[^"\\]|\\.)*+(?:"|\Z)|[-+]?\}\}|[-+]?%\}|[{}()\[\]]""", re.DOTALL
)


def chunks(source: str) -> list[tuple[int, int]]:
    """Return start and end of every expression, statement, comment and raw block.

    For sources that compile; code that is never closed counts as text.
    """
    found, at, left_open, raw_ends = [], 0, 0, Ahead(source, _RAW_END)
    while (start := _START.search(source, at)) and left_open < _LEFT_OPEN:
        end = _end(source, start, raw_ends)
        if end is None:
            at = start.end()
            left_open += 1
            continue
        found.append((start.start(), end))
        at = end
    return found


_LEFT_OPEN = 5  # each is searched for to the end of the source; a source that compiles has none


def _end(source: str, start: re.Match[str], raw_ends: Ahead) -> int | None:
    if start[0] == "{#":
        comment = _COMMENT.match(source, start.start())
        return comment.end() if comment else None
    raw = _RAW_START.match(source, start.start())
    raw_end = raw_ends.after(raw.end()) if raw else None
    if raw_end is not None and (closing_tag := _RAW_END.match(source, raw_end)):
        return closing_tag.end()
    closing, depth = ("}}", "%}")[start[0] == "{%"], 0
    for token in _INSIDE.finditer(source, start.end()):
        text = token[0]
        if depth == 0 and text.endswith(closing):
            return token.end()
        if text in ("{", "(", "["):
            depth += 1
        elif text in ("}", ")", "]"):
            depth -= 1
        elif depth > 0 and text.endswith("}}"):
            # Two closing braces inside an expression: {{ {"a": {}}["a"] }}. Count them one by one.
            depth -= 2
            if depth < 0:
                return token.end()
    return None


_ENTITY = re.compile(
    r"&(?:quot|apos|lt|gt|amp|nbsp|#34|#39|#x27|[lr][ads]quo|[bs]dquo|[bs]bquo|sbquo|ls?aquo|rs?aquo"
    r"|#171|#187|#82(?:1[6-9]|2[0-3])|#x201[89a-f]);|\u00a0",
    re.IGNORECASE,
)


def decode_code(source: str) -> str:
    """Undo what visual editors do to template code: ``{{ x|default(&quot;a&quot;) }}``."""
    if "&" not in source and "\u00a0" not in source:
        return source
    # Entities may hide the quotes that decide where code ends, so use ``code_spans``, which ignores quotes.
    out, at = [], 0
    for start, end in code_spans(source):
        out += [source[at:start], _ENTITY.sub(_plain, source[start:end])]
        at = end
    return "".join((*out, source[at:]))


def _plain(entity: re.Match[str]) -> str:
    return html.unescape(entity[0]).replace("\u00a0", " ")


@dataclass(frozen=True)
class MaskedSource:
    """A source with its code masked. ``codes[n]`` is the code of placeholder n."""

    text: str
    codes: tuple[str, ...]

    def code(self, mask: re.Match[str]) -> str:
        return self.codes[int(mask[1])]

    def unmask(self, text: str, literal: Callable[[str], str] = str) -> str:
        """Put code back in its places; the text between goes through ``literal``."""
        out, at = [], 0
        for mask in MASK.finditer(text):
            out += [literal(text[at : mask.start()]), self.code(mask)]
            at = mask.end()
        return "".join((*out, literal(text[at:])))

    def is_statement(self, mask: re.Match[str]) -> bool:
        return self.code(mask).startswith("{%")


def mask(source: str) -> MaskedSource:
    pieces: list[str] = []
    codes: list[str] = []
    at = 0
    for start, end in chunks(source):
        pieces += [source[at:start], f"{OPEN}{len(codes)}{CLOSE}"]
        codes.append(source[start:end])
        at = end
    return MaskedSource("".join((*pieces, source[at:])), tuple(codes))


# The brace of "{#" in a style, where it would begin template code.
BRACE = "{\U0010ff05"
PLAIN_BRACE = "{% raw %}{{% endraw %}"


def escape_code(text: str) -> str:
    """Return text with braces escaped, so that templates output them instead of reading them as code."""
    return re.sub(r"\{(?=[{%#]|\Z)", "{{ '{' }}", text)


# --- slots: places that are filled once sender and recipient are known


def link_slot(number: int, written: str = "") -> str:
    """Return the slot of a link. ``written`` is its address as it stands in the source."""
    return f"{SLOT_OPEN}link {number}{'=' * bool(written)}{written}{SLOT_CLOSE}"


PIXEL = f"{SLOT_OPEN}pixel{SLOT_CLOSE}"
FOOTER = f"{SLOT_OPEN}footer{SLOT_CLOSE}"
# Slots of emails that were compiled by earlier versions have no address.
SLOT = re.compile(f"{SLOT_OPEN}(link|pixel|footer)(?: ([0-9]+)(?:=([^{SLOT_CLOSE}]*+))?)?{SLOT_CLOSE}")
