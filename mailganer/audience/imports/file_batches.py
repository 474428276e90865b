"""Batches of rows of an imported file, from where the last committed batch ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from ...models import Import
from .csv_lines import is_blank
from .dialects import Dialect
from .files import FileRow, FileRows
from .rows import ImportedSubscriber, RejectedRow, RowNote, RowReader
from .stored_mapping import encoding_is_explicit, is_guessed, mapping_of, other_addresses, unread_columns

AT_ONCE = 2_000  # rows in one transaction: a tenth of a second, so that others get their turn
READ_AT_ONCE = 20_000  # rows between two renewals of the lease while nothing is written


@dataclass(frozen=True)
class RowBatch:
    """Rows of a file, parsed."""

    records: Sequence[FileRow]
    subscribers: Sequence[ImportedSubscriber]
    rejects: Sequence[RejectedRow]
    notes: Sequence[RowNote]


def open_file(uploads: Path, job: Import) -> FileRows:
    """Open an import's file at the position of its row."""
    dialect = Dialect(job.encoding, job.delimiter, 0, 0, encoding_is_explicit(job.mapping))
    return FileRows(uploads / job.path, dialect, job.position, job.record)


def row_reader(job: Import, today: date) -> RowReader:
    """Return a reader that follows the mapping of an import."""
    mapping, others = mapping_of(job.mapping, len(job.columns)), other_addresses(job.mapping)
    guessed = job.encoding if is_guessed(job.mapping) else ""
    return RowReader(job.columns, mapping, today, others, guessed, unread_columns(job.mapping))


def unparsed_batches(records: Iterator[FileRow]) -> Iterator[list[FileRow]]:
    """Yield large batches of rows that are only checked to be readable."""
    while batch := list(islice(records, READ_AT_ONCE)):
        yield batch


def parsed_batches(records: Iterator[FileRow], reader: RowReader) -> Iterator[RowBatch]:
    """Yield batches of parsed rows, each for one transaction."""
    while batch := list(islice(records, AT_ONCE)):
        yield parse_rows(batch, reader)


def parse_rows(records: Sequence[FileRow], reader: RowReader) -> RowBatch:
    """Parse rows; blank ones are left out."""
    subscribers: list[ImportedSubscriber] = []
    rejects: list[RejectedRow] = []
    reader.notes = []
    for record in records:
        if is_blank(record.cells):
            continue
        row = reader.read(record)
        if isinstance(row, ImportedSubscriber):
            subscribers.append(row)
        else:
            rejects.append(row)
    return RowBatch(records, subscribers, rejects, reader.notes)
