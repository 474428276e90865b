"""Links of another recipient in a rendered email, which a value brought or the template built.

``copied_links`` replaces those that are written in the source. What is rendered can have more of them, so it
is examined once more: only values and computed parts, because constant text was examined when compiled.

An address that tags divide between two values is whole in the text part, which is made from the HTML. So the
HTML is examined for such addresses when the text part had one.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from . import markup
from .copied_links import Change
from .divided_links import Span, VisibleText
from .markup import Edit
from .own_links import OwnAddress, OwnLink, place_of, unescaped
from .placeholders import MaskedSource
from .sandbox_operations import clean, plain
from .types import Rendered, Urls


def _is_possible(text: str) -> bool:
    """Return whether a text has one of the signs without which it contains no address.

    Many times faster than a pattern.
    """
    return "/" in text or "\\" in text or "%" in text or "&" in text or "aHR0c" in text


_POSSIBLE_BYTES: Final = re.compile(rb"[/\\%&]|aHR0c")


def public_url_in(urls: Urls) -> str:
    """Return the public address of the installation; empty without a web server."""
    return urls.click.rpartition("/c/")[0]


def other_recipients_link(address: str, ours: str, token: str) -> OwnLink | None:
    """Return the link of another recipient that an address is, alone or wrapped; None for any other."""
    if not ours or not place_of(ours).may_be_in(address):
        return None
    return _Others(ours, token).read(address)


def has_recipients_link(text: str, ours: str) -> bool:
    """Return whether a text, or the HTML of an email without links of its own, has a recipient's link."""
    if not ours:
        return False
    place, text = place_of(ours), clean(text)
    if place.may_be_in(text):
        whole = unescaped(text)
        if place.read(whole) is not None or next(_links_in(place, whole), None) is not None:
            return True
    return next(_divided_links(place, text), None) is not None


class OtherRecipients:
    """Replacement of other recipients' links in what was rendered for one recipient."""

    __slots__ = ("_urls", "found")

    def __init__(self, urls: Urls) -> None:
        self._urls = urls
        self.found = False  # in a part of the email that was examined already

    def has_link(self, text: str) -> bool:
        """Return whether a value or a part of the email has such a link, quickly if nothing is like one."""
        return _is_possible(text) and self._has_link(text)

    def has_link_in(self, values: Iterable[object]) -> bool:
        """Return whether one of a recipient's values has such a link."""
        texts = [
            value if type(value) is str else plain(value)
            for value in values
            if type(value) is str or isinstance(value, list | tuple)
        ]
        # One search for all of them, because nearly all recipients have no value like a link.
        return _is_possible("\n".join(texts)) and any(map(self.has_link, texts))

    def has_link_in_piece(self, piece: bytes, text_of: Callable[[bytes], str]) -> bool:
        """Like ``has_link`` for quoted-printable text, which is only decoded if our host is in it."""
        if _POSSIBLE_BYTES.search(piece) is None:
            return False
        ours = public_url_in(self._urls)
        if not ours or not _hosts_of(ours).may_be_in(piece, self._token.encode("ascii")):
            return False
        return self._has_link(text_of(piece))

    def has_link_in_part(self, text: str) -> bool:
        """Like ``has_link`` for a whole part, which names our host in the recipient's own links."""
        ours = public_url_in(self._urls)
        if not ours or not _hosts_of(ours).may_be_in(text.encode(), self._token.encode("ascii")):
            return False
        return self._has_link(text)

    def _has_link(self, text: str) -> bool:
        ours = public_url_in(self._urls)
        if not ours:
            return False
        for own in self._urls:
            text = text.replace(own, "") if own else text
        return has_recipients_link(text, ours)

    @property
    def _token(self) -> str:
        return self._urls.click.rpartition("/")[2]

    def replaced(self, text: str, *, in_html: bool = False, clickable: bool = True) -> str:
        """Return the text with these links replaced: by the recipient's own, or nothing if not clickable."""
        ours = public_url_in(self._urls)
        if not ours:
            return text
        place = _Others(ours, self._token)
        browser = f"{ours}/v/{self._token}"  # that of ``urls`` is empty in the browser itself
        pages = {"u": self._urls.unsubscribe, "v": browser} if clickable else {"u": "", "v": ""}
        change = _RenderedChange(place, {}, pages, MaskedSource(text, ()))
        return change.applied(in_html=in_html)

    def in_rendered(self, rendered: Rendered) -> Rendered:
        return Rendered(
            subject=self.replaced(rendered.subject, clickable=False),
            preheader=self.replaced(rendered.preheader, clickable=False),
            html=self.replaced(rendered.html, in_html=True),
            text=self.replaced(rendered.text),
        )


class _Hosts:
    """The names of our host in quoted-printable text."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self._names = tuple(each.encode("ascii") for each in hosts if each.isascii())
        self._only_ascii = len(self._names) == len(hosts)

    def may_be_in(self, piece: bytes, token: bytes) -> bool:
        """Return whether our host is named other than in links with this token: there it is named once."""
        if not self._only_ascii:
            return True
        piece = piece.replace(b"=\r\n", b"").replace(b"=2E", b".")
        lower = piece.lower()
        if sum(map(lower.count, self._names)) != piece.count(token):
            return True
        return _ENCODED.search(piece) is not None or _NUMBER.search(piece) is not None or b"aHR0c" in piece


# Letters, digits, "-", "." and "%" need not be encoded, so the name of a host may be hidden in them.
_ENCODED: Final = re.compile(rb"%(?:2[5deDE]|3[0-9]|[4-7][0-9a-fA-F])")
_NUMBER: Final = re.compile(
    rb"&(?:period|#(?:0*(?:4[568]|[4-9][0-9]|1[0-2][0-9])(?![0-9])|[xX]0*[2-7][0-9a-fA-F](?![0-9a-fA-F])))"
)


@lru_cache(maxsize=16)
def _hosts_of(ours: str) -> _Hosts:
    return _Hosts(place_of(ours).hosts)


class _Others(OwnAddress):
    """The public address of an installation without the links of one recipient."""

    def __init__(self, ours: str, token: str) -> None:
        super().__init__(ours)
        self._token = token

    def read(self, address: str) -> OwnLink | None:
        own = super().read(address)
        return own if own is None or own.token != self._token else None


class _RenderedChange(Change):
    """A change of rendered text. It contains no template code."""

    def applied(self, *, in_html: bool) -> str:
        text = self.masked.text
        if not in_html:
            return markup.apply(text, self.plain_edits(str))
        edits = self.html_edits()
        return markup.apply(text, [*edits, *self._divided_edits(edits)])

    def _divided_edits(self, others: Sequence[Edit]) -> Iterator[Edit]:
        """Yield edits that leave the tags within an address, but none of its text."""
        for spans, own in _divided_links(self.place, self.masked.text):
            if any(edit.start < span.end and span.start < edit.end for edit in others for span in spans):
                continue
            yield Edit(*spans[0], self._address(own, html.escape) or "")
            yield from (Edit(*span, "") for span in spans[1:])

    def _found_in_text(self) -> Iterator[tuple[int, int, OwnLink]]:
        return _links_in(self.place, self.masked.text)

    def _address(self, own: OwnLink, escape: Callable[[str], str]) -> str | None:
        """Return the recipient's own address. The target of a counted link is known to the server only."""
        if own.kind == "o":
            return ""
        return escape(self.pages["v" if own.kind == "c" else own.kind])


def _links_in(place: OwnAddress, text: str) -> Iterator[tuple[int, int, OwnLink]]:
    """Yield start, end and link of our addresses in a text, also of those without a scheme."""
    end = 0
    found = [*place.in_text(MaskedSource(text, ())), *_without_scheme(place, text)]
    for each in sorted(found, key=lambda each: each[:2]):
        if each[0] >= end:
            yield each
            end = each[1]


def _divided_links(place: OwnAddress, source: str) -> Iterator[tuple[list[Span], OwnLink]]:
    """Yield our addresses that tags or invisible characters divide in an HTML, as spans of the source."""
    if "<" not in source and "&" not in source:
        return
    visible = VisibleText(source)
    if not place.may_be_in(visible.text):
        return
    for start, end, own in _links_in(place, visible.text):
        spans = visible.spans(start, end)
        if len(spans) > 1:
            yield spans, own


def _without_scheme(place: OwnAddress, text: str) -> Iterator[tuple[int, int, OwnLink]]:
    for found in _bare_address(place.hosts).finditer(text):
        own = place.read(f"//{found[0]}")
        if own is not None:
            yield found.start(), found.end(), own


@lru_cache(maxsize=16)
def _bare_address(hosts: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(hosts)))
    return re.compile(rf"(?<![\w.@:/\\%-])(?:{names})\.?(?::[0-9]+)?/[\w/.%~-]*[\w/]", re.IGNORECASE)
