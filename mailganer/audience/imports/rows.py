"""One row of a file becomes a person, or a reason why not."""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from ..addresses import AddressError, parse_address
from ..birthdays import BirthdayError, parse_birthday
from ..fields import LONGEST_NAME, LONGEST_VALUE, clean_value, has_control
from ..headings import EMAIL, FULL_NAME, LAST_NAME_FIRST, PATRONYMIC
from ..spreadsheets import original_cell
from .files import Record, is_blank
from .mapping import BIRTHDAYS, PLAIN, kept_beside, split_full_name

_MOST_CELLS: Final = 110  # a row may have more of them than there can be columns
_SHOWN: Final = 200  # characters of a cell kept to say why its row did not go in


class Person(NamedTuple):
    """What a row says of somebody. Empty texts say nothing."""

    row: int
    email: str
    email_key: str
    first_name: str
    last_name: str
    birthday: date | None
    fields: dict[str, str]
    cells: list[str]  # as they were, in case that the row is rejected later


class Reject(NamedTuple):
    row: int
    code: str
    detail: str
    cells: list[str]


class _Wrong(Exception):
    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail


class RowReader:
    """Reads rows by one mapping."""

    def __init__(self, columns: Sequence[str], mapping: Sequence[str], today: date) -> None:
        self._columns, self._today, self._width = columns, today, len(columns)
        self._email = mapping.index(EMAIL)
        self._names = [(number, field) for number, field in enumerate(mapping) if field in PLAIN]
        self._full = [
            (number, field == LAST_NAME_FIRST)
            for number, field in enumerate(mapping)
            if field in (FULL_NAME, LAST_NAME_FIRST)
        ]
        self._birthday = [
            (number, BIRTHDAYS[field]) for number, field in enumerate(mapping) if field in BIRTHDAYS
        ]
        named = {number for number, *_rest in (*self._names, *self._full, *self._birthday)}
        self._fields = [
            (number, field)
            for number, field in enumerate(mapping)
            if field and number != self._email and number not in named
        ] + kept_beside(columns, mapping)

    def read(self, record: Record) -> Person | Reject:
        try:
            return self._read(record)
        except AddressError as error:
            return self._reject(record, error.code)
        except BirthdayError as error:
            number = self._birthday[0][0]
            return self._reject(record, error.code, record.cells[number].strip())
        except _Wrong as wrong:
            return self._reject(record, wrong.code, wrong.detail)

    def _read(self, record: Record) -> Person:
        cells = [original_cell(cell) if cell[:1] == "'" else cell for cell in record.cells]
        if record.broken:
            raise _Wrong("encoding")
        if len(cells) > self._width and not is_blank(cells[self._width :]):
            raise _Wrong("too_many_cells")
        if len(cells) < self._width:
            cells = cells + [""] * (self._width - len(cells))
        address = parse_address(cells[self._email])
        fields = {field: text for number, field in self._fields if (text := self._value(cells, number))}
        names = {field: self._name(cells[number]) for number, field in self._names}
        for number, last_name_first in self._full:
            self._add_full_name(names, fields, self._name(cells[number], parts=3), last_name_first)
        birthday = None
        for number, order in self._birthday:
            birthday = parse_birthday(cells[number], self._today, order)
        first_name, last_name = names.get("first_name", ""), names.get("last_name", "")
        return Person(
            record.number, address.email, address.key, first_name, last_name, birthday, fields, cells
        )

    def _add_full_name(
        self, names: dict[str, str], fields: dict[str, str], text: str, last_first: bool
    ) -> None:
        if not text:
            return
        first_name, last_name, patronymic = split_full_name(text, last_first)
        names["first_name"] = names.get("first_name") or self._fitting(first_name)
        names["last_name"] = names.get("last_name") or self._fitting(last_name)
        if patronymic:
            fields.setdefault(PATRONYMIC, patronymic)

    def _name(self, cell: str, parts: int = 1) -> str:
        text = cell.strip()
        if text and not text.isprintable():
            if has_control(text):
                raise _Wrong("name_control")
            text = " ".join(text.split())  # hard spaces
        if len(text) > LONGEST_NAME * parts:
            raise _Wrong("name_long")
        return text

    def _fitting(self, name: str) -> str:
        if len(name) > LONGEST_NAME:
            raise _Wrong("name_long")
        return name

    def _value(self, cells: Sequence[str], number: int) -> str:
        text = clean_value(cells[number])
        if len(text) > LONGEST_VALUE:
            raise _Wrong("value_long", self._heading(number))
        if text and has_control(text, but="\n\t"):
            raise _Wrong("value_control", self._heading(number))
        return text

    def _heading(self, number: int) -> str:
        return self._columns[number] or str(number + 1)

    def _reject(self, record: Record, code: str, detail: str = "") -> Reject:
        return Reject(record.number, code, shown(detail), shown_cells(record.cells))


def shown(text: str) -> str:
    """Text as it can be kept and shown, short."""
    return _without_nul(text[:_SHOWN])


def _without_nul(text: str) -> str:
    return text.replace("\x00", "\ufffd")  # PostgreSQL has no room for it


def shown_cells(cells: Sequence[str]) -> list[str]:
    """Whole, so that a row that is corrected comes in whole; what is longer could not."""
    return [_without_nul(cell[:LONGEST_VALUE]) for cell in cells[:_MOST_CELLS]]
