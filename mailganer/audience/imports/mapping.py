"""Which column is what: guessed from headings in two languages and from cells, or said by the person."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ...errors import InputError, _
from ..addresses import AddressError, parse_address
from ..birthdays import Order, order_of
from ..fields import STANDARD, is_field_name, slug
from ..headings import EMAIL, FULL_NAME, HEADINGS, LAST_NAME_FIRST, heading_words, known_heading

PLAIN: Final = ("first_name", "last_name")
BIRTHDAYS: Final[Mapping[str, Order]] = {
    "birthday": Order.unknown,
    "birthday_day_first": Order.day_first,
    "birthday_month_first": Order.month_first,
}
TARGETS: Final = frozenset({EMAIL, *PLAIN, FULL_NAME, LAST_NAME_FIRST, *BIRTHDAYS})
"""What a column can become besides a variable of its own name."""

# What our own files say besides the person's own: rejected rows in both languages, and exported people.
_REJECTED: Final = (["row", "why it did not go in"], ["строка", "почему не добавлена"])
_EXPORTED: Final = [*map(heading_words, STANDARD), "status", "lists"]
_PERHAPS_EMAIL: Final = re.compile(r"e ?mail|почт|^адрес$|^address$|^адреса$")
_PATRONYMIC: Final = re.compile(r"(?i).*(вич|вна|ична|инична|оглы|кызы)")


def guess_mapping(columns: Sequence[str], rows: Sequence[Sequence[str]], header: bool) -> list[str]:
    """For every column the field it goes to. Empty where there is no column of addresses."""
    headings = [heading_words(column) for column in columns]
    email = _email_column(headings, rows, header)
    if email is None:
        return []
    fields: list[str] = [""] * len(columns)
    fields[email] = EMAIL
    for number, words in enumerate(headings):
        known = known_heading(words) if header else ""
        if number != email and known and known not in fields:
            fields[number] = known
    _settle_name(fields)
    _settle_birthday(fields, rows)
    about_the_file = _about_the_file(headings)
    for number, column in enumerate(columns):
        if not fields[number] and number not in about_the_file:
            fields[number] = slug(column, fields) if column.strip() else slug(f"column {number + 1}", fields)
    return fields


def _about_the_file(headings: Sequence[str]) -> range:
    """Columns of a file that came from us and comes back: where a row stood and why it was refused."""
    if list(headings[:2]) in _REJECTED:
        return range(2)
    return range(len(STANDARD), len(_EXPORTED)) if list(headings[: len(_EXPORTED)]) == _EXPORTED else range(0)


def names_addresses(cells: Sequence[str]) -> bool:
    """Whether a row is one of headings, with one for the addresses."""
    return any(heading_words(cell) in HEADINGS[EMAIL] for cell in cells)


def is_row_of_addresses(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a file is one row with nothing but addresses."""
    return len(rows) == 1 and len(rows[0]) > 1 and all(_is_address(cell) for cell in rows[0] if cell.strip())


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: nothing in it is an address or tries to be one."""
    return not any(_is_address(cell) or "@" in cell.strip("@ ") for cell in rows[0])


def mapping_from_words(words: Mapping[Any, Any], columns: Sequence[str], guessed: Sequence[str]) -> list[str]:
    """The mapping a person or a program gave, over the guessed one for columns not named.

    Keys are headings, or numbers of columns from 0; values are fields, or nothing to leave a column out. A
    field as key and a heading as value is understood as well. Raises ``InputError``.
    """
    fields = list(guessed) or [""] * len(columns)
    said: dict[int, str] = {}
    for key, value in words.items():
        target = "" if value is None else str(value).strip()
        number = column_number(key, columns)
        if number is None and target:
            number, target = column_number(target, columns), str(key).strip()
        if number is None:
            raise _wrong(_("The file has no column “${name}”.", mapping={"name": str(key)[:100]}))
        said[number] = target
    for number, target in said.items():
        for other, field in enumerate(fields):  # a guess gives way to what was said
            if field == target and other not in said:
                fields[other] = slug(columns[other], fields)
        fields[number] = target
    return check_mapping(fields)


def column_number(key: str | int, columns: Sequence[str]) -> int | None:
    if isinstance(key, int):
        return key if 0 <= key < len(columns) else None
    if key in columns:
        return columns.index(key)
    words = [heading_words(column) for column in columns]
    if heading_words(key) and heading_words(key) in words:
        return words.index(heading_words(key))
    # Python reads no number of thousands of digits, and no file has so many columns.
    return int(key) if key.isdecimal() and len(key) < 9 and int(key) < len(columns) else None


def check_mapping(fields: Sequence[str]) -> list[str]:
    """The mapping with names that letters can use. Raises ``InputError`` when no file could be read by it."""
    checked = [_target(field) for field in fields]
    if EMAIL not in checked:
        raise _wrong(_("Say which column holds the mail addresses."))
    used = [field for field in checked if field]
    twice = next((field for field in used if used.count(field) > 1), None)
    birthdays = sum(1 for field in used if field in BIRTHDAYS)
    if twice or birthdays > 1:
        raise _wrong(
            _("Two columns go to “${name}”. Choose one of them.", mapping={"name": twice or "birthday"})
        )
    return checked


def _target(field: str) -> str:
    if field in TARGETS or not field or is_field_name(field):
        return field
    known = known_heading(heading_words(field))
    return known or slug(field)


def _wrong(message: str) -> InputError:
    return InputError({"mapping": message})


def _email_column(headings: Sequence[str], rows: Sequence[Sequence[str]], header: bool) -> int | None:
    """The column of addresses: by its heading when the cells agree, else by the cells."""
    best: tuple[float, int] = (0.0, 0)
    for number, words in enumerate(headings):
        share = _share_of_addresses(rows, number)
        named = 0.0
        if header:
            named = 2.0 if words in HEADINGS[EMAIL] else 0.5 if _PERHAPS_EMAIL.search(words) else 0.0
        sure = named == 2.0 or share >= 0.5 or (named and share > 0.0)
        if sure and named + share > best[0]:
            best = (named + share, number)
    return best[1] if best[0] > 0.0 else None


def _share_of_addresses(rows: Sequence[Sequence[str]], number: int) -> float:
    cells = [row[number] for row in rows if len(row) > number and row[number].strip()]
    return sum(map(_is_address, cells)) / len(cells) if cells else 0.0


def _is_address(cell: str) -> bool:
    if "@" not in cell:
        return False
    try:
        parse_address(cell)
    except AddressError:
        return False
    return True


def _settle_name(fields: list[str]) -> None:
    """A column "name" beside one of last names holds first names."""
    if FULL_NAME in fields and "last_name" in fields and "first_name" not in fields:
        fields[fields.index(FULL_NAME)] = "first_name"


def _settle_birthday(fields: list[str], rows: Sequence[Sequence[str]]) -> None:
    if "birthday" in fields:
        number = fields.index("birthday")
        order = order_of(row[number] for row in rows if len(row) > number)
        fields[number] = next(name for name, each in BIRTHDAYS.items() if each is order)


def kept_beside(columns: Sequence[str], fields: Sequence[str]) -> list[tuple[int, str]]:
    """Columns "name" that hold first names: ``{{ name }}`` means no more than these then."""
    return [
        (number, slug(columns[number], fields))
        for number, field in enumerate(fields)
        if field == "first_name" and known_heading(heading_words(columns[number])) == FULL_NAME
    ]


def split_full_name(text: str, last_name_first: bool) -> tuple[str, str, str]:
    """First name, last name, patronymic: as far as the words tell."""
    words = text.split()
    if len(words) == 1:
        return words[0], "", ""
    if len(words) == 3 and _PATRONYMIC.fullmatch(words[2]):
        return words[1], words[0], words[2]
    if len(words) == 3 and _PATRONYMIC.fullmatch(words[1]):
        return words[0], words[2], words[1]
    if last_name_first:
        return words[1], words[0], " ".join(words[2:])
    return words[0], " ".join(words[1:]), ""


def stored_mapping(fields: Iterable[str]) -> dict[str, str]:
    """As the column of ``Import`` keeps it."""
    return {str(number): field for number, field in enumerate(fields)}


def mapping_of(stored: Mapping[str, Any], columns: int) -> list[str]:
    return [str(stored.get(str(number), "")) for number in range(columns)]
