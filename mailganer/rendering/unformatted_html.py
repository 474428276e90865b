"""Text typed into the HTML field: its line breaks and addresses have no markup.

A browser would show such a source as one line, without links. Its lines become paragraphs and line breaks,
its web addresses become links, and inline tags such as ``<b>``, line breaks written as ``<br>`` and comments
stay as they were written.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator

from . import markup, text_to_html
from .placeholders import CLOSE, MASK, OPEN, RAW, MaskedSource, mask

# A source with one of these has its layout in markup.
_LAID_OUT = re.compile(
    r"""<(?:!--\[if\b|!doctype\b|/?(?:
        address|article|aside|audio|base|blockquote|body|button|canvas|caption|center|col|colgroup|dd|details
      | dialog|dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|frameset|h[1-6]|head|header|hr|html
      | iframe|input|legend|li|link|main|map|marquee|math|menu|meta|mjml|nav|noframes|noscript|object|ol|p
      | picture|plaintext|pre|script|search|section|select|style|summary|svg|table|tbody|td|template|textarea
      | tfoot|th|thead|title|tr|ul|video|xmp|(?!https?:|mailto:)[a-z0-9-]+:[^\s/>]{0,200}+
    )(?=[\s/>]))""",
    re.IGNORECASE | re.VERBOSE,
)
_DISPLAY = re.compile(r"(?:display|float|position)\s*:", re.IGNORECASE)
_SAFE = re.compile(r"\|\s*safe\b")
_WORD = re.compile(rf"[^\W_]|{OPEN}")
# The end of a line of nothing but statements and comments, which is no break. A comment keeps the line count.
_SILENT_END = "\U0010ff06"
_SILENT_LINE = re.compile(rf"^[ \t]*(?:{OPEN}[0-9]+{CLOSE}[ \t]*)+\n", re.MULTILINE)
# A line end with a "<br>" beside it: after it, or before one that begins a line with words in it.
_BROKEN_LINE = re.compile(
    r"(<br)(?![^\s/>])([^<>]*>[ \t]*)\n|\n([ \t]*<br)(?![^\s/>])(?=[^<>]*>[ \t]*\S)", re.IGNORECASE
)
# Line ends, and the lines without words between them.
_GAP = re.compile(
    rf"(?:<br\n[^<>]*>|\n|\A)(?:[ \t]*(?:\n|(?:{OPEN}[0-9]+{CLOSE}[ \t]*)+{_SILENT_END}))+", re.IGNORECASE
)
_BEFORE_END = re.compile(rf"[\s{_SILENT_END}]|{CLOSE}[0-9]+{OPEN}")
_CLOSING = re.compile(r"\{%[-+]?\s*endif\b|\{#|<!--")
# A line of the source that was wrapped in the middle of a sentence.
_WRAPPED = re.compile(r"(?<=[^\n.!?:;…]{50})\n[ \t]*(?=[^\W\d_])(?![A-ZА-ЯЁ])")
_AROUND_BREAK = re.compile(rf"(?<![\s{_SILENT_END}])[\s{_SILENT_END}]*+<br>[\s{_SILENT_END}]*")
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
# "<https://example.com>" and "<ivan@example.com>" are addresses in brackets, although they look like tags.
_BRACKETED = re.compile(r"<(?:https?://[^\s<>\"']+|[^\s<>\"'@]+@[^\s<>\"'@]+)>", re.IGNORECASE)
# The end of an address before a quotation mark, a bracket or a space written as a character reference.
_SIGN = re.compile(r"&(?:nbsp|quot|lt|gt|[lr]aquo|#160|#34|#39)(?:;|\Z)")
# In an address "&reg_id=4" is a parameter.
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});", re.IGNORECASE)
_LINE_ENDS = re.compile(r"\n(?:[ \t]*\n)*")


def is_plain(source: str) -> bool:
    """Return whether a source has lines or addresses that a browser would not show, and no layout."""
    if not source.strip():
        return False
    masked = _masked(source)
    codes = [code for code in masked.codes if not code.startswith("<")]
    if any(map(_LAID_OUT.search, (masked.text, *codes))):
        return False
    if any(map(_SAFE.search, codes)):
        return False  # the layout comes with a value
    shown = _lined(masked).strip()
    pieces = list(_pieces(shown))
    if not any(token.kind == "text" for token in pieces):
        return False
    return not any(_is_layout(shown, token) for token in pieces) and _would_lose(masked, shown, pieces)


def html_of(source: str) -> str:
    """Return a template for the HTML part. Line numbers stay the same."""
    masked = _masked(source)
    shown = _lined(masked)
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
    body = text_to_html.framed("".join(out))
    whole = masked.unmask((shown[:start] + body + shown[end:]).replace(text_to_html.TAKEN, "\n"))
    return whole.replace(_SILENT_END, "{#\n#}")


def _masked(source: str) -> MaskedSource:
    """Return the source with comments masked like code: a comment is no layout, and its line is no line."""
    masked = mask(source)
    if "<!--" not in masked.text:
        return masked
    codes, pieces, at = list(masked.codes), [], 0
    for token in markup.tokens(masked.text):
        written = masked.text[token.start : token.end]
        if token.kind == "comment" and written.startswith("<!--") and not _LAID_OUT.match(written):
            pieces += [masked.text[at : token.start], f"{OPEN}{len(codes)}{CLOSE}"]
            codes.append(masked.unmask(written))
            at = token.end
    return MaskedSource("".join((*pieces, masked.text[at:])), tuple(codes))


def _lined(masked: MaskedSource) -> str:
    """Return the text with only the line ends that shall be seen. It is as long as the text of ``masked``."""
    text = text_to_html.without_taken(_without_silent_lines(masked))
    if "<br" in text.lower():
        text = _BROKEN_LINE.sub(_into_the_tag, text)
    text = _GAP.sub(_once, text)
    end = _end_of_words(text, masked.codes)
    return text[:end] + text[end:].replace("\n", _SILENT_END)


def _into_the_tag(found: re.Match[str]) -> str:
    behind, rest, before = found.groups()
    return f"{before}\n" if before else f"{behind}\n{rest}"


def _once(gap: re.Match[str]) -> str:
    """Return line ends without the empty lines after a statement that were before it as well."""
    in_front = not gap.start() and not gap[0].startswith("<")
    seen, parts = 0, []
    for part in re.split(rf"(?<={_SILENT_END})", gap[0]):
        ends = part.count("\n")
        spare = ends if in_front else min(ends, max(0, seen - 1))
        parts.append(part.replace("\n", _SILENT_END, spare))
        seen += ends - spare
    return "".join(parts)


def _end_of_words(text: str, codes: tuple[str, ...]) -> int:
    """Return the position after which only ends of conditions, comments and space follow."""
    backwards, at = text[::-1], 0
    while found := _BEFORE_END.match(backwards, at):
        code = found[0][::-1][1:-1]
        if code and not _CLOSING.match(codes[int(code)]):
            break
        at = found.end()
    return len(text) - at


def _without_silent_lines(masked: MaskedSource) -> MaskedSource:
    def without_end(line: re.Match[str]) -> str:
        codes = [masked.code(found) for found in MASK.finditer(line[0])]
        silent = all(code.startswith(("{%", "{#", "<!--")) and not RAW.match(code) for code in codes)
        return line[0][:-1] + _SILENT_END if silent else line[0]

    return MaskedSource(_SILENT_LINE.sub(without_end, masked.text), masked.codes)


def _pieces(shown: str, start: int = 0) -> Iterator[markup.Token]:
    """Yield tokens, with addresses in brackets and unclosed tags as the text they were meant to be."""
    for token in markup.tokens(shown, start):
        written = shown[token.start : token.end]
        is_text = token.kind == "lost" and ">" not in written
        if is_text or (token.kind == "open" and _BRACKETED.fullmatch(written)):
            yield markup.Token("text", "", token.start, token.end)
        else:
            yield token


def _nested(shown: str, start: int) -> Iterator[tuple[markup.Token, int, bool]]:
    """Yield each piece with the number of tags around it, and whether one of them is a link."""
    around: list[str] = []
    numbers = Counter[str]()  # of the open tags, by their names
    for token in _pieces(shown, start):
        if token.kind == "close" and numbers[token.name]:
            while (inner := around.pop()) != token.name:
                numbers[inner] -= 1
            numbers[token.name] -= 1
        yield token, len(around), numbers["a"] > 0
        if token.kind == "open" and token.name not in markup.VOID:
            around.append(token.name)
            numbers[token.name] += 1


def _is_layout(shown: str, token: markup.Token) -> bool:
    if token.kind in ("text", "close"):
        return False
    return token.kind != "open" or bool(_DISPLAY.search(token.value("style")))


def _would_lose(masked: MaskedSource, shown: str, pieces: list[markup.Token]) -> bool:
    # Line ends between the slices of an image are no breaks.
    sliced = any(token.name == "img" for token in pieces)
    texts = [
        (token, text)
        for token in pieces
        if token.kind == "text" and (_WORD.search(text := shown[token.start : token.end]) or not sliced)
    ]
    if any(token.name == "br" for token in pieces):
        words = {token.start: text for token, text in texts}
        return _breaks_too("".join(words.get(each.start, "<br>" * (each.name == "br")) for each in pieces))
    if any("\n" in text for _token, text in texts):
        return True
    outside = MaskedSource(shown, masked.codes)
    return any(
        next(text_to_html.links(outside, token.start, token.end), None) is not None
        for token, _depth, in_link in _nested(shown, 0)
        if token.kind == "text" and not in_link
    )


def _breaks_too(text: str) -> bool:
    """Return whether line ends without a ``<br>`` are breaks as well, or mere wrapping of the source."""
    bare = _AROUND_BREAK.sub("<br>", text)
    if _EMPTY_LINE.search(bare):
        return True
    ends = bare.count("\n") - len(_WRAPPED.findall(bare))
    return ends > 0 and ends >= bare.count("<br>")


def _linked(masked: MaskedSource, shown: str, token: markup.Token, depth: int) -> Iterator[str]:
    at = token.start
    for start, end in text_to_html.links(masked, token.start, token.end):
        end = start + len(_SIGN.split(shown[start:end], maxsplit=1)[0])
        # In the text between tags "&copy=2" would be read as a sign: the address is escaped as a whole.
        address = html.escape(_REFERENCE.sub(lambda sign: html.unescape(sign[0]), shown[start:end]))
        yield _lines(shown[at:start], depth)
        yield f'<a href="{text_to_html.scheme_of(address)}{address}">{address}</a>'
        at = end
    yield _lines(shown[at : token.end], depth)


def _lines(text: str, depth: int) -> str:
    """Return text with its line ends. Inside a tag, where no paragraph can end, it gets an empty line."""
    text = _TAG_LIKE.sub("&lt;", text)
    if depth:
        return text.replace("\n", "<br\n>")
    return _LINE_ENDS.sub(text_to_html.line_break, text)


_TAG_LIKE = re.compile(r"<(?=/?[a-zA-Z]|\Z)")
