"""Words typed into the HTML field: text whose lines and addresses no markup carries.

A browser would show such a source as one line, with its addresses dead. Its lines become paragraphs and line
breaks, its web addresses become links, and inline tags such as ``<b>`` stay as they were written.
"""

import html
import re
from collections.abc import Iterator

from . import markup, plainhtml
from .masks import CLOSE, MASK, OPEN, RAW, Masked, mask

# Whoever writes one of these lays the email out by markup.
_LAID_OUT = re.compile(
    r"""<(?:!--|!doctype\b|/?(?:
        address|article|aside|audio|base|blockquote|body|br|button|canvas|caption|center|col|colgroup|dd|details
      | dialog|dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|frameset|h[1-6]|head|header|hr|html
      | iframe|input|legend|li|link|main|map|marquee|math|menu|meta|mjml|nav|noframes|noscript|object|ol|p
      | picture|plaintext|pre|script|search|section|select|style|summary|svg|table|tbody|td|template|textarea
      | tfoot|th|thead|title|tr|ul|video|xmp|(?!https?:|mailto:)[a-z0-9-]+:[^\s>]*
    )(?=[\s/>]))""",
    re.IGNORECASE | re.VERBOSE,
)
_DISPLAY = re.compile(r"(?:display|float|position)\s*:", re.IGNORECASE)
_SAFE = re.compile(r"\|\s*safe\b")
_WORD = re.compile(rf"[^\W_]|{OPEN}")
# The end of a line of nothing but statements and comments: it is no break. A comment keeps the line count.
_SILENT_END = "\U0010ff06"
_SILENT_LINE = re.compile(rf"^[ \t]*(?:{OPEN}[0-9]+{CLOSE}[ \t]*)+\n", re.MULTILINE)
# "<https://example.com>" and "<ivan@example.com>" are addresses in brackets, although they look like tags.
_BRACKETED = re.compile(r"<(?:https?://[^\s<>\"']+|[^\s<>\"'@]+@[^\s<>\"'@]+)>", re.IGNORECASE)
# Where an address ends that stands before a quotation mark, a bracket or a space written as a reference.
_SIGN = re.compile(r"&(?:nbsp|quot|lt|gt|[lr]aquo|#160|#34|#39)(?:;|\Z)")
_LINE_ENDS = re.compile(r"\n(?:[ \t]*\n)*")


def is_plain(source: str) -> bool:
    """Whether the source has lines or addresses that a browser would not show, and no layout of its own."""
    if _LAID_OUT.search(source) or not source.strip():
        return False
    masked = mask(source)
    if any(_SAFE.search(code) for code in masked.codes):
        return False  # the layout comes with a value
    shown = plainhtml.without_taken(_without_silent_lines(masked)).strip()
    pieces = list(_pieces(shown))
    if not any(token.kind == "text" for token in pieces):
        return False
    return not any(_is_layout(shown, token) for token in pieces) and _would_lose(masked, shown, pieces)


def html_of(source: str) -> str:
    """A template for the HTML part. Every line end keeps its line."""
    masked = mask(source)
    shown = plainhtml.without_taken(_without_silent_lines(masked))
    start = len(shown) - len(shown.lstrip())
    end = len(shown.rstrip())
    out: list[str] = []
    for token, depth, in_link in _nested(shown[:end], start):
        written = shown[token.start : token.end]
        if token.kind != "text":
            out.append(written)
        elif in_link:
            out.append(_lines(written, depth))
        else:
            out += _linked(masked, shown, token, depth)
    body = plainhtml.framed("".join(out))
    whole = masked.unmask((shown[:start] + body + shown[end:]).replace(plainhtml.TAKEN, "\n"))
    return whole.replace(_SILENT_END, "{#\n#}")


def _without_silent_lines(masked: Masked) -> Masked:
    def without_end(line: re.Match[str]) -> str:
        codes = [masked.code(found) for found in MASK.finditer(line[0])]
        silent = all(code.startswith(("{%", "{#")) and not RAW.match(code) for code in codes)
        return line[0][:-1] + _SILENT_END if silent else line[0]

    return Masked(_SILENT_LINE.sub(without_end, masked.text), masked.codes)


def _pieces(shown: str, start: int = 0) -> Iterator[markup.Token]:
    """Tokens, with addresses in brackets and a tag that never ends as the text they were meant to be."""
    for token in markup.tokens(shown, start):
        written = shown[token.start : token.end]
        is_text = token.kind == "lost" and ">" not in written
        if is_text or (token.kind == "open" and _BRACKETED.fullmatch(written)):
            yield markup.Token("text", "", token.start, token.end)
        else:
            yield token


def _nested(shown: str, start: int) -> Iterator[tuple[markup.Token, int, bool]]:
    """Each piece with the number of tags around it, and whether one of them is a link."""
    around: list[str] = []
    for token in _pieces(shown, start):
        if token.kind == "close" and token.name in around:
            del around[len(around) - 1 - around[::-1].index(token.name) :]
        yield token, len(around), "a" in around
        if token.kind == "open" and token.name not in markup.VOID:
            around.append(token.name)


def _is_layout(shown: str, token: markup.Token) -> bool:
    if token.kind in ("text", "close"):
        return False
    return token.kind != "open" or bool(_DISPLAY.search(token.value("style")))


def _would_lose(masked: Masked, shown: str, pieces: list[markup.Token]) -> bool:
    texts = [shown[token.start : token.end] for token in pieces if token.kind == "text"]
    if any(token.name == "img" for token in pieces):
        # Line ends between the slices of a picture are no breaks.
        texts = [text for text in texts if _WORD.search(text)]
    if any("\n" in text for text in texts):
        return True
    outside = Masked(shown, masked.codes)
    return any(
        next(plainhtml.links(outside, token.start, token.end), None) is not None
        for token, _depth, in_link in _nested(shown, 0)
        if token.kind == "text" and not in_link
    )


def _linked(masked: Masked, shown: str, token: markup.Token, depth: int) -> Iterator[str]:
    at = token.start
    for start, end in plainhtml.links(masked, token.start, token.end):
        end = start + len(_SIGN.split(shown[start:end], maxsplit=1)[0])
        # In the text between tags "&copy=2" would be read as a sign: the address is escaped as a whole.
        address = html.escape(markup.decoded(shown[start:end]))
        yield _lines(shown[at:start], depth)
        yield f'<a href="{address}">{address}</a>'
        at = end
    yield _lines(shown[at : token.end], depth)


def _lines(text: str, depth: int) -> str:
    """Text with its line ends. Inside of a tag, where no paragraph can end, it gets an empty line."""
    text = _TAG_LIKE.sub("&lt;", text)
    if depth:
        return text.replace("\n", "<br\n>")
    return _LINE_ENDS.sub(plainhtml.line_break, text)


_TAG_LIKE = re.compile(r"<(?=/?[a-zA-Z]|\Z)")
