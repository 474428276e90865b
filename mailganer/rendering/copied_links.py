"""Links of another recipient in an email that was copied from one sent by Mailganer.

A recipient of the copy would unsubscribe the first recipient and be counted as that one. So these addresses
become the new recipient's own, and counted links lead to their targets. Only addresses of this installation
are changed: the token of another installation may look the same.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, NamedTuple

from . import markup, web_addresses
from .markup import Edit
from .own_links import OwnAddress, OwnLink, place_of, without_code
from .placeholders import RAW, MaskedSource, mask
from .types import Source

_VARIABLES: Final = {"u": "{{ unsubscribe_url }}", "v": "{{ browser_url }}"}
_NOTHING: Final = {"u": "", "v": ""}  # For parts in which links cannot be followed.


_STRING: Final = re.compile(r"""'[^'\\]*+'|"[^"\\]*+\"""")
_STRINGS: Final = re.compile(rf"(?:{_STRING.pattern})(?:\s*+(?:{_STRING.pattern}))*+")
_UNSAFE_IN_STRING: Final = frozenset("{}\\\"'\n")
_VARIABLE: Final = re.compile(r"\{\{ (\w+) \}\}")


class CopiedClick(NamedTuple):
    """A counted link of a sent email: its recipient's token and its number."""

    token: str
    number: int


def key_of(click: CopiedClick) -> str:
    return f"{click.token}/{click.number}"


def clicks_in(texts: Iterable[str], ours: str) -> frozenset[CopiedClick]:
    """Return the counted links of sent emails found in sources or addresses."""
    if not ours:
        return frozenset()
    place = place_of(ours)
    return frozenset(
        CopiedClick(own.token, own.number)
        for text in texts
        if place.may_be_in(text)
        for own in _all_in(place, mask(text))
        if own.kind == "c"
    )


def _all_in(place: OwnAddress, masked: MaskedSource) -> Iterator[OwnLink]:
    for _start, _end, own in place.in_text(masked):
        yield own
    for tag in _tags(masked):
        for attribute in tag.attributes:
            found = place.read(without_code(attribute.value))
            if found is not None:
                yield found
    for string in chain.from_iterable(map(_strings_in, masked.codes)):
        for _start, _end, own in place.in_text(MaskedSource(_value(string), ())):
            yield own


def _strings_in(code: str) -> list[str]:
    """The strings of a piece of template code that are written without backslashes."""
    if "\\" in code or code.startswith("{#") or RAW.match(code):
        return []
    return [found[0] for found in _STRINGS.finditer(code)]


def _value(strings: str) -> str:
    """Return what neighbouring strings are together."""
    return "".join(found[0][1:-1] for found in _STRING.finditer(strings))


def _tags(masked: MaskedSource) -> Iterator[markup.Token]:
    if "<" in masked.text:
        for token in markup.tokens(masked.text):
            yield from [token] if token.kind == "open" else markup.outlook_tags(masked.text, token)


class CopiedLinks:
    """Replacement of the addresses of another recipient."""

    def __init__(self, ours: str, targets: Mapping[str, str]) -> None:
        """Set ``ours``, the public address of the installation or empty, and ``targets`` of counted links.

        ``targets`` are templates, by ``key_of``. Links that are not among them stay.
        """
        self._place = place_of(ours) if ours else None
        self._targets = targets
        self.found = False

    def in_source(self, source: Source) -> Source:
        return replace(
            source,
            subject=self._in(source.subject, _NOTHING),
            preheader=self._in(source.preheader, _NOTHING),
            html=self._in(source.html, in_html=True),
            text=self._in(source.text),
        )

    def in_values(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: self._in(value) for name, value in values.items()}

    def _in(self, text: str, pages: Mapping[str, str] = _VARIABLES, *, in_html: bool = False) -> str:
        if self._place is None or not self._place.may_be_in(text):
            return text
        change = Change(self._place, self._targets, pages, mask(text)).in_strings()
        changed = change.in_html() if in_html else change.in_text()
        self.found = self.found or changed != text
        return changed


@dataclass(frozen=True)
class Change:
    """Replacement in one text, with its template code masked. ``pages`` are the new addresses by kind."""

    place: OwnAddress
    targets: Mapping[str, str]
    pages: Mapping[str, str]
    masked: MaskedSource

    def in_strings(self) -> "Change":
        """Return the change with addresses replaced in strings of template code: ``{{ "https://..." }}``."""
        masked = self.masked
        codes = tuple(
            _STRINGS.sub(self._string, code) if _strings_in(code) else code for code in masked.codes
        )
        return replace(self, masked=MaskedSource(masked.text, codes))

    def _string(self, found: re.Match[str]) -> str:
        value, quote = _value(found[0]), found[0][0]
        parts: list[str] = []
        at = 0
        for start, end, own in self.place.in_text(MaskedSource(value, ())):
            address = self._address(own, str)
            variable = _VARIABLE.fullmatch(address) if address is not None else None
            if address is None or (variable is None and _UNSAFE_IN_STRING & set(address)):
                continue
            parts += [
                f"{quote}{value[at:start]}{quote}",
                variable[1] if variable else quote + address + quote,
            ]
            at = end
        if not parts:
            return found[0]
        kept = [each for each in (*parts, quote + value[at:] + quote) if len(each) > 2] or [quote * 2]
        return kept[0] if len(kept) == 1 else f"({' ~ '.join(kept)})"

    def in_text(self) -> str:
        return self.masked.unmask(markup.apply(self.masked.text, self.plain_edits(str)))

    def in_html(self) -> str:
        return self.masked.unmask(markup.apply(self.masked.text, self.html_edits()))

    def html_edits(self) -> list[Edit]:
        edits = [edit for tag in _tags(self.masked) for edit in self._of_tag(tag)]
        edits.sort(key=lambda edit: edit.start)
        starts = [edit.start for edit in edits]

        def is_free(edit: Edit) -> bool:
            before = bisect_right(starts, edit.start)
            return not (before and edit.start < edits[before - 1].end) and not (
                before < len(edits) and starts[before] < edit.end
            )

        edits += [edit for edit in list(self.plain_edits(html.escape)) if is_free(edit)]
        return edits

    def plain_edits(self, escape: Callable[[str], str]) -> Iterator[Edit]:
        """Yield edits for addresses in text anywhere: between tags, in styles, in lists of addresses."""
        for start, end, own in self._found_in_text():
            address = self._address(own, escape)
            if address is not None:
                yield Edit(start, end, address)

    def _found_in_text(self) -> Iterator[tuple[int, int, OwnLink]]:
        return self.place.in_text(self.masked)

    def _of_tag(self, tag: markup.Token) -> Iterator[Edit]:
        """Yield edits for pixels and for addresses written with character references or line breaks."""
        edits = []
        for attribute in tag.attributes:
            own = self.place.read(without_code(web_addresses.as_read(attribute.value)))
            if own is None:
                continue
            if own.kind == "o" and tag.name == "img" and attribute.name == "src":
                # Each recipient's own pixel is added to every email. Line breaks are kept, so that line
                # numbers stay.
                yield Edit(tag.start, tag.end, "\n" * self.masked.text.count("\n", tag.start, tag.end))
                return
            address = self._address(own, html.escape)
            if address is not None:
                start, end = attribute.value_start, attribute.value_end
                lines = 0 if address else self.masked.text.count("\n", start, end)
                edits.append(Edit(start, end, address + "\n" * lines))
        yield from edits

    def _address(self, own: OwnLink, escape: Callable[[str], str]) -> str | None:
        if own.kind == "o":
            return ""
        if own.kind != "c":
            return self.pages[own.kind]
        target = self.targets.get(key_of(CopiedClick(own.token, own.number)))
        if target is None:
            return None
        # A copy of a copy: the caller has already resolved counted links to their final targets.
        inner = self.place.read(target)
        if inner:
            return self.pages.get(inner.kind)
        masked = mask(target)
        return masked.unmask(masked.text, escape)
