"""What a finished letter looks like to mail programs: size, links, pictures, words.

Looks at a rendered letter, as one reader gets it, and at what the person wrote where our own footer and the
links of a preview, which lead nowhere, would blur the picture.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

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


_DEFAULT = re.compile(r"""\|\s*(?:default|d)\(\s*(["'])(.*?)\1""")


def plain_line(template: str) -> str:
    """A subject as one reads it in a list: defaults for variables, nothing that depends on the reader."""

    def word(match: re.Match[str]) -> str:
        default = _DEFAULT.search(match[0])
        return default[2] if default else "…"

    text = re.sub(r"\{%-?\s*if\b.*?%\}.*?\{%-?\s*endif\s*-?%\}", "", template)
    text = re.sub(r"\{%.*?%\}|\{#.*?#\}", "", text)
    return " ".join(re.sub(r"\{\{.*?\}\}", word, text).split())


_CODE = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)


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
        values = dict(attrs)
        if tag in SILENT:
            self.silent += 1
        if tag in REMOVED:
            self.removed.add(tag)
        if tag == "a" and "href" in values:
            self._link((values["href"] or "").strip())
        if tag == "img" and not _pixel(values):
            self.pictures.append((values.get("src") or "").strip())
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


def _pixel(values: dict[str, str | None]) -> bool:
    return values.get("width") in ("0", "1") and values.get("height") in ("0", "1")
