"""The document around an email: missing elements, the preheader, and the places of footer and pixel."""

import html
import re
from collections.abc import Iterable

from .markup import Edit, Token
from .placeholders import FOOTER, PIXEL, MaskedSource, mask


def whole_document(source: str) -> str:
    """Wrap a fragment in the elements that every email app needs, without new lines: lines are counted."""
    if re.search(r"<(?:html|body|!doctype)\b", source, re.IGNORECASE):
        return source
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head><body>'
        + source
        + "</body></html>"
    )


# Invisible characters after the preheader keep inboxes from showing the first words of the email behind it.
_FILLER = "&#847;&zwnj;&nbsp;" * 60


def additions(masked: MaskedSource, tokens: Iterable[Token], preheader: str) -> list[Edit]:
    start, end = _body(masked.text, tokens)
    edits = [Edit(end, end, FOOTER + PIXEL)]
    if preheader.strip():
        hidden = mask(preheader)
        words = hidden.unmask(hidden.text.replace("\n", " "), html.escape)
        block = (
            '<div style="display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;'
            f'overflow:hidden;mso-hide:all">{words}{_FILLER}</div>'
        )
        edits.append(Edit(start, start, block))
    return edits


def _body(source: str, tokens: Iterable[Token]) -> tuple[int, int]:
    """Return the positions where the body's content begins and ends. Tags in comments do not count."""
    start, end, after_head, html_end = None, None, 0, None
    for token in tokens:
        if token.kind == "open" and token.name == "body" and start is None:
            start = token.end
        elif token.kind == "close" and token.name == "body":
            end = token.start
        elif (token.kind == "close" and token.name == "html") or (token.kind == "lost" and html_end is None):
            html_end = token.start
        elif (token.kind == "close" and token.name == "head") or (
            token.kind == "open" and token.name == "html"
        ):
            after_head = max(after_head, token.end)
    start = start if start is not None else after_head or _after_doctype(source)
    end = end if end is not None else html_end if html_end is not None else len(source)
    return start, max(start, end)


def _after_doctype(source: str) -> int:
    doctype = re.match(r"\s*<!doctype[^>]*>", source, re.IGNORECASE)
    return doctype.end() if doctype else 0
