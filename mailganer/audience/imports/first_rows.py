"""What the first rows of a file show: its dialect, headings, mapping and addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .address_columns import address_columns
from .dialects import MOST_COLUMNS, Dialect, find_dialect
from .files import HEAD, FileRow, FileRows, first_records
from .mapping import (
    check_mapping,
    explicit_columns,
    guess_mapping,
    has_header,
    is_row_of_addresses,
    mapping_from_words,
    rows_above,
    undecided_columns,
    with_order,
)
from .reasons import FileProblem
from .stored_mapping import EXPLICIT, GUESSED, stored_mapping
from .uploads import StoredFile

SAMPLE_ROWS: Final = 200  # rows examined to detect addresses, dates and columns


@dataclass(frozen=True)
class FirstRows:
    """What the first rows of a file show."""

    dialect: Dialect
    header: bool
    columns: list[str]
    mapping: list[str]
    undecided: list[int]  # columns that may still turn out to be statuses
    addresses: list[int]  # columns with addresses of subscribers
    above: FileRow | None  # the row before the first subscriber: headings or a title


def read_first_rows(stored: StoredFile, words: Mapping[str, Any]) -> FirstRows:
    """Read the first rows of a file. ``words`` is the mapping that the user gave.

    Raise ``FileProblem`` for a file that is no list of subscribers, ``InputError`` for a wrong mapping.
    """
    dialect = find_dialect(stored)
    records = first_records(stored.path, dialect, SAMPLE_ROWS)
    if not records:
        raise FileProblem("empty")
    above = rows_above([record.cells for record in records], words)
    before, records = records[:above], records[above:]
    rows = [record.cells for record in records]
    if is_row_of_addresses(rows):
        raise FileProblem("row_of_addresses")
    header = has_header(rows)
    columns = _columns(rows, header)
    if len(columns) > MOST_COLUMNS:
        raise FileProblem("columns")
    data_rows = rows[1:] if header else rows
    guessed = guess_mapping(columns, data_rows, header)
    if not data_rows:
        raise FileProblem("no_people" if guessed else "no_address")
    if not guessed and not words:
        raise FileProblem("no_address")
    texts = _read_head(stored, dialect, guessed)
    guessed = with_order(guessed, texts)
    mapping = mapping_from_words(words, columns, guessed) if words else check_mapping(guessed)
    last_above = records[0] if header else before[-1] if before else None
    undecided = undecided_columns(columns, mapping, explicit_columns(words, columns)) if header else []
    addresses = address_columns(columns, data_rows, header)
    return FirstRows(dialect, header, columns, mapping, undecided, addresses, last_above)


def _columns(rows: Sequence[Sequence[str]], header: bool) -> list[str]:
    """Return the headings, without the empty columns that spreadsheets append.

    A column may have an empty heading, but must have one: a row with more cells than headings has too many.
    """
    first = rows[0]
    seen = [row[: len(first)] for row in rows] if header else rows
    width = max((number for row in seen for number, cell in enumerate(row, 1) if cell.strip()), default=0)
    headings = [" ".join(cell.split())[:200] for cell in first[:width]] if header else []
    return headings + [""] * (width - len(headings))


def _read_head(stored: StoredFile, dialect: Dialect, guessed: Sequence[str]) -> set[str]:
    """Read the first part to its end, so that its errors are reported at once.

    Return the birthdays in it, if the order of day and month is unknown.
    """
    number = guessed.index("birthday") if "birthday" in guessed else None
    texts: set[str] = set()
    with FileRows(stored.path, dialect) as records:
        for record in records:
            if number is not None and len(record.cells) > number:
                texts.add(record.cells[number])
            if record.end >= HEAD:
                break
    return texts


def column_values(stored: StoredFile, first_rows: FirstRows) -> dict[str, Any]:
    """Return what is kept of a file's first rows, by the columns of ``Import``."""
    start, number = first_rows.dialect.start, first_rows.dialect.first_record
    if first_rows.above:
        start, number = first_rows.above.end, first_rows.above.number
    known = EXPLICIT if stored.explicit else "" if stored.certain else GUESSED
    return {
        "encoding": first_rows.dialect.encoding,
        "delimiter": first_rows.dialect.delimiter,
        "header": first_rows.header,
        "columns": first_rows.columns,
        "mapping": stored_mapping(first_rows.mapping, first_rows.undecided, first_rows.addresses, known),
        "start": start,
        "first_record": number,
    }
