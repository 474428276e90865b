"""Parser of rows: one row of a file becomes a subscriber, or a reason for its rejection."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final, NamedTuple

from ...models import SubscriberStatus
from ..addresses import Address, AddressError, Repaired, parse_address, plain_address_key, repair_address
from ..birthdays import BirthdayError, join_birthday, parse_birthday
from ..csv_cells import original_cell, unguarded
from ..fields import LONGEST_NAME, LONGEST_VALUE, clean_value, has_control
from ..headings import EMAIL, FULL_NAME, LAST_NAME_FIRST, PATRONYMIC, heading_words
from .csv_lines import is_blank
from .files import FileRow
from .mapping import (
    BIRTHDAY_PARTS,
    BIRTHDAYS,
    PLAIN,
    is_cyrillic_full_name,
    is_latin_pair,
    is_own_export,
    kept_beside,
    split_full_name,
)
from .reasons import ENCODING_GUESSED
from .status_cells import most_restrictive
from .statuses import STATUS, status_reader

_MOST_CELLS: Final = 110  # cells stored of a row, which may have more of them than there can be columns
_NOTED: Final = 40  # characters of a dropped value stored in a note
_MOST_BIRTHDAYS: Final = 20_000  # texts remembered with their dates
_SHOWN: Final = 200  # characters of a cell stored with the reason for a rejection


class ImportedSubscriber(NamedTuple):
    """Values of a subscriber in a row. Empty texts mean no value."""

    row: int
    email: str
    email_key: str
    first_name: str
    last_name: str
    birthday: date | None
    fields: dict[str, str]
    cells: list[str]  # the original cells, in case the row is rejected later
    status: SubscriberStatus | None = None  # unless active or unknown


class RejectedRow(NamedTuple):
    row: int
    code: str
    detail: str
    cells: list[str]


class RowNote(NamedTuple):
    """A dropped or repaired value of an imported row. ``detail`` is never an address."""

    row: int
    code: str
    detail: str


class _InvalidValue(Exception):
    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail


class RowReader:
    """Reader of rows with one mapping. ``notes`` grows with each row that was imported with a change."""

    def __init__(
        self,
        columns: Sequence[str],
        mapping: Sequence[str],
        today: date,
        other_addresses: Sequence[int] = (),
        guessed: str = "",
        unread: Collection[int] = (),
    ) -> None:
        """``other_addresses`` are columns to take an address from where the chosen one has none; ``guessed``
        is an encoding that is not certain.

        ``unread`` are columns that may say who left and are not understood: each is noted once.
        """
        self._guessed = guessed
        self._columns, self._today, self._width = columns, today, len(columns)
        self._own_export = is_own_export(columns)
        self.notes: list[RowNote] = []
        self._email = mapping.index(EMAIL)
        self._others = other_addresses
        self._names = [(number, field) for number, field in enumerate(mapping) if field in PLAIN]
        self._full = [
            (number, field == LAST_NAME_FIRST, is_cyrillic_full_name(columns[number]))
            for number, field in enumerate(mapping)
            if field in (FULL_NAME, LAST_NAME_FIRST)
        ]
        self._birthday = [
            (number, BIRTHDAYS[field]) for number, field in enumerate(mapping) if field in BIRTHDAYS
        ]
        self._parts = [mapping.index(field) if field in mapping else None for field in BIRTHDAY_PARTS]
        self._statuses = [
            (number, status_reader(heading_words(columns[number])))
            for number, field in enumerate(mapping)
            if field == STATUS
        ]
        self._unread = [number for number in unread if mapping[number] not in ("", STATUS)]
        named = {number for number, *_rest in (*self._names, *self._full, *self._birthday, *self._statuses)}
        named |= {number for number in self._parts if number is not None}
        self._fields = [
            (number, field)
            for number, field in enumerate(mapping)
            if field and number != self._email and number not in named
        ] + kept_beside(columns, mapping)
        self._first_name, self._last_name = (
            mapping.index(field) if field in mapping else None for field in PLAIN
        )
        self._birthdays: dict[str, date | None] = {}  # by text: few among many rows

    def read(self, record: FileRow) -> ImportedSubscriber | RejectedRow:
        noted = len(self.notes)
        try:
            return self._read_plain(record) or self._read(record)
        except AddressError as error:
            rejected = self._reject(record, error.code)
        except _InvalidValue as wrong:
            rejected = self._reject(record, wrong.code, wrong.detail)
        del self.notes[noted:]
        return rejected

    def _read_plain(self, record: FileRow) -> ImportedSubscriber | None:
        """Read a row as nearly all rows are: what ``_read`` returns, sooner. Return None for another row."""
        number, _end, cells, *troubles = record
        text = "".join(cells)
        if (
            len(text) > LONGEST_NAME
            or not text.isprintable()
            or "'" in text
            or len(cells) != self._width
            or self._full
            or True in troubles
            or (self._guessed and not text.isascii())
        ):
            return None
        email = cells[self._email].strip()
        key = plain_address_key(email)
        if not key:
            return None
        if self._unread:
            self._note_unread(number, cells)
        return ImportedSubscriber(
            number,
            email,
            key,
            "" if self._first_name is None else cells[self._first_name].strip(),
            "" if self._last_name is None else cells[self._last_name].strip(),
            self._read_birthday(number, cells),
            {field: text for column, field in self._fields if (text := cells[column].strip())},
            cells,
            self._read_status(number, cells) if self._statuses else None,
        )

    def _read(self, record: FileRow) -> ImportedSubscriber:
        if self._own_export:
            cells = [original_cell(cell) if "'" in cell else cell for cell in record.cells]
        else:
            cells = [unguarded(cell) if cell[:1] == "'" else cell for cell in record.cells]
        if record.broken:
            raise _InvalidValue("encoding")
        if record.garbled:
            raise _InvalidValue("garbled")
        if record.repaired:
            self._note(record.number, "letters_repaired", "")
        if self._guessed and not all(map(str.isascii, cells)):
            self._note(record.number, ENCODING_GUESSED, self._guessed)
        if len(cells) > self._width and not is_blank(cells[self._width :]):
            raise _InvalidValue("too_many_cells")
        if len(cells) < self._width:
            cells = cells + [""] * (self._width - len(cells))
        address, name = self._address(record.number, cells)
        fields = {field: text for number, field in self._fields if (text := self._value(cells, number))}
        names = {field: self._name(cells[number]) for number, field in self._names}
        for number, last_name_first, cyrillic in self._full:
            full = self._name(cells[number], parts=3)
            self._add_full_name(
                names, fields, full, last_name_first and not (cyrillic and is_latin_pair(full))
            )
        first_name, last_name = names.get("first_name", ""), names.get("last_name", "")
        if name and not first_name and not last_name:
            first_name, last_name, _patronymic = split_full_name(self._name(name), False)
        self._note_unread(record.number, cells)
        return ImportedSubscriber(
            record.number,
            address.email,
            address.key,
            first_name,
            last_name,
            self._read_birthday(record.number, cells),
            fields,
            cells,
            self._read_status(record.number, cells) if self._statuses else None,
        )

    def _address(self, row: int, cells: Sequence[str]) -> tuple[Address, str]:
        """Return the address and the name around it. Raise ``AddressError`` with the most useful reason."""
        reasons: list[AddressError] = []
        for number in (self._email, *self._others):
            try:
                found = _address_in(cells[number])
            except AddressError as error:
                reasons.append(error)
                continue
            if found.code:
                self.notes.append(RowNote(row, found.code, found.signs))
            if number != self._email:
                self._note(row, "address_other", self._heading(number))
            return found.address, found.name
        raise next((each for each in reasons if each.code != "address_missing"), reasons[0])

    def _read_birthday(self, row: int, cells: Sequence[str]) -> date | None:
        """Parse the birthday. An invalid one is dropped with a note; the subscriber is imported."""
        text = ""
        try:
            for number, order in self._birthday:
                text = cells[number]
                if text not in self._birthdays:
                    if len(self._birthdays) >= _MOST_BIRTHDAYS:
                        self._birthdays.clear()
                    self._birthdays[text] = parse_birthday(text, self._today, order)
                return self._birthdays[text]
            if self._parts[1] is not None and self._parts[2] is not None:
                parts = ["" if number is None else cells[number].strip() for number in self._parts]
                text = "-".join(parts)
                return join_birthday(parts[0], parts[1], parts[2], self._today)
        except BirthdayError as error:
            self._note(row, error.code, text)
        return None

    def _read_status(self, row: int, cells: Sequence[str]) -> SubscriberStatus | None:
        found: list[SubscriberStatus | None] = []
        for number, read in self._statuses:
            try:
                found.append(read(cells[number]))
            except ValueError:
                self._note(row, "status", cells[number])
        status = most_restrictive(found)
        return None if status is SubscriberStatus.active else status

    def _note_unread(self, row: int, cells: Sequence[str]) -> None:
        for number in [each for each in self._unread if cells[each].strip()]:
            self._note(row, "status_column", self._heading(number))
            self._unread.remove(number)

    def _note(self, row: int, code: str, detail: str) -> None:
        self.notes.append(RowNote(row, code, "" if "@" in detail else shown(detail.strip())[:_NOTED]))

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
                raise _InvalidValue("name_control")
            text = " ".join(text.split())  # no-break spaces
        if len(text) > LONGEST_NAME * parts:
            raise _InvalidValue("name_long")
        return text

    def _fitting(self, name: str) -> str:
        if len(name) > LONGEST_NAME:
            raise _InvalidValue("name_long")
        return name

    def _value(self, cells: Sequence[str], number: int) -> str:
        text = clean_value(cells[number])
        if len(text) > LONGEST_VALUE:
            raise _InvalidValue("value_long", self._heading(number))
        if text and has_control(text, but="\n\t"):
            raise _InvalidValue("value_control", self._heading(number))
        return text

    def _heading(self, number: int) -> str:
        return self._columns[number] or str(number + 1)

    def _reject(self, record: FileRow, code: str, detail: str = "") -> RejectedRow:
        return RejectedRow(record.number, code, shown(detail), shown_cells(record.cells))


def _address_in(cell: str) -> Repaired:
    try:
        return Repaired(parse_address(cell), "", "")
    except AddressError:
        repaired = repair_address(cell)
        if repaired is None:
            raise
        return repaired


def shown(text: str) -> str:
    """Shorten a text for storage and display."""
    return _without_nul(text[:_SHOWN])


def _without_nul(text: str) -> str:
    return text.replace("\x00", "\ufffd")  # PostgreSQL cannot store NUL


def shown_cells(cells: Sequence[str]) -> list[str]:
    """Return the cells for storage. They are complete, so that a corrected row can be imported."""
    return [_without_nul(cell[:LONGEST_VALUE]) for cell in cells[:_MOST_CELLS]]
