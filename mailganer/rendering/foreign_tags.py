"""Placeholders in the syntax of other products, found in a source with the name inside them.

Every pattern reads each character a bounded number of times, whatever is left open: sources are untrusted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from .code_spans import code_spans
from .markup import readable, tokens
from .sandbox import TEXT

MOST = 300  # different tags of one text; only a few are ever shown


@dataclass(frozen=True)
class Tag:
    """One placeholder as written, and the name inside it."""

    written: str
    name: str
    sure: bool = True  # no ordinary text looks like that
    divided: bool = False  # our own braces, with formatting inside
    quoted: bool = False  # in characters that are quotation marks in Russian: only a name counts


# --- syntax of tags

_NAME = r"[^\W\d_][\w .:-]{0,60}+"
_SURE = re.compile(
    r"\*\|\s*+(?P<mailchimp>[^|*\n]{1,120}+)\s*+\|\*"
    r"|<%[=-]?(?P<erb>[^%>]{1,200}+)%>"
    r"|%%\s*+=?\s*+(?P<percent>[\w.:()@ -]{1,100}+)\s*+=?\s*+%%"
    r"|\{\$\s*+(?P<mailerlite>[^\W\d][\w.]{0,60}+)[^{}\n]{0,60}+\}"
    r"|\$\{\s*+(?P<shell>[^\W\d][\w.]{0,60}+)\s*+\}"
    r"|\[\[(?:data|var):(?P<mailjet>\w{1,60}+)[^\[\]\n]{0,60}+\]\]"
    r"|##(?P<newsman>[A-Za-z]{2,20}:\w{1,60}+)##"
    r"|\[\[\s*+(?P<brackets>[^\W\d_][\w .:-]{0,60}?)\s{0,9}(?:\s(?:OR|mode=)[^\[\]\n]{0,60}+)?\]\]"
    rf"|\[(?P<phplist>{_NAME})%%[^\[\]\n]{{0,80}}+\]"
    r"|\[(?P<link>UNSUBSCRIBE|FORWARD|PREFERENCES|SUBSCRIBE|BLACKLIST|CONTACT|VIEWBROWSER|ARCHIVE)"
    r":[^\[\]\n]{1,60}+\]"
    r"|\[(?P<page>URL:[^\[\]\s]{1,200}+|LOGO:\d{1,5})\]"
    rf"|\[%\s*+(?P<sendgrid>{_NAME})\s*+%\]"
    r"|\{!\s*+(?P<salesforce>[^\W\d_][\w.:$]{0,60}+)\s*+\}"
    r"|\{(?:contact|lead|owner)field=(?P<mautic>\w{1,60}+)(?:\|[^{}\n]{0,60}+)?\}"
    r"|(?P<listmonk>@TrackLink)(?!\w)"
)
_UNSURE = re.compile(
    rf"\[%?\s*+(?P<bracket>{_NAME})\s*+(?:[,|][^\[\]\n]{{0,60}}+)?%?\](?!\()"
    rf"|(?<![{{$%])\{{%?\s*+(?P<brace>{_NAME})\s*+(?:[|,][^{{}}\n]{{0,60}}+)?%?\}}(?!\}})"
    r"|(?<![\w%])%(?P<single>[^\W\d_][\w.:-]{0,60}+)%(?![\w%])"
    rf"|<<\s*+(?P<word>{_NAME})\s*+>>"
    rf"|«\s*+(?P<quoted>{_NAME})\s*+»"
    r"|(?<![\w$])\$(?P<dollar>[A-Z][A-Z0-9_]*+(?:\.[A-Z][A-Z0-9_]*+)?)\$(?![\w$])"
    r"|(?<![\w-])-(?P<hyphen>[a-zA-Z][a-zA-Z0-9_]{1,60}+)-(?![\w-])"
    r"|(?<![\w-])--(?P<hyphens>[a-zA-Z][a-zA-Z0-9_-]{1,60}?)--(?![\w-])"
    r"|(?<![\w#&])##?/?(?P<hash>[^\W\d_]\w{0,60}+)##?(?![\w#])"
    r"|(?<![\w@])@@(?P<at>[^\W\d_]\w{0,60}+)@@(?![\w@])"
    r"|(?<![\w$])\$\$(?P<dollars>[^\W\d_]\w{0,60}+)\$\$(?![\w$])"
    r"|(?<![\w~])~(?P<tilde>[^\W\d_]\w{0,60}+)~(?![\w~])"
    rf"|\(\(\s*+(?P<parentheses>{_NAME})\s*+\)\)"
    rf"|\|\*\s*+(?P<mailchimp_turned>{_NAME})\s*+\*\|"
)
_BRACES = re.compile(r"\{\{\{?(?P<inner>[^{}]{0,400})\}?\}\}")
_EXPRESSION = re.compile(r"-?\s*[^\W\d][\w.]*\s*(?:$|[|~+*\[(=!<>?-]|(?:if|or|and|in|is|not)\b)|['\"(\d\[-]")
_SIGNS = re.compile(r"[*<%{\[«#$~-]|@@|@TrackLink|\(\(")  # one of them begins every tag
_WORD_SIGN = re.compile(r"[^\W_]")
_KEPT = "\ue000"  # stands for code of our own


def has_foreign_tag(text: str) -> bool:
    """Return whether ``text`` has a tag that no ordinary text looks like."""
    return bool(_SURE.search(text))


def foreign_tags(text: str, *, html: bool = False, broken: bool = False) -> Iterator[Tag]:
    """Yield the tags in ``text``, each once, at most ``MOST``.

    In HTML only what a recipient reads or follows is searched. ``broken`` means that the template cannot be
    used: then our own braces are searched, too.
    """
    source = without_code(text, whole=broken)
    found = [tag for piece in (_read(source) if html else [source]) for tag in _tags_in(piece)]
    if html:
        found += [*_elements(source), *_whole_addresses(source)]
    tags = list(dict.fromkeys([*(_broken_code(text) if broken else ()), *found]))
    yield from islice(tags if len(tags) <= MOST else sorted(tags, key=lambda tag: not tag.sure), MOST)


def without_code(text: str, *, whole: bool = False) -> str:
    """Return ``text`` with each piece of code replaced by one private-use character."""
    out, at = [], 0
    for start, end in code_spans(text, whole=whole):
        out += [text[at:start], _KEPT]
        at = end
    return "".join((*out, text[at:]))


def _tags_in(text: str) -> Iterator[Tag]:
    if not _SIGNS.search(text):
        return
    for match in _BRACES.finditer(text):
        yield Tag(match[0], match["inner"].strip(), divided=True)
    rest = _BRACES.sub(_KEPT, text)
    for match in _SURE.finditer(rest):
        yield Tag(match[0], _name(match))
    for match in _UNSURE.finditer(_SURE.sub(_KEPT, rest)):
        yield Tag(match[0], _name(match), sure=False, quoted=match.lastgroup == "quoted")


def _name(match: re.Match[str]) -> str:
    return match[match.lastgroup or 0].strip().removesuffix("-").rstrip()


def _broken_code(text: str) -> Iterator[Tag]:
    """Yield our own braces around what is no expression of ours: ``{{ First Name }}``, ``{{{name}}}``."""
    for start, end in code_spans(text, whole=True):
        written, inner = text[start:end], text[start + 2 : end - 2].strip()
        if written.startswith("{%") and (statement := _STATEMENT.match(inner)):
            if not _OUR_STATEMENTS.fullmatch(statement[1]):
                yield Tag(written, statement[1])  # {% unsubscribe 'Leave' %}
            continue
        if not written.startswith("{{") or not _WORD_SIGN.search(inner):
            continue
        if written.startswith("{{{") and text.startswith("}", end):
            written += "}"
        name = next((found[1] for pattern in _FOREIGN_CODE if (found := pattern.match(inner))), "")
        if name or not _EXPRESSION.match(inner):
            yield Tag(written, name or inner)
        elif (piped := _PIPED.fullmatch(inner)) and piped["filter"].strip() not in TEXT.filters:
            yield Tag(written, piped["name"])  # {{Name|dear customer}}


_STATEMENT = re.compile(r"[-+]?\s*+([^\W\d]\w*)")
_OUR_STATEMENTS = re.compile(
    r"(?:end)?(?:if|for|set|raw|macro|call|filter|with|autoescape|block)|elif|else|include|import|from|extends|do"
)

# Inside our braces: expressions of HubSpot, SendGrid, Mailjet, GetResponse, UniSender and Liquid.
_FOREIGN_CODE = (
    re.compile(r"personalization_token\(\s*[\"']([\w.]+)"),
    re.compile(r"insert\s+(\w+)"),
    re.compile(r"(?:var|data)\s*:\s*(\w+)"),
    re.compile(r"[A-Z]+\s+`(\w+)`"),
    re.compile(r"(_?[^\W\d_]\w*)\?"),
    re.compile(r"(_[^\W\d_]\w*)$"),
    re.compile(r"([^\W\d][\w.]*)\s*\|\s*\w+\s*:"),
)
_PIPED = re.compile(r"(?P<name>[^\W\d][\w.]*)\s*\|(?P<filter>[^|()'\"{}]*)")


# --- HTML

# Links of Campaign Monitor and Sendy.
_ELEMENTS = frozenset(("unsubscribe", "webversion", "preferences", "forwardtoafriend"))


def _elements(source: str) -> Iterator[Tag]:
    """``<unsubscribe>Leave</unsubscribe>``: browsers show its words, and no link."""
    for token in tokens(source):
        if token.kind == "open" and token.name in _ELEMENTS:
            yield Tag(f"<{token.name}>", token.name)


_WHOLE = re.compile(rf"\s*\[({_NAME})\]\s*")


def _whole_addresses(source: str) -> Iterator[Tag]:
    """``href="[unsubscribe]"``: in a text it is what links are often called."""
    for token in tokens(source):
        whole = _WHOLE.fullmatch(token.value("href")) if token.kind == "open" else None
        if whole:
            yield Tag(whole[0].strip(), whole[1].strip())


_SILENT = frozenset({"style", "script", "title"})
_WORD = re.compile(r"<<([\w .:-]{1,80})>>")
_LINES = re.compile(r"p|div|t[dhr]|table|li|[uo]l|h[1-6r]|br|blockquote|center|section|article")  # end a text
_UNREAD = frozenset({"style", "class", "id", "xmlns", "content", "lang", "fillcolor", "arcsize", "bgcolor"})


def _read(source: str) -> list[str]:
    """Return the visible text, divided by blocks and not by formatting, and then the attributes."""
    text: list[str] = []
    attributes: list[str] = []
    # ``<<First Name>>`` would be a tag, so it is written as text.
    source = _WORD.sub(r"&lt;&lt;\1&gt;&gt;", source)
    for token in tokens(source):
        words = source[token.start : token.end]
        if token.kind in ("open", "close") and _LINES.fullmatch(token.name):
            text.append("\n")
        if token.kind == "open":
            attributes += [each.value for each in token.attributes if each.value and each.name not in _UNREAD]
        elif token.kind in ("text", "lost"):
            text.append(readable(words))
        elif token.kind == "raw" and token.name not in _SILENT:
            text.append(words)
    return ["".join(text), *attributes]
