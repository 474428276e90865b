"""Broken links and images of a rendered email, found from the email alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .foreign_tags import has_foreign_tag
from .link_faults import LinkFault, browser_reading, fault_of, suggested_address
from .link_origins import Origins, is_silent
from .markup import Token, outlook_tags, readable, tokens
from .placeholders import MASK, OURS, MaskedSource, mask

MOST = 4  # of a kind; three are named, and a fourth means that there are more
_MOST_MADE = 20  # links made by values: some of them are reported under their origin
_LONGEST = 200  # characters of an address that is shown
_LONGEST_NAME = 60  # characters of the text of a link


@dataclass(frozen=True)
class BrokenLink:
    """An address that leads nowhere, as written in the source unless a value made it broken."""

    fault: LinkFault
    address: str
    likely: str  # what is meant, where that can be guessed
    written: bool  # it is broken in the source: no value made it so


@dataclass(frozen=True)
class LinkReport:
    """Broken links: of each kind the first ones that are broken in the source, and that values made."""

    broken: tuple[BrokenLink, ...] = ()
    nowhere: int = 0  # links without an address, to "#", and to a place that the email does not have
    nowhere_names: tuple[str, ...] = ()  # the first of them: the text of each, or its address
    has_tags: bool = False  # some links have placeholders of other products
    lost_images: tuple[str, ...] = ()


def report_links(html: str, source: str) -> LinkReport:
    """Report on ``html``, which is rendered from ``source``."""
    seen, masked = _read(html), mask(source)
    written = _read(masked.text, masked)
    addresses = list(dict.fromkeys(seen.links))
    tagged = {address for address in addresses if has_foreign_tag(address)}
    nowhere = _nowhere(seen, written)
    return LinkReport(
        broken=_broken(
            [address for address in addresses if address not in tagged], Origins(written.links, masked)
        ),
        nowhere=len(nowhere),
        nowhere_names=tuple(dict.fromkeys(filter(None, nowhere)))[:MOST],
        has_tags=bool(tagged),
        lost_images=_lost_images(seen.images, Origins(written.images, masked)),
    )


def _broken(addresses: list[str], origins: Origins) -> tuple[BrokenLink, ...]:
    found: dict[BrokenLink, None] = {}
    numbers: dict[tuple[LinkFault, bool], int] = {}
    for address in addresses:
        fault = fault_of(address)
        if fault is None:
            continue
        origin = origins.of(address, fault)
        shown, likely = (origin.written, origin.likely) if origin else (address, suggested_address(address))
        link = BrokenLink(fault, shown[:_LONGEST], likely, written=origin is not None)
        if link in found:
            continue
        number = numbers[fault, link.written] = numbers.get((fault, link.written), 0) + 1
        if number <= (MOST if link.written else _MOST_MADE):
            found[link] = None
    return tuple(found)


def _nowhere(seen: "LinkTargets", written: "LinkTargets") -> list[str]:
    """Return the name of each link that does nothing when it is clicked.

    A lone "#" is looked for in the source, because our own links are "#" in a preview. Empty addresses are
    mostly made by values, so those of the rendered email count as well.
    """
    lone = [name for kind, name in written.nowhere if kind == "#"]
    empty, empty_written = ([name for kind, name in each.nowhere if kind == ""] for each in (seen, written))
    jumps = [link[1:] for link in map(browser_reading, seen.links) if link.startswith("#") and link != "#"]
    lost = [f"#{name}" for name in jumps if name not in seen.places and name.lower() != "top"]
    return [*lone, *max(empty, empty_written, key=len), *(name[:_LONGEST_NAME] for name in lost)]


def _lost_images(images: Iterable[str], origins: Origins) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for source in dict.fromkeys(images):
        if _is_lost(source) and len(found) < MOST:
            origin = origins.of(source, fault_of(source))
            found[(origin.written if origin else source)[:_LONGEST]] = None
    return tuple(found)


# --- HTML


@dataclass
class LinkTargets:
    """Links and images of an email, including those only Outlook reads (``<!--[if mso]>``)."""

    masked: MaskedSource | None = None  # a source whose code is masked
    links: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    nowhere: list[tuple[str, str]] = field(default_factory=list)  # "" or "#", and the text of the link
    _words: list[str] | None = None  # of the open link, if it leads nowhere
    _kind: str = ""

    def add(self, tag: Token) -> None:
        values = {each.name: each.value for each in reversed(tag.attributes)}  # browsers use the first one
        self.places |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag.name == "a":
            self.end_link()
        if "href" in values and tag.name not in ("link", "base"):
            self._link(tag, values["href"])
        if tag.name in ("img", "v:imagedata", "v:fill") and "src" in values:
            self.images.append(values["src"])
        if values.get("background"):
            self.images.append(values["background"])
        if self._words is not None:
            self.words(values.get("alt", ""))

    def _link(self, tag: Token, address: str) -> None:
        self.links.append(address)
        kind = browser_reading(self._without_statements(address))
        if kind in ("", "#"):
            if tag.name == "a":
                self._words, self._kind = [], kind
            else:
                self.nowhere.append((kind, tag.value("alt")[:_LONGEST_NAME]))

    def words(self, text: str) -> None:
        if self._words is not None and len(self._words) < _LONGEST_NAME:
            self._words.append(text[: 2 * _LONGEST_NAME])

    def end_link(self) -> None:
        if self._words is not None:
            words = " ".join(readable(" ".join(self._words)).split())
            words = OURS.sub("", self.masked.unmask(words)) if self.masked else words
            self.nowhere.append((self._kind, words[:_LONGEST_NAME]))
            self._words = None

    def _without_statements(self, address: str) -> str:
        masked = self.masked
        return (
            MASK.sub(lambda code: "" if is_silent(masked, code) else code[0], address) if masked else address
        )


def _read(html: str, masked: MaskedSource | None = None) -> LinkTargets:
    seen = LinkTargets(masked)
    for token in tokens(html):
        if token.kind == "text":
            seen.words(html[token.start : token.end])
        elif token.kind == "close" and token.name == "a":
            seen.end_link()
        inner = outlook_tags(html, token) if token.kind == "comment" else [token]
        for each in inner:
            if each.kind == "open":
                seen.add(each)
    seen.end_link()
    return seen


_NO_IMAGE = frozenset(
    {
        LinkFault.relative,
        LinkFault.file,
        LinkFault.no_scheme,
        LinkFault.code,
        LinkFault.mistyped,
        LinkFault.empty,
    }
)


def _is_lost(source: str) -> bool:
    fault = fault_of(source)
    return fault in _NO_IMAGE or source[:5].lower().startswith(("cid:", "blob:", "#"))
