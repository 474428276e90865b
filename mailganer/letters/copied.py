"""An email that was copied from one that Mailganer sent: its own addresses belong to another recipient.

Whoever gets the copy would unsubscribe the first recipient, and be counted as that one. So the addresses
become this recipient's own, and links lead to what stands behind them. Only addresses of this installation
are changed: another one's token may look the same.
"""

import html
import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from . import addresses, markup
from .markup import Edit
from .masks import OPEN, Masked, mask
from .parts import Source

_TOKEN = r"[A-Za-z0-9_-]{22}|test"  # noqa: S105 - the shape of one; "test" stands in test emails
_VARIABLES = {"u": "{{ unsubscribe_url }}", "v": "{{ browser_url }}"}


class Click(NamedTuple):
    """A counted link of an email that was sent: its recipient's token and its number."""

    token: str
    number: int


@lru_cache(maxsize=16)
def _own(ours: str) -> re.Pattern[str]:
    """Addresses of the installation whose public address is ``ours``, for one recipient each."""
    parts = urlsplit(ours)
    port = "" if parts.port else "(?::(?:80|443))?"
    hosts = "|".join(map(re.escape, _hosts(parts.netloc)))
    place = f"(?i:(?:https?:)?//(?:{hosts})){port}{re.escape(parts.path.rstrip('/'))}"
    return re.compile(
        rf"{place}/(?:(?P<page>[uv])/(?:{_TOKEN})|o/(?P<pixel>{_TOKEN})\.gif"
        rf"|c/(?P<token>{_TOKEN})/(?P<number>[0-9]{{1,4}}))/?+(?![\w/-])(?:[?#][^\s\"'<>(){OPEN}]*)?"
    )


def _hosts(netloc: str) -> tuple[str, ...]:
    """The host with its port as it is configured, and in the other of the two ways to write an IDN."""
    found = [netloc.lower()]
    with suppress(UnicodeError):
        found.append(netloc.lower().encode("idna").decode())
        found.append(found[-1].encode().decode("idna"))
    return tuple(dict.fromkeys(each for each in found if each))


# Mail programs put these around a link, with the address in a parameter.
_WRAPPERS = re.compile(
    r"https?://(?:[\w-]+\.safelinks\.protection\.outlook\.com/|(?:www\.)?google\.[a-z.]+/url\?"
    r"|linkprotect\.cudasvc\.com/url\?|[\w.-]*\.?proofpoint\.com/|urldefense\.com/)",
    re.IGNORECASE,
)


def _unwrapped(address: str) -> str:
    """The address that Outlook, Google Mail or a gateway wrapped in one of its own; any other as it is."""
    if not _WRAPPERS.match(address):
        return address
    values = (value for _name, value in parse_qsl(urlsplit(address).query))
    return next((value for value in values if addresses.is_web(value)), address)


def clicks_in(texts: Iterable[str], ours: str) -> frozenset[Click]:
    """The counted links of sent emails that sources or addresses have."""
    if not ours:
        return frozenset()
    own = _own(ours)
    return frozenset(
        Click(found["token"], int(found["number"]))
        for text in texts
        for found in own.finditer(f"{text} {unquote(text)}" if "%2F" in text.upper() else text)
        if found["number"]
    )


class Copied:
    """What becomes of the addresses of another recipient."""

    def __init__(self, ours: str, targets: Mapping[str, str]) -> None:
        """``ours`` is the public address of the installation, empty where there is none. ``targets`` are the
        addresses behind counted links, templates, by ``key_of``. Links that are not among them stay."""
        self._hosts = _hosts(urlsplit(ours).netloc)
        self._change = _Change(_own(ours), targets)
        self.found = False

    def in_source(self, source: Source) -> Source:
        return replace(source, html=self._in(source.html, in_html=True), text=self._in(source.text))

    def in_values(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: self._in(value) for name, value in values.items()}

    def _in(self, text: str, *, in_html: bool = False) -> str:
        lower = text.lower()
        if not any(host in lower for host in self._hosts):
            return text
        changed = self._change.in_html(text) if in_html else self._change.in_text(text)
        self.found = self.found or changed != text
        return changed


def key_of(click: Click) -> str:
    return f"{click.token}/{click.number}"


@dataclass(frozen=True)
class _Change:
    own: re.Pattern[str]
    targets: Mapping[str, str]

    def in_text(self, text: str) -> str:
        masked = mask(text)

        def change(found: re.Match[str]) -> str:
            address = self._address(found, str)
            return found[0] if address is None else address

        return masked.unmask(self.own.sub(change, masked.text))

    def in_html(self, source: str) -> str:
        masked = mask(source)
        edits = [*self._attributes(masked)]
        spans = sorted((edit.start, edit.end) for edit in edits)
        for found in self.own.finditer(masked.text):
            address = self._address(found, html.escape)
            before = bisect(spans, (found.start(), len(source) + 1))
            if address is not None and not (before and found.start() < spans[before - 1][1]):
                edits.append(Edit(*found.span(), address))
        return masked.unmask(markup.apply(masked.text, edits))

    def _attributes(self, masked: Masked) -> Iterator[Edit]:
        """Pixels, and addresses that are written with references or line breaks."""
        for token in markup.tokens(masked.text):
            tags = [token] if token.kind == "open" else markup.outlook_tags(masked.text, token)
            for tag in tags:
                yield from self._of_tag(masked, tag)

    def _of_tag(self, masked: Masked, tag: markup.Token) -> Iterator[Edit]:
        for attribute in tag.attributes:
            found = self.own.fullmatch(_unwrapped(addresses.as_read(attribute.value)))
            if found is None:
                continue
            if found["pixel"]:
                # Each recipient's own pixel is added to every email; a line keeps its number.
                whole = tag.name == "img"
                start, end = (tag.start, tag.end) if whole else (attribute.value_start, attribute.value_end)
                yield Edit(start, end, "\n" * masked.text.count("\n", start, end))
                if whole:
                    return
            elif address := self._address(found, html.escape):
                yield Edit(attribute.value_start, attribute.value_end, address)

    def _address(self, found: re.Match[str], escape: Callable[[str], str]) -> str | None:
        if found["page"]:
            return _VARIABLES[found["page"]]
        if found["pixel"]:
            return ""
        target = self.targets.get(key_of(Click(found["token"], int(found["number"]))))
        if target is None:
            return None
        # The copy of a copy: whoever gives the targets follows counted links to their end.
        inner = self.own.fullmatch(target)
        if inner:
            return _VARIABLES.get(inner["page"] or "")
        masked = mask(target)
        return masked.unmask(masked.text, escape)
