"""Markers of list items in the text part: "-", or the number a browser shows."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from string import ascii_lowercase

from . import markup
from .placeholders import MASK, MaskedSource

DASH = "-"
_STATEMENT = re.compile(r"\{%[-+]?\s*(\w+)")
_WHOLE = re.compile(r"\s*([+-]?[0-9]{1,6})")
_LISTS = frozenset(("ol", "ul", "menu", "dir"))
_FORMS = {
    "decimal": "1",
    "lower-alpha": "a",
    "lower-latin": "a",
    "upper-alpha": "A",
    "upper-latin": "A",
    "lower-roman": "i",
    "upper-roman": "I",
}
_STYLED = re.compile(rf"list-style(?:-type)?\s*:[^;]*?\b({'|'.join(_FORMS)})\b", re.IGNORECASE)
_VALUES = (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1)
_SIGNS = ("m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i")
_ROMAN = tuple(zip(_VALUES, _SIGNS, strict=True))
_OPENING = frozenset(("for", "if", "macro", "call", "filter", "autoescape", "with"))


@dataclass
class _List:
    """An open list: how its items have been counted so far."""

    numbered: bool
    first: int | None  # None: a reversed list begins with the number of its items
    step: int
    depth: int  # of the template code around it
    form: str = "1"  # of its numbers: "1", "a", "A", "i" or "I"
    items: list[tuple[int, int | None, bool]] = field(default_factory=list)  # place, own number, in a loop
    exact: bool = True
    looped: bool = False  # one of the items is made by a loop

    def add(self, place: int, own: int | None, around: list[str]) -> None:
        inside = around[self.depth :]
        looped = inside == ["for"]
        # A condition, or two items per iteration: the numbers are unknown before the email is rendered.
        if (inside and not looped) or self.looped:
            self.exact = False
        self.items.append((place, own, looped))
        self.looped = self.looped or looped

    def signs(self) -> dict[int, str]:
        places = [place for place, _own, _looped in self.items]
        if not self.numbered or not self.exact or (self.looped and self.step < 0):
            return dict.fromkeys(places, DASH)
        number, found = self.first if self.first is not None else len(self.items), {}
        for place, own, in_loop in self.items:
            number = own if own is not None and not in_loop else number
            found[place] = f"{_in_loop(number, self.form) if in_loop else _formed(number, self.form)}."
            number += self.step
        return found


def signs_of_items(masked: MaskedSource, tokens: Iterable[markup.Token]) -> dict[int, str]:
    """Return the start of each opening ``<li>`` -> its marker, template code where a loop makes the items."""
    found: dict[int, str] = {}
    around: list[str] = []
    lists: list[_List] = []
    for token in tokens:
        _follow(masked, masked.text[token.start : token.end], around)
        if token.kind == "open" and token.name in _LISTS:
            lists.append(_list(token, len(around)))
        elif token.kind == "open" and token.name == "li" and lists:
            lists[-1].add(token.start, _number(token.value("value")), around)
        elif token.kind == "close" and token.name in _LISTS and lists:
            found |= lists.pop().signs()
    for left_open in lists:
        found |= left_open.signs()
    return found


def _follow(masked: MaskedSource, text: str, around: list[str]) -> None:
    """Update the stack of open statements, innermost last."""
    for mask in MASK.finditer(text):
        statement = _STATEMENT.match(masked.code(mask))
        name = statement[1] if statement else ""
        if name in _OPENING:
            around.append(name)
        elif name.startswith("end") and name[3:] in _OPENING and around:
            around.pop()
        elif name in ("else", "elif") and around:
            around[-1] = name


def _list(token: markup.Token, depth: int) -> _List:
    backwards = token.attribute("reversed") is not None
    start = _number(token.value("start"))
    if start is None and not backwards:
        start = 1
    return _List(token.name == "ol", start, -1 if backwards else 1, depth, _form(token))


def _form(token: markup.Token) -> str:
    styled = _STYLED.search(token.value("style"))
    return _FORMS[styled[1].lower()] if styled else token.value("type").strip()


def _formed(number: int, form: str) -> str:
    """Return the number as a browser writes it; digits if letters or Roman numerals cannot express it."""
    if form in ("a", "A") and number > 0:
        letters = ""
        while number:
            number, letter = divmod(number - 1, 26)
            letters = ascii_lowercase[letter] + letters
        return letters if form == "a" else letters.upper()
    if form in ("i", "I") and 0 < number < 4000:
        roman = ""
        for value, sign in _ROMAN:
            times, number = divmod(number, value)
            roman += sign * times
        return roman if form == "i" else roman.upper()
    return str(number)


def _in_loop(first: int, form: str) -> str:
    """Return the marker as template code, for an item that a loop repeats."""
    number = f"loop.index + {first - 1}"
    if form in ("a", "A"):
        parts = _letters(f"({number})", ascii_lowercase if form == "a" else ascii_lowercase.upper())
        return f"{{{{ {parts} if 0 < {number} < {_MOST_LETTERS} else {number} }}}}"
    if form in ("i", "I"):
        parts = _roman(f"({number})", upper=form == "I")
        return f"{{{{ {parts} if 0 < {number} < 4000 else {number} }}}}"
    return f"{{{{ {number} }}}}"


_MOST_LETTERS = 26 + 26**2 + 26**3 + 1  # three letters are enough: "zzz" is 18,278


def _letters(number: str, alphabet: str) -> str:
    third = f'("{alphabet}"[({number} - 703) // 676] if {number} > 702 else "")'
    second = f'("{alphabet}"[({number} - 27) // 26 % 26] if {number} > 26 else "")'
    return f'({third} ~ {second} ~ "{alphabet}"[({number} - 1) % 26])'


def _roman(number: str, *, upper: bool) -> str:
    digits = []
    for value in (1000, 100, 10, 1):
        signs = [_formed(each * value, "i") if each else "" for each in range(4 if value == 1000 else 10)]
        written = ", ".join(f'"{sign.upper() if upper else sign}"' for sign in signs)
        digits.append(f"[{written}][{number} // {value} % 10]")
    return f"({' ~ '.join(digits)})"


def _number(text: str) -> int | None:
    written = _WHOLE.match(text)
    return int(written[1]) if written else None
