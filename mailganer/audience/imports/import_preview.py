"""The preview of an import: its columns with sample cells, and rows in an uncertain encoding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...models import Import
from .dialects import Dialect
from .files import HEAD, FileRows, first_records
from .stored_mapping import is_guessed, mapping_of

SHOWN_ROWS: Final = 5
_SAMPLE_LENGTH: Final = 120


@dataclass(frozen=True)
class Column:
    """A column of a file: its heading, the field it maps to ("" if left out), and sample cells."""

    number: int
    name: str
    field: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    columns: tuple[Column, ...]
    header: bool


def import_preview(job: Import, uploads: Path) -> Preview:
    """Return the columns with their fields and first cells; no cells after the file is deleted."""
    rows: list[list[str]] = []
    path = uploads / job.path
    if path.exists():
        dialect = Dialect(job.encoding, job.delimiter, job.start, job.first_record)
        rows = [record.cells for record in first_records(path, dialect, SHOWN_ROWS)]
    fields = mapping_of(job.mapping, len(job.columns))
    return Preview(
        tuple(
            Column(
                number, name, fields[number], tuple(row[number] if number < len(row) else "" for row in rows)
            )
            for number, name in enumerate(job.columns)
        ),
        job.header,
    )


def encoding_samples(job: Import, uploads: Path) -> list[str]:
    """Return some rows with letters beyond ASCII, as they are read, while the encoding is uncertain."""
    path = uploads / job.path
    if not is_guessed(job.mapping) or not path.exists():
        return []
    samples: list[str] = []
    with FileRows(path, Dialect(job.encoding, job.delimiter, job.start, job.first_record)) as records:
        for record in records:
            row = ", ".join(filter(None, map(str.strip, record.cells)))
            if not row.isascii():
                samples.append(row[:_SAMPLE_LENGTH])
            if len(samples) == SHOWN_ROWS or record.end >= HEAD:
                break
    return samples
