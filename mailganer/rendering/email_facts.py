"""Facts about a rendered email that matter to email apps: size, links, images, amount of text.

Taken from the email as one recipient gets it, and from the source where our own footer or the inactive links
of a preview would distort the result.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .code_spans import code_spans
from .markup import Token, readable, tokens
from .web_addresses import as_read

CLIPPED = 102 * 1024  # bytes; Gmail shows no more of an email's HTML and folds the rest away
# Below this number of characters an email with images is empty to recipients who do not load them, and
# suspicious to spam filters.
FEW_CHARACTERS = 80
REMOVED = frozenset({"script", "iframe", "object", "embed", "form", "video", "audio"})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - looked for, not listened on
EXAMPLES = ("example.com", "example.org", "example.net")
SILENT = frozenset({"style", "script", "title", "head"})


@dataclass(frozen=True)
class EmailFacts:
    """Facts about one rendered email."""

    size: int  # bytes of HTML
    characters: int  # characters that can be read without images
    images: int
    images_without_alt: int
    embedded_images: int  # data: addresses, which Gmail and Outlook leave out
    plain_links: tuple[str, ...]  # http:// without TLS
    local_links: tuple[str, ...]
    example_links: tuple[str, ...]  # left over from a template
    links: int
    removed: tuple[str, ...]  # elements that email apps remove

    @property
    def clipped(self) -> bool:
        return self.size > CLIPPED

    @property
    def only_images(self) -> bool:
        return self.images > 0 and self.characters < FEW_CHARACTERS


def read_facts(html: str, *, source: str, ours: str) -> EmailFacts:
    """Read the facts of ``html``, which is rendered from ``source``.

    ``ours`` is the installation's own address: links that lead there are not reported to the author.
    """
    reader, written = _read(html), _read(_without_code(source))
    links = tuple(dict.fromkeys(link for link in reader.links if not link.startswith(ours + "/")))
    web = [link for link in links if link.lower().startswith(("http://", "https://"))]
    return EmailFacts(
        size=len(html.encode()),
        characters=written.characters,
        images=len(reader.images),
        images_without_alt=reader.without_alt,
        embedded_images=sum(source.startswith("data:") for source in reader.images),
        plain_links=tuple(
            link for link in web if link.lower().startswith("http://") and not _is_at(link, LOCAL)
        ),
        local_links=tuple(link for link in web if _is_at(link, LOCAL)),
        example_links=tuple(link for link in web if _is_at(link, EXAMPLES)),
        links=len(web),
        removed=tuple(sorted(reader.removed)),
    )


def _without_code(source: str) -> str:
    """Return the source without statements and comments."""
    out, at = [], 0
    for start, end in code_spans(source):
        if not source.startswith("{{", start):
            out.append(source[at:start])
            at = end
    return "".join((*out, source[at:]))


def _is_at(link: str, hosts: Iterable[str]) -> bool:
    try:
        name = urlsplit(link).hostname or ""
    except ValueError:  # An invalid address; ``link_report`` reports it.
        return False
    return any(name == host or name.endswith("." + host) for host in hosts)


@dataclass
class _RawFacts:
    links: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    without_alt: int = 0
    characters: int = 0
    silent: int = 0

    def begin(self, tag: Token) -> None:
        if tag.name in SILENT:
            self.silent += 1
        if tag.name in REMOVED:
            self.removed.add(tag.name)
        if tag.name == "a" and (href := tag.attribute("href")) is not None:
            self._link(as_read(href.value))
        if tag.name == "img" and not _is_pixel(tag):
            self.images.append(as_read(tag.value("src")))
            self.without_alt += tag.attribute("alt") is None

    def end(self, tag: Token) -> None:
        if tag.name in SILENT and self.silent:
            self.silent -= 1

    def text(self, text: str) -> None:
        if not self.silent:
            self.characters += len("".join(text.split()))

    def _link(self, href: str) -> None:
        if href not in ("", "#"):
            self.links.append(href)


def _read(html: str) -> _RawFacts:
    reader = _RawFacts()
    for token in tokens(html):
        if token.kind == "open":
            reader.begin(token)
        elif token.kind == "close":
            reader.end(token)
        elif token.kind == "text":
            reader.text(readable(html[token.start : token.end]))
        elif token.kind == "raw" and token.name in _SHOWN:
            reader.text(html[token.start : token.end])
    return reader


_SHOWN = frozenset({"textarea", "xmp", "plaintext"})


def _is_pixel(image: Token) -> bool:
    return image.value("width") in ("0", "1") and image.value("height") in ("0", "1")
