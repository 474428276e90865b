"""Inlining of the rules of ``<style>``, which some email apps do not read."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping

import css_inline

from ..errors import EmailError, _
from . import markup
from .markup import Edit, Token
from .placeholders import MASK, MaskedSource


def inlined_styles(masked: MaskedSource, tokens: Iterable[Token]) -> Mapping[int, str]:
    """Return the start of each tag -> its style with the rules of ``<style>`` applied.

    Some email apps, among them Gmail's apps, read inline styles only. Each tag gets a number, the library
    inlines a copy, and only the styles are taken from it: the source itself never goes through an HTML
    parser, which would move and close what templates leave open.
    """
    source = masked.text
    if not re.search(r"<style\b", source, re.IGNORECASE):
        return {}
    tags = [token for token in tokens if token.kind == "open" and token.name not in _UNSTYLED]
    ends = map(_end_of_name, tags)
    numbered = markup.apply(source, [Edit(end, end, f' data-tag="{n}"') for n, end in enumerate(ends)])
    try:
        inliner = css_inline.CSSInliner(keep_style_tags=True, load_remote_stylesheets=False)
        styles = _styles(inliner.inline(numbered))
    except (css_inline.InlineError, ValueError) as error:
        raise EmailError(
            _("The styles cannot be parsed: ${reason}", mapping={"reason": str(error)[:200]}), "html"
        ) from None
    return {tag.start: style for number, tag in enumerate(tags) if (style := styles.get(str(number)))}


def style_edits(masked: MaskedSource, tokens: Iterable[Token], styles: Mapping[int, str]) -> Iterator[Edit]:
    for tag in tokens:
        style = styles.get(tag.start) if tag.kind == "open" else None
        # Keep a style that no rule adds to exactly as written.
        if style and style != tag.value("style") and _keeps_code(masked, tag, style):
            yield _styled(tag, style)


_UNSTYLED = frozenset(("html", "head", "meta", "title", "style", "script", "link", "base"))


def _end_of_name(tag: Token) -> int:
    return tag.start + 1 + len(tag.name)


def _styled(tag: Token, style: str) -> Edit:
    written = f'style="{html.escape(style)}"'
    own = tag.attribute("style")
    end = _end_of_name(tag)
    return Edit(own.start, own.end, written) if own else Edit(end, end, " " + written)


def _keeps_code(masked: MaskedSource, tag: Token, style: str) -> bool:
    """Return whether the template code in the tag's own style is intact after inlining."""
    own = list(MASK.finditer(tag.value("style")))
    return not any(masked.is_statement(found) or found[0] not in style for found in own)


def _styles(inlined: str) -> dict[str, str]:
    """Return the number of each tag -> its style. A parser makes several tags of some that are left open."""
    found: dict[str, str] = {}
    for token in markup.tokens(inlined):
        if token.kind == "open" and (number := token.value("data-tag")) and (style := token.value("style")):
            found.setdefault(number, style)
    return found
