"""Whether the links and pictures of a rendered email lead somewhere, told from the email alone."""

from dataclasses import dataclass, field

from .foreign_tags import has_foreign_tag
from .link_faults import Fault, browser_reading, fault_of, mended
from .markup import Token, outlook_tags, tokens

MOST = 4  # of a kind; three are named, and one more says that there are others
_LONGEST = 200  # characters of an address that somebody is told


@dataclass(frozen=True)
class BrokenLink:
    """An address that leads nowhere."""

    fault: Fault
    address: str
    likely: str  # what is meant, where that can be told
    written: bool  # it stands in the source like that: no value made it


@dataclass(frozen=True)
class LinkReport:
    """What was found. Of each kind of broken links the first ``MOST`` that are written, and that are made."""

    broken: tuple[BrokenLink, ...] = ()
    empty: int = 0
    lost: int = 0  # jumps to a place that the email does not have
    has_tags: bool = False  # some links have placeholders of other products
    lost_pictures: tuple[str, ...] = ()


def report_links(html: str, source: str) -> LinkReport:
    """``html`` is rendered from ``source``."""
    seen = _read(html)
    addresses = list(dict.fromkeys(seen.links))
    names = [link[1:] for link in map(browser_reading, seen.links) if link.startswith("#") and link != "#"]
    tagged = {address for address in addresses if has_foreign_tag(address)}
    lost_pictures = [each for each in dict.fromkeys(seen.pictures) if _is_lost(each)][:MOST]
    return LinkReport(
        broken=_broken([address for address in addresses if address not in tagged], source),
        empty=sum(fault_of(link) is Fault.empty for link in seen.links),
        lost=sum(name not in seen.places and name.lower() != "top" for name in names),
        has_tags=bool(tagged),
        lost_pictures=tuple(each[:_LONGEST] for each in lost_pictures),
    )


def _broken(addresses: list[str], source: str) -> tuple[BrokenLink, ...]:
    found: list[BrokenLink] = []
    numbers: dict[tuple[Fault, bool], int] = {}
    own = _addresses_in(source)
    for address in addresses:
        fault = fault_of(address)
        if fault is None:
            continue
        written = browser_reading(address) in own
        number = numbers[fault, written] = numbers.get((fault, written), 0) + 1
        if number <= MOST:
            found.append(BrokenLink(fault, address[:_LONGEST], mended(address), written))
    return tuple(found)


def _addresses_in(source: str) -> frozenset[str]:
    return frozenset(map(browser_reading, _read(source).links))


# --- reading


@dataclass
class Seen:
    """What an email links to and shows; what only Outlook reads (``<!--[if mso]>``) included."""

    links: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def add(self, tag: Token) -> None:
        values = {each.name: each.value for each in reversed(tag.attributes)}  # browsers take the first
        self.places |= {values[name] for name in ("id", "name") if values.get(name)}
        if "href" in values and tag.name not in ("link", "base"):
            self.links.append(values["href"])
        if tag.name in ("img", "v:imagedata", "v:fill") and "src" in values:
            self.pictures.append(values["src"])
        if values.get("background"):
            self.pictures.append(values["background"])


def _read(html: str) -> Seen:
    seen = Seen()
    for token in tokens(html):
        inner = outlook_tags(html, token) if token.kind == "comment" else [token]
        for each in inner:
            if each.kind == "open":
                seen.add(each)
    return seen


_NO_PICTURE = frozenset(
    {Fault.relative, Fault.file, Fault.no_scheme, Fault.code, Fault.mistyped, Fault.empty}
)


def _is_lost(source: str) -> bool:
    fault = fault_of(source)
    return fault in _NO_PICTURE or source[:5].lower().startswith(("cid:", "blob:", "#"))
