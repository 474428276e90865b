"""Origin of a broken address: its place in the source, unless a value made it broken.

``www.shop.test/{{ city }}`` leads nowhere whatever the value is. Its author has to find it as written, not
with the value of one recipient.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .link_faults import LinkFault, browser_reading, fault_of, suggested_address
from .placeholders import MASK, MaskedSource

_MOST = 200  # addresses with code that rendered ones are compared with
_MOST_ASKED = 2000  # comparisons with all of them
# Stand for code while an address is checked: characters of a rare script, which are valid in any host.
_STAND_IN = 0x2A700
_STAND_INS = re.compile("([\U0002a700-\U0002b6ff])\\1")
_MOST_CODES = 0x1000


@dataclass(frozen=True)
class BrokenLinkOrigin:
    """A broken address as written in the source, and the one that is likely meant."""

    written: str
    likely: str


@dataclass(frozen=True)
class _Pattern:
    fault: LinkFault
    literals: tuple[str, ...]  # what stands around and between the codes, in order
    origin: BrokenLinkOrigin

    def fits(self, address: str) -> bool:
        """Return whether values in place of the codes give this address. Each literal is searched once."""
        first, *middle, last = self.literals
        if not address.startswith(first):
            return False
        at, end = len(first), len(address) - len(last)
        for literal in middle:
            found = address.find(literal, at, end)
            if found < 0:
                return False
            at = found + len(literal)
        return at <= end and address.endswith(last)


class Origins:
    """The addresses of a source, to be compared with rendered ones."""

    def __init__(self, addresses: Iterable[str], masked: MaskedSource) -> None:
        """Collect ``addresses``, which are those of the masked source."""
        self._plain: set[str] = set()
        patterns: dict[_Pattern, None] = {}
        for address in dict.fromkeys(map(browser_reading, addresses)):
            if not MASK.search(address):
                self._plain.add(address)
                continue
            for piece in _pieces(address, masked):
                pattern = _pattern(piece, masked) if len(patterns) < _MOST else None
                if pattern:
                    patterns[pattern] = None
        self._patterns = sorted(patterns, key=lambda each: -sum(map(len, each.literals)))
        self._asked = 0

    def of(self, address: str, fault: LinkFault | None) -> BrokenLinkOrigin | None:
        """Return where a broken address is written, or None when a value made it broken."""
        address = browser_reading(address)
        if address in self._plain:
            return BrokenLinkOrigin(address, suggested_address(address))
        self._asked += 1
        if self._asked > _MOST_ASKED:
            return None
        return next(
            (each.origin for each in self._patterns if each.fault is fault and each.fits(address)), None
        )


def _pieces(address: str, masked: MaskedSource) -> list[str]:
    """Return the address, and the parts between its statements: ``{% if vip %}www.a.test{% else %}...``."""
    pieces = [address]
    at = 0
    silent = [each for each in MASK.finditer(address) if is_silent(masked, each)]
    for code in silent:
        pieces.append(address[at : code.start()])
        at = code.end()
    if silent:
        pieces.append(address[at:])
    return [piece for each in pieces if (piece := each.strip())]


def is_silent(masked: MaskedSource, code: re.Match[str]) -> bool:
    """Return whether a piece of code has no output of its own: a statement, or a comment."""
    return masked.code(code).startswith(("{%", "{#"))


def _pattern(address: str, masked: MaskedSource) -> _Pattern | None:
    """Return the pattern of an address that is broken whatever its values are."""
    codes = [masked.code(each) for each in MASK.finditer(address)]
    if len(codes) > _MOST_CODES:
        return None
    numbers = iter(range(len(codes)))
    plain = MASK.sub(lambda _mask: 2 * chr(_STAND_IN + next(numbers)), address)
    fault = fault_of(plain)
    if fault is None or (MASK.match(address) and fault is not LinkFault.code):
        return None  # valid, or its values decide

    def filled(text: str) -> str:
        return _STAND_INS.sub(lambda each: codes[ord(each[1]) - _STAND_IN], text)

    return _Pattern(
        fault,
        tuple(MASK.split(address)[::2]),
        BrokenLinkOrigin(filled(plain), filled(suggested_address(plain))),
    )
