"""What a finished letter looks like to mail programs: size, links, pictures, words.

Looks at a rendered letter, as one reader gets it, and at what the person wrote where our own footer and the
links of a preview, which lead nowhere, would blur the picture.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from html.parser import HTMLParser
from urllib.parse import urlsplit

from ..letters.addresses import as_read
from ..letters.markup import attributes_of
from ..letters.words import format_day

CLIPPED = 102 * 1024  # bytes; Gmail shows no more of a letter's HTML and folds the rest away
# Below this a letter with pictures says nothing to who does not load them, and little to spam filters.
FEW_LETTERS = 80
REMOVED = frozenset({"script", "iframe", "object", "embed", "form", "video", "audio"})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - looked for, not listened on
EXAMPLES = ("example.com", "example.org", "example.net")
SILENT = frozenset({"style", "script", "title", "head"})


@dataclass(frozen=True)
class Look:
    """What was found in one rendered letter."""

    size: int  # bytes of HTML
    letters: int  # characters a reader can read without pictures
    pictures: int
    pictures_without_alt: int
    embedded_pictures: int  # data: addresses, which Gmail and Outlook leave out
    plain_links: tuple[str, ...]  # http:// without TLS
    local_links: tuple[str, ...]
    example_links: tuple[str, ...]  # left over from a ready-made letter
    dead_links: int  # <a> that leads nowhere
    links: int
    removed: tuple[str, ...]  # elements mail programs take out

    @property
    def clipped(self) -> bool:
        return self.size > CLIPPED

    @property
    def only_pictures(self) -> bool:
        return self.pictures > 0 and self.letters < FEW_LETTERS


def look_at(html: str, *, source: str, ours: str) -> Look:
    """``html`` is rendered from ``source``. ``ours`` is the installation's own address: links that lead there
    are not the writer's business."""
    reader, written = _read(html), _read(_CODE.sub("", source))
    links = tuple(dict.fromkeys(link for link in reader.links if not link.startswith(ours + "/")))
    web = [link for link in links if link.lower().startswith(("http://", "https://"))]
    return Look(
        size=len(html.encode()),
        letters=written.letters,
        pictures=len(reader.pictures),
        pictures_without_alt=reader.without_alt,
        embedded_pictures=sum(source.startswith("data:") for source in reader.pictures),
        plain_links=tuple(
            link for link in web if link.lower().startswith("http://") and not _at(link, LOCAL)
        ),
        local_links=tuple(link for link in web if _at(link, LOCAL)),
        example_links=tuple(link for link in web if _at(link, EXAMPLES)),
        dead_links=written.dead,
        links=len(web),
        removed=tuple(sorted(reader.removed)),
    )


_CODE = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_PRINTED = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_NAME = re.compile(r"\s*([^\W\d][\w.]*)")
_DEFAULT = re.compile(r"""\|\s*(?:default|d)\(\s*(["'])(.*?)\1""")
_TODAY = re.compile(
    r"""\s*today\s*(?:\|\s*date(?:\(\s*(["'])(?P<pattern>.*?)\1(?:\s*,\s*(["'])(?P<locale>.*?)\3)?\s*\))?)?"""
    r"""\s*(?:\|\s*(?P<case>capitalize|upper|lower|title)\s*)?"""
)
# The innermost condition, and what it says otherwise.
_CONDITION = re.compile(
    r"\{%-?\s*if\b(?:(?!\{%-?\s*(?:if|else|endif)\b).)*"
    r"(?:\{%-?\s*else\s*-?%\}(?P<otherwise>(?:(?!\{%-?\s*(?:if|endif)\b).)*))?"
    r"\{%-?\s*endif\s*-?%\}",
    re.DOTALL,
)


def plain_line(template: str, day: date | None = None, locale: str = "en") -> str:
    """A subject as one reads it in a list, where there is no reader and no child process for each line.

    It says what it says to somebody of whom nothing is known, with ``day`` for today and the name of what
    has no default: "[first_name], news".
    """
    text, found = template, 1
    while found:
        text, found = _CONDITION.subn(lambda match: match["otherwise"] or "", text)
    text = _PRINTED.sub(lambda match: _word(match[1], day, locale), _CODE.sub("", text))
    return " ".join(text.split())


def _word(printed: str, day: date | None, locale: str) -> str:
    today, default, name = _TODAY.fullmatch(printed), _DEFAULT.search(printed), _NAME.match(printed)
    if today and day:
        return _day_word(today, day, locale)
    if default:
        return default[2]
    return f"[{name[1]}]" if name else "…"


def _day_word(today: re.Match[str], day: date, locale: str) -> str:
    if "|" not in today[0]:
        return str(day)
    try:
        text = format_day(day, today["pattern"] or "long", today["locale"] or locale)
    except (AttributeError, LookupError, ValueError):  # a pattern for something else than a day
        return "[today]"
    return str(getattr(text, today["case"])()) if today["case"] else text


def _read(html: str) -> "_Reader":
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def _at(link: str, hosts: Iterable[str]) -> bool:
    try:
        name = urlsplit(link).hostname or ""
    except ValueError:  # an address nobody can follow; letters says so elsewhere
        return False
    return any(name == host or name.endswith("." + host) for host in hosts)


@dataclass
class _Reader(HTMLParser):
    links: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    without_alt: int = 0
    dead: int = 0
    letters: int = 0
    silent: int = 0

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = attributes_of(self.get_starttag_text() or "")
        if tag in SILENT:
            self.silent += 1
        if tag in REMOVED:
            self.removed.add(tag)
        if tag == "a" and "href" in values:
            self._link(as_read(values["href"]))
        if tag == "img" and not _pixel(values):
            self.pictures.append(as_read(values.get("src", "")))
            self.without_alt += "alt" not in values

    def handle_endtag(self, tag: str) -> None:
        if tag in SILENT and self.silent:
            self.silent -= 1

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.letters += len("".join(data.split()))

    def _link(self, href: str) -> None:
        if href in ("", "#"):
            self.dead += 1
        else:
            self.links.append(href)


def _pixel(values: dict[str, str]) -> bool:
    return values.get("width") in ("0", "1") and values.get("height") in ("0", "1")
