"""Conversion of MJML sources (columns and buttons instead of nested tables) to HTML.

Template code is masked here, too, but by plain words: the library escapes private-use characters.
"""

import re

from mjml import mjml2html

from ..errors import EmailError, _
from .placeholders import chunks

_BEFORE = re.compile(r"\s*+(?:<\?xml[^>]*+>|<!--.*?-->)", re.DOTALL | re.IGNORECASE)
_START = re.compile(r"\s*+<mjml\b", re.IGNORECASE)


def is_mjml(source: str) -> bool:
    at = 0
    while before := _BEFORE.match(source, at):
        at = before.end()
    return bool(_START.match(source, at))


def to_html(source: str) -> str:
    """Return the HTML of an MJML source, with its template code in place. Raises ``EmailError``."""
    word = _unused_word(source)
    pieces: list[str] = []
    codes: list[str] = []
    at = 0
    for start, end in chunks(source):
        pieces += [source[at:start], f"{word}{len(codes)}x"]
        codes.append(source[start:end])
        at = end
    try:
        # No external fonts, and no includes: the library's own loader finds nothing.
        made = mjml2html("".join((*pieces, source[at:])), fonts={})
    except ValueError as error:
        raise EmailError(
            _("The MJML cannot be parsed: ${reason}", mapping={"reason": str(error)[:200]}), "html"
        ) from None
    return re.sub(rf"{word}(\d+)x", lambda mask: codes[int(mask[1])], made)


def _unused_word(source: str) -> str:
    used = re.findall(r"mjcode(z*+)", source)
    return "mjcode" + "z" * (max(map(len, used)) + 1 if used else 0)
