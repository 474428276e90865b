"""Letters written as MJML: columns and buttons instead of tables within tables.

Template code is masked here, too, by words of ordinary letters: the library escapes private characters.
"""

import re

from mjml import mjml2html

from ..errors import LetterError, _
from .masks import chunks

_START = re.compile(r"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<mjml\b", re.DOTALL | re.IGNORECASE)


def is_mjml(source: str) -> bool:
    return bool(_START.match(source))


def to_html(source: str) -> str:
    """The HTML of an MJML source, with its template code in place. Raises ``LetterError``."""
    word = _unused_word(source)
    pieces: list[str] = []
    codes: list[str] = []
    at = 0
    for start, end in chunks(source):
        pieces += [source[at:start], f"{word}{len(codes)}x"]
        codes.append(source[start:end])
        at = end
    try:
        # No fonts from elsewhere, and nothing included: the library's own loader finds nothing.
        made = mjml2html("".join((*pieces, source[at:])), fonts={})
    except ValueError as error:
        raise LetterError(
            _("The MJML is not understood: ${reason}", mapping={"reason": str(error)[:200]}), "html"
        ) from None
    return re.sub(rf"{word}(\d+)x", lambda mask: codes[int(mask[1])], made)


def _unused_word(source: str) -> str:
    word = "mjcode"
    while word in source:
        word += "z"
    return word
