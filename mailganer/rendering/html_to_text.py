"""Conversion of an HTML template to the text part of an email.

The HTML is read from top to bottom and its template code stays where it is, so that loops and conditions work
in the text as they do in the HTML. (A tool that lays out a parsed document cannot do that: parsing moves ``{%
for %}`` out of its table.)
"""

import html
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import markup
from .list_markers import DASH, signs_of_items
from .placeholders import MASK, MaskedSource, escape_code
from .text_spacing import LINE, NONE, SPACE, Gap, Spacing, without_minus

BLOCKS = frozenset(
    (
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "p",
        "pre",
        "search",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    )
)
_APART = frozenset(
    (
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "menu",
        "dir",
        "blockquote",
        "pre",
        "hr",
    )
)  # an empty line around
_SILENT = frozenset(("head", *markup.RAW, "noscript", "template", "svg", "select", "object"))
# Not "mso-hide:all": it hides from Outlook only, for example a button for which Outlook has its own version.
_HIDDEN = re.compile(
    r"(?<![\w-])(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0*+\.?0*+%?\s*(?:[;!]|\Z))",
    re.IGNORECASE,
)
_NO_HEIGHT = re.compile(r"(?<![\w-])(?:max-)?height\s*:\s*0(?:\.0*)?[a-z%]*\s*(?:[;!]|\Z)", re.IGNORECASE)
_CUT_OFF = re.compile(r"(?<![\w-])overflow(?:-y)?\s*:\s*(?:hidden|clip)", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_RAW = re.compile(r"\{%[-+]?\s*raw\b")
_STRIPPED_BEFORE = re.compile(r"\{.-")
_STRIPPED_BEHIND = re.compile(r"-.\}\Z")
_NOTHING = re.compile("[\u200b\u2060\u034f\u00ad\ufeff]")
# The joiner and the non-joiner belong to words and emoji; after a space or repeated they are preheader
# filler.
_LOOSE_JOINERS = re.compile(
    r"(?<!\S)[\u200c\u200d]+|[\u200c\u200d]+(?!\S)|(?<=[\u200c\u200d])[\u200c\u200d]+"
)
_DEEPEST = 20  # deepest indentation of nested lists
_LONGEST_LINK = 2000  # pieces of the text of a link
_LISTS = frozenset(("ul", "ol", "menu", "dir"))
_SCHEME = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_VALUE = re.compile(r"\{\{[-+]?(?P<expression>(?:(?!\}\}|\{\{).)+?)[-+]?\}\}", re.DOTALL)
_NUMBER = re.compile(r"\+?[\d\s().\u2010-\u2013-]+")


class Target(NamedTuple):
    """What is put after the text of a link, and the address itself, so that it is not written twice."""

    shown: str = ""
    address: str = ""


class _Writer(Spacing):
    """Collects words; line ends are held back until text follows them."""

    def __init__(self) -> None:
        super().__init__()
        self.preformatted = 0  # number of open <pre>
        self.begins_preformatted = False
        self.cells: list[int] = []  # of the open table rows
        self.lists: list[bool] = []  # the open lists, each with whether an item of it is open

    def breaks(self, lines: int) -> None:
        if not self.state.begun:
            self.lines(lines)

    def word(self, text: str) -> None:
        if self.state.apart:
            self.spaced()
        self.put(text)

    def text(self, text: str) -> None:
        for index, piece in enumerate(_SPACE.split(text)):
            if index:
                self.spaced()
            if piece:
                self._piece(piece)

    def lined(self, text: str) -> None:
        """Write text whose spaces and line ends are kept, except for the line end right after ``<pre>``."""
        if self.begins_preformatted:
            text, self.begins_preformatted = text.removeprefix("\n"), False
        for index, line in enumerate(text.split("\n")):
            if index:
                self.line(most=len(text))
            if line.strip():
                self._piece(line)

    def _piece(self, text: str) -> None:
        # Punctuation such as a comma follows without a space.
        self.state.apart = self.state.apart and text[0].isalnum()
        self.word(escape_code(text))

    def apart_from_link(self) -> None:
        """Begin a link, separated from the one before it."""
        if self.state.apart:
            self.spaced()

    def begin_list(self) -> None:
        self.breaks(1 if self.lists else 2)
        self.lists.append(False)

    def end_list(self) -> None:
        self.end_item()
        if self.lists:
            self.lists.pop()
        self.breaks(1 if self.lists else 2)

    def item(self, sign: str) -> None:
        """Begin an item of a list with its marker."""
        self.end_item()
        self.breaks(1)
        self.word(sign)
        self.spaced()
        self.state.begun = True
        if self.lists:
            self.lists[-1] = True

    def end_item(self) -> None:
        """End an item: the next one follows on the next line, whatever space its paragraphs need."""
        self.state.begun = False
        if self.lists and self.lists[-1]:
            self.only(LINE)
            self.lists[-1] = False

    def indent(self) -> int:
        """Return the indentation of a line: the text of an item is aligned below its first word."""
        return min(len(self.lists) - 1 + self.lists[-1], _DEEPEST) if self.lists else 0


def text_of(
    masked: MaskedSource,
    tokens: Sequence[markup.Token],
    links: Mapping[int, Target],
    styles: Mapping[int, str] = {},
) -> str:
    """Return a template for the text part.

    ``links``: start of an opening ``<a>`` or ``<area>`` -> what follows its text. ``styles``: start of a tag
    -> its style with the rules of ``<style>`` applied.
    """
    source, writer = masked.text, _Writer()
    silent: list[str] = []  # the open tags whose content is not shown
    targets: list[tuple[Target, int]] = []
    signs = signs_of_items(masked, tokens)
    for token in tokens:
        if token.kind == "text":
            _write(masked, source[token.start : token.end], writer, bool(silent))
            continue
        # A condition may begin in a comment or inside a tag: no part of it may get lost.
        _write(masked, source[token.start : token.end], writer, silent=True)
        if token.kind == "open":
            if silent:
                if token.name == silent[-1]:
                    silent.append(token.name)
            elif _is_hidden(token, styles.get(token.start)):
                silent.append(token.name)
            elif token.name == "a":
                writer.apart_from_link()
                targets.append((links.get(token.start, Target()), len(writer.out)))
            elif token.name == "area":
                _area(masked, token, writer, links.get(token.start))
            elif token.name == "li":
                writer.item(signs.get(token.start, DASH))
            else:
                _open(masked, token, writer)
        elif token.kind == "close":
            if silent:
                if token.name == silent[-1]:
                    silent.pop()
            elif token.name == "a" and targets:
                _end_link(writer, *targets.pop())
            else:
                _close(token, writer)
    return writer.written() + "\n"


def _is_hidden(token: markup.Token, style: str | None = None) -> bool:
    if token.name in markup.VOID:
        return False
    if token.name in _SILENT or token.value("aria-hidden") == "true" or token.attribute("hidden"):
        return True
    style = token.value("style") if style is None else style
    return bool(_HIDDEN.search(style) or (_NO_HEIGHT.search(style) and _CUT_OFF.search(style)))


def _write(masked: MaskedSource, text: str, writer: _Writer, silent: bool) -> None:
    at, stripped = 0, False
    put = writer.lined if writer.preformatted else writer.text
    for mask in MASK.finditer(text):
        code = masked.code(mask)
        if not silent:
            put(_readable(_between(text[at : mask.start()], stripped, code)))
        stripped = bool(_STRIPPED_BEHIND.search(code))
        if masked.is_statement(mask) and not _RAW.match(code):
            # Hidden content, too: an {% endif %} must not get lost.
            writer.statement(code)
        elif not silent and not code.startswith("{#"):
            writer.word(without_minus(code))
        at = mask.end()
    if not silent:
        put(_readable(_between(text[at:], stripped)))


def _between(text: str, stripped: bool, code: str = "") -> str:
    """Return text without the space that a minus in the code beside it removes."""
    text = text.lstrip() if stripped else text
    return text.rstrip() if _STRIPPED_BEFORE.match(code) else text


def _readable(text: str) -> str:
    return _LOOSE_JOINERS.sub("", _NOTHING.sub("", markup.readable(text)).replace("\u00a0", " "))


def _open(masked: MaskedSource, token: markup.Token, writer: _Writer) -> None:
    name = token.name
    if name == "br":
        writer.line(most=2)
    elif name == "hr":
        writer.breaks(2)
        writer.word("-" * 20)
        writer.breaks(2)
    elif name == "img":
        _image(masked, token, writer)
    elif name in ("td", "th"):
        writer.spaced()
        if writer.cells:
            writer.cells[-1] += 1
    elif name in _LISTS:
        writer.begin_list()
    elif name in BLOCKS:
        writer.breaks(2 if name in _APART else 1)
        if name == "tr":
            writer.cells.append(0)
        elif name == "pre":
            writer.preformatted += 1
            writer.begins_preformatted = True


def _image(masked: MaskedSource, token: markup.Token, writer: _Writer) -> None:
    alt = token.value("alt").strip()
    if alt:
        writer.spaced()
        _write(masked, html.escape(alt), writer, silent=False)
        writer.state.apart = True


def _area(masked: MaskedSource, token: markup.Token, writer: _Writer, target: Target | None) -> None:
    """Write a part of an image that is a link."""
    if target:
        writer.apart_from_link()
        since = len(writer.out)
        _image(masked, token, writer)
        _end_link(writer, target, since)


def _close(token: markup.Token, writer: _Writer) -> None:
    name = token.name
    if name == "tr":
        # Rows of several cells are lines of a table; a row of one cell is a paragraph of the layout.
        cells = writer.cells.pop() if writer.cells else 0
        writer.breaks(1 if cells > 1 else 2)
    elif name == "li":
        writer.end_item()
        writer.breaks(1)
    elif name in _LISTS:
        writer.end_list()
    elif name in BLOCKS:
        writer.breaks(2 if name in _APART else 1)
        if name == "pre" and writer.preformatted:
            writer.preformatted -= 1


def _end_link(writer: _Writer, target: Target, since: int) -> None:
    # Text longer than any address is not an address, and is not joined again for links within links.
    words = writer.written(since).strip() if len(writer.out) - since <= _LONGEST_LINK else "…"
    code = _VALUE.fullmatch(target.address)
    if code and (expression := code["expression"].strip()) not in ("", "unsubscribe_url"):
        _end_link_of_value(writer, target, since, words, expression)
        return
    if words and words in (target.address, escape_code(target.address)):
        # The text of the link is its address, so the shown address replaces it.
        _put_address(writer, since, target.shown)
    elif words and _is_address(words, target.address):
        # An address without its scheme, or a phone number written in groups.
        if target.shown != target.address:
            _put_address(writer, since, target.shown)
    elif target.shown and words:
        writer.only(SPACE)
        writer.word(f"({target.shown})")
    elif target.shown:
        writer.word(target.shown)
    writer.state.apart = bool(target.shown) or writer.state.apart


def _end_link_of_value(writer: _Writer, target: Target, since: int, words: str, expression: str) -> None:
    """End a link whose address is a value: where the value is empty, only the text is shown."""
    begin, end = f"{{% if {expression} %}}", "{% endif %}"
    if words == target.address:
        _put_address(writer, since, f"{begin}{target.shown}{end}")
    elif words:
        writer.only(NONE)
        writer.put(f"{begin} ({target.shown}){end}")
    else:
        writer.word(f"{begin}{target.shown}{end}")
    writer.state.apart = True


def _put_address(writer: _Writer, since: int, shown: str) -> None:
    front = next(at for at, piece in enumerate(writer.out[since:], since) if not isinstance(piece, Gap))
    writer.out[front:] = [shown]


def _is_address(words: str, address: str) -> bool:
    """Return whether the text is the address in common spelling: shop.example for https://shop.example/."""
    if _NUMBER.fullmatch(words) and _NUMBER.fullmatch(address):
        return _digits(words) == _digits(address)
    return _plain(words) == _plain(address)


def _digits(number: str) -> str:
    return "".join(each for each in number if each.isdigit())


def _plain(address: str) -> str:
    return _SCHEME.sub("", address, count=1).rstrip("/").casefold()
