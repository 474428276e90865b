"""Mapping of columns to fields: guessed from headings in two languages and from cells, or given by users."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from ...errors import InputError, _
from ..birthdays import DateOrder, order_of
from ..fields import STANDARD, is_field_name, slug
from ..headings import EMAIL, FULL_NAME, HEADINGS, LAST_NAME_FIRST, heading_words, known_heading
from .address_columns import email_column, is_address
from .statuses import STATUS, guess_statuses, names_a_state

PLAIN: Final = ("first_name", "last_name")
BIRTHDAYS: Final[Mapping[str, DateOrder]] = {
    "birthday": DateOrder.unknown,
    "birthday_day_first": DateOrder.day_first,
    "birthday_month_first": DateOrder.month_first,
}
BIRTHDAY_PARTS: Final = ("birthday_year", "birthday_month", "birthday_day")
"""Three columns of one birthday, as Thunderbird writes them."""

TARGETS: Final = frozenset({EMAIL, *PLAIN, FULL_NAME, LAST_NAME_FIRST, *BIRTHDAYS, *BIRTHDAY_PARTS, STATUS})
"""Mapping targets besides a variable with the column's own name."""

# Headings of our own files: rejected rows in both languages, and exported subscribers.
_REJECTED: Final = (
    ["row", "why it was skipped"],
    ["строка", "почему пропущена"],
    ["row", "why it did not go in"],  # files of earlier versions
    ["строка", "почему не добавлена"],
)
_EXPORTED: Final = [*map(heading_words, STANDARD), "status", "lists"]
_BIRTHDAY_PARTS: Final = (
    frozenset({"birth year", "year of birth", "birthday year", "год рождения"}),
    frozenset({"birth month", "month of birth", "birthday month", "месяц рождения"}),
    frozenset({"birth day", "day of birth", "birthday day", "день рождения", "число рождения"}),
)
_AFTER_COMMA: Final = re.compile(r"[^\W\d_]+(?:[-'’. ]+[^\W\d_]+){0,2}\.?")
_TITLE: Final = re.compile(r"(ph ?d|m\.?d|mba|jr|sr|esq|cpa|dds|i{2,3}|iv)\b", re.IGNORECASE)
_LATIN_PAIR: Final = re.compile(r"[A-Za-zÀ-ɏ.'’-]+ [A-Za-zÀ-ɏ.'’-]+")
_ROWS_ABOVE: Final = 100  # notes and titles above the headings that are skipped
_PATRONYMIC: Final = re.compile(r"(?i).*(вич|вна|ична|инична|оглы|кызы)")


def guess_mapping(columns: Sequence[str], rows: Sequence[Sequence[str]], header: bool) -> list[str]:
    """Return the field of every column; empty without a column of addresses."""
    headings = [heading_words(column) for column in columns]
    email = email_column(headings, rows, header)
    if email is None:
        return []
    fields: list[str] = [""] * len(columns)
    fields[email] = EMAIL
    if header:
        for number in guess_statuses(headings, rows):
            fields[number] = fields[number] or STATUS
        _set_birthday_parts(fields, headings)
    for number, words in enumerate(headings):
        known = known_heading(words) if header else ""
        if not fields[number] and known and known not in fields and not _is_apart(known, fields):
            fields[number] = known
    _settle_name(fields, headings)
    _settle_birthday(fields, rows)
    about_the_file = _about_the_file(headings)
    for number, column in enumerate(columns):
        if not fields[number] and number not in about_the_file:
            fields[number] = slug(column, fields) if column.strip() else slug(f"column {number + 1}", fields)
    return fields


def is_own_export(columns: Sequence[str]) -> bool:
    """Return whether Mailganer wrote a file with these columns: exported subscribers or rejected rows."""
    headings = [heading_words(column) for column in columns[: len(_EXPORTED)]]
    return headings == _EXPORTED or headings[:2] in _REJECTED


def _about_the_file(headings: Sequence[str]) -> range:
    """Return the columns that our own exports add: row number and rejection reason, or the lists."""
    if list(headings[:2]) in _REJECTED:
        return range(2)
    exported = list(headings[: len(_EXPORTED)]) == _EXPORTED
    return range(len(_EXPORTED) - 1, len(_EXPORTED)) if exported else range(0)


def _set_birthday_parts(fields: list[str], headings: Sequence[str]) -> None:
    """Map the columns of year, month and day, if month and day have columns of their own."""
    places = [
        next((number for number, words in enumerate(headings) if words in known and not fields[number]), None)
        for known in _BIRTHDAY_PARTS
    ]
    if places[1] is not None and places[2] is not None:
        for place, field in zip(places, BIRTHDAY_PARTS, strict=True):
            if place is not None:
                fields[place] = field


def _is_apart(known: str, fields: Sequence[str]) -> bool:
    return known == "birthday" and BIRTHDAY_PARTS[1] in fields


def rows_above(rows: Sequence[Sequence[str]], words: Mapping[Any, Any]) -> int:
    """Return how many of the first rows are notes and titles above the headings or the first subscriber.

    ``words`` is the given mapping, if any: the row with its address heading is the header.
    """
    given = {heading_words(name) for name in _named_headings(words)}
    for number, cells in enumerate(rows[:_ROWS_ABOVE]):
        headings = {heading_words(cell) for cell in cells}
        if given & headings or headings & HEADINGS[EMAIL]:
            return number
        if any(map(is_address, cells)):
            return _titles(rows[: number + 1])
    return 0


def _named_headings(words: Mapping[Any, Any]) -> list[str]:
    pairs = [(str(key), str(value)) for key, value in words.items()]
    found = [key for key, value in pairs if _target(value) == EMAIL]
    found += [value for key, value in pairs if _target(key) == EMAIL]
    return [name for name in found if not name.isdecimal()]


def _titles(rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows of a single cell precede the first wider row; the last row is a subscriber's."""
    filled = [sum(1 for cell in row if cell.strip()) for row in rows]
    return next((number for number, cells in enumerate(filled) if cells > 1), 0)


def is_row_of_addresses(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a file is one row with nothing but addresses."""
    return len(rows) == 1 and len(rows[0]) > 1 and all(is_address(cell) for cell in rows[0] if cell.strip())


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row contains headings: no cell is an address or resembles one."""
    return not any(is_address(cell) or "@" in cell.strip("@ ") for cell in rows[0])


def mapping_from_words(words: Mapping[Any, Any], columns: Sequence[str], guessed: Sequence[str]) -> list[str]:
    """Return the mapping given by a user or a client, with guesses for columns that it omits.

    Keys are headings, or column numbers from 0; values are fields, or "" to skip a column. A field as key and
    a heading as value is also accepted. Raise ``InputError``.
    """
    fields = list(guessed) or [""] * len(columns)
    explicit = explicit_columns(words, columns)
    for number, target in explicit.items():
        for other, field in enumerate(fields):  # an explicit target replaces a guess
            if field == target and other not in explicit:
                fields[other] = slug(columns[other], fields)
        fields[number] = target
    return check_mapping(fields)


def explicit_columns(words: Mapping[Any, Any], columns: Sequence[str]) -> dict[int, str]:
    """Return the columns that ``words`` name, with the field of each. Raise ``InputError``."""
    explicit: dict[int, str] = {}
    for key, value in words.items():
        target = "" if value is None else str(value).strip()
        number = column_number(key, columns)
        if number is None and target:
            number, target = column_number(target, columns), str(key).strip()
        if number is None:
            raise _wrong(_("The file has no column named “${name}”.", mapping={"name": str(key)[:100]}))
        explicit[number] = target
    return explicit


def column_number(key: str | int, columns: Sequence[str]) -> int | None:
    if isinstance(key, int):
        return key if 0 <= key < len(columns) else None
    if key in columns:
        return columns.index(key)
    words = [heading_words(column) for column in columns]
    if heading_words(key) and heading_words(key) in words:
        return words.index(heading_words(key))
    # Python does not parse numbers of thousands of digits, and no file has so many columns.
    return int(key) if key.isdecimal() and len(key) < 9 and int(key) < len(columns) else None


def check_mapping(fields: Sequence[str]) -> list[str]:
    """Return the mapping with valid variable names. Raise ``InputError`` if no file could be read with it."""
    checked = [_target(field) for field in fields]
    if EMAIL not in checked:
        raise _wrong(_("Choose the column with the email addresses."))
    used = [field for field in checked if field and field != STATUS]
    twice = next((field for field in used if used.count(field) > 1), None)
    birthdays = sum(1 for field in used if field in BIRTHDAYS) + (BIRTHDAY_PARTS[1] in used)
    if twice or birthdays > 1:
        raise _wrong(
            _(
                "Two columns are imported as “${name}”. Keep only one of them.",
                mapping={"name": twice or "birthday"},
            )
        )
    return checked


def _target(field: str) -> str:
    if field in TARGETS or not field or is_field_name(field):
        return field
    known = known_heading(heading_words(field))
    return known or slug(field)


def _wrong(message: str) -> InputError:
    return InputError({"mapping": message})


def _settle_name(fields: list[str], headings: Sequence[str]) -> None:
    """A column "name" beside one of last names holds first names; beside "Vorname" it holds last names."""
    if FULL_NAME not in fields:
        return
    if "last_name" in fields and "first_name" not in fields:
        fields[fields.index(FULL_NAME)] = "first_name"
    elif "first_name" in fields and "last_name" not in fields:
        number = fields.index(FULL_NAME)
        if headings[number] == "name" and headings[fields.index("first_name")] in ("vorname", "rufname"):
            fields[number] = "last_name"


def _settle_birthday(fields: list[str], rows: Sequence[Sequence[str]]) -> None:
    if "birthday" in fields:
        number = fields.index("birthday")
        fields[:] = with_order(fields, (row[number] for row in rows if len(row) > number))


def with_order(fields: Sequence[str], texts: Iterable[str]) -> list[str]:
    """Return the mapping with the order of day and month that further birthdays of the column reveal."""
    order = order_of(texts)
    named = next(name for name, each in BIRTHDAYS.items() if each is order)
    return [named if field == "birthday" else field for field in fields]


def kept_beside(columns: Sequence[str], fields: Sequence[str]) -> list[tuple[int, str]]:
    """Return columns "name" that hold first names, to be kept as ``{{ name }}`` as well."""
    return [
        (number, slug(columns[number], fields))
        for number, field in enumerate(fields)
        if field == "first_name" and known_heading(heading_words(columns[number])) == FULL_NAME
    ]


def split_full_name(text: str, last_name_first: bool) -> tuple[str, str, str]:
    """Split a full name into first name, last name, patronymic. "Gray, Anna" has the last name first."""
    last, _comma, first = (part.strip() for part in text.partition(","))
    if " " not in last and _AFTER_COMMA.fullmatch(first) and not _TITLE.match(first):
        text, last_name_first = f"{last} {first}", True
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


def is_cyrillic_full_name(column: str) -> bool:
    """Return whether a column is called "ФИО" or the like: last name first for Cyrillic names."""
    words = heading_words(column)
    return words in HEADINGS[LAST_NAME_FIRST] and bool(re.search("[а-я]", words))


def is_latin_pair(name: str) -> bool:
    """Return whether a full name is two words in Latin script: first and last name, even under "ФИО"."""
    return bool(_LATIN_PAIR.fullmatch(" ".join(name.split())))


def undecided_columns(columns: Sequence[str], fields: Sequence[str], explicit: Collection[int]) -> list[int]:
    """Return the columns that the rest of the file may show to be statuses, except those in ``explicit``."""
    return [
        number
        for number, column in enumerate(columns)
        if fields[number] not in (STATUS, EMAIL)
        and number not in explicit
        and names_a_state(heading_words(column))
    ]
