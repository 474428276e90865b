"""Actions on an import: start, preview, change the mapping, apply, undo, discard."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...errors import Conflict, NotFound, _
from ...models import Account, Import, ImportStatus, SubscriberList
from ..lists import unused_list
from .address_columns import address_columns
from .encodings import check_encoding
from .files import (
    HEAD,
    MOST_COLUMNS,
    Dialect,
    FileRow,
    FileRows,
    StoredFile,
    find_dialect,
    first_records,
    store,
)
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
from .progress import restart
from .reasons import FileProblem
from .stored_mapping import (
    ADDRESSES,
    ENCODING,
    EXPLICIT,
    GUESSED,
    UNREAD,
    is_guessed,
    mapping_of,
    stored_mapping,
)
from .undo import undo_some

SAMPLE_ROWS: Final = 200  # rows examined to detect addresses, dates and columns
SHOWN_ROWS: Final = 5
_SAMPLE_LENGTH: Final = 120
_UNDONE_AT_ONCE: Final = 2_000  # of a small file nothing is left when the page comes back


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


@dataclass(frozen=True)
class _Sniffed:
    dialect: Dialect
    header: bool
    columns: list[str]
    mapping: list[str]
    undecided: list[int]  # columns that may still turn out to be statuses
    addresses: list[int]  # columns with addresses of subscribers
    above: FileRow | None  # the row before the first subscriber: headings or a title


def start_import(
    session: Session,
    account: Account,
    lst: SubscriberList,
    *,
    filename: str,
    stream: BinaryIO,
    mapping: Mapping[str, Any] | None = None,
    apply: bool = True,
    made_list: bool = False,
    encoding: str = "",
    uploads: Path,
    now: datetime,
) -> Import:
    """Store a file and what its beginning shows; ``run_import`` does the rest.

    With ``apply=False`` it stops at ``ready`` and counts what would change. ``made_list``: the list was made
    for this file, and appears when the file is imported. An empty ``encoding`` is guessed. Raises
    ``FileRefused`` for a file that is no list of subscribers, ``InputError`` for a wrong ``mapping`` or
    ``encoding``, ``NoRoom``; nothing is kept then.
    """
    if lst.account_id != account.id:
        raise NotFound()
    named = check_encoding(encoding) if encoding.strip() else ""
    stored = store(stream, uploads, named)
    try:
        sniffed = _sniff(stored, mapping or {})
        made = _made(account, lst, filename, stored, sniffed, apply, now)
        made.made_list = made_list
        session.add(made)
        session.flush()
    except BaseException:
        stored.path.unlink(missing_ok=True)
        raise
    return made


def latest_imports(session: Session, account_id: int, limit: int = 10) -> Sequence[Import]:
    """Return an account's imports, newest first."""
    return session.scalars(
        select(Import).where(Import.account_id == account_id).order_by(Import.id.desc()).limit(limit)
    ).all()


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


def set_mapping(session: Session, job: Import, mapping: Mapping[Any, Any]) -> Import:
    """Change the mapping; the file is then read again. Keys and values are as in ``start_import``.

    Raise ``InputError``, or ``Conflict`` when it is too late.
    """
    _lock(session, job)
    if job.status is not ImportStatus.ready:
        raise Conflict(_("Columns can be changed only before the subscribers are imported."))
    fields = mapping_from_words(mapping, job.columns, mapping_of(job.mapping, len(job.columns)))
    stored = stored_mapping(fields, addresses=job.mapping.get(ADDRESSES, ()))
    stored |= {key: value for key, value in job.mapping.items() if key == ENCODING}
    # What is left as it was is still not understood.
    same = [each for each in job.mapping.get(UNREAD, ()) if fields[each] == job.mapping.get(str(each))]
    stored |= {UNREAD: same} if same else {}
    if stored != job.mapping:
        job.mapping = stored
        restart(session, job, ImportStatus.reading)
    session.flush()
    return job


def set_encoding(session: Session, job: Import, encoding: str, uploads: Path) -> Import:
    """Say in which encoding a file is; it is then read once more. Raises ``InputError``, ``FileRefused``, or
    ``Conflict`` when it is too late."""
    stored = StoredFile(uploads / job.path, job.size, check_encoding(encoding), explicit=True)
    if job.status is ImportStatus.ready:
        sniffed = _sniff(stored, {})
        _lock(session, job)
    if job.status is not ImportStatus.ready:
        raise Conflict(_("The encoding can be changed only before the subscribers are imported."))
    for name, value in _sniffed_values(stored, sniffed).items():
        setattr(job, name, value)
    restart(session, job, ImportStatus.reading)
    session.flush()
    return job


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


def apply_import(session: Session, job: Import) -> Import:
    """Apply an import. Raise ``Conflict`` when it was applied already or cannot be."""
    _lock(session, job)
    if job.status is ImportStatus.ready:
        restart(session, job, ImportStatus.applying)
    elif job.status is not ImportStatus.reading:
        raise Conflict(
            _(
                "This file has already been imported or could not be read. To repeat the import, "
                "upload the file again."
            )
        )
    job.apply = True
    session.flush()
    return job


def undo_import(session: Session, job: Import, now: datetime) -> Import:
    """Undo an import, also while it is being applied. A large one is undone gradually.

    Raise ``Conflict`` when there is nothing to undo.
    """
    _lock(session, job)
    if job.status is ImportStatus.undone:
        return job
    if job.status not in (ImportStatus.applying, ImportStatus.done):
        raise Conflict(_("Nothing was imported from this file, so there is nothing to undo."))
    if job.finished_at is None:
        job.finished_at = now
    job.status = ImportStatus.undone
    job.epoch += 1  # the worker stops at its next piece
    job.lease_until = None
    session.flush()
    undo_some(session, job, now, _UNDONE_AT_ONCE)
    return job


def discard_import(session: Session, job: Import, uploads: Path) -> None:
    """Delete an import that was not applied, and a list that was created for it.

    Raise ``Conflict`` when it was applied.
    """
    _lock(session, job)
    if job.status in (ImportStatus.applying, ImportStatus.done):
        raise Conflict(_("Subscribers from this file have been imported. Undo the import to remove them."))
    made_for_it = unused_list(session, job.list_id)
    session.delete(job)
    session.flush()
    if made_for_it is not None:
        session.delete(made_for_it)
        session.flush()
    (uploads / job.path).unlink(missing_ok=True)


def _sniff(stored: StoredFile, words: Mapping[str, Any]) -> _Sniffed:
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
    return _Sniffed(dialect, header, columns, mapping, undecided, addresses, last_above)


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


def _made(
    account: Account,
    lst: SubscriberList,
    filename: str,
    stored: StoredFile,
    sniffed: _Sniffed,
    apply: bool,
    now: datetime,
) -> Import:
    values = _sniffed_values(stored, sniffed)
    return Import(
        account_id=account.id,
        list_id=lst.id,
        filename=_shown_name(filename),
        path=stored.path.name,
        size=stored.size,
        apply=apply,
        position=values["start"],
        record=values["first_record"],
        created_at=now,
        **values,
    )


def _sniffed_values(stored: StoredFile, sniffed: _Sniffed) -> dict[str, Any]:
    """What is kept of a file's beginning, by the columns of ``Import``."""
    start, number = sniffed.dialect.start, sniffed.dialect.first_record
    if sniffed.above:
        start, number = sniffed.above.end, sniffed.above.number
    known = EXPLICIT if stored.explicit else "" if stored.certain else GUESSED
    return {
        "encoding": sniffed.dialect.encoding,
        "delimiter": sniffed.dialect.delimiter,
        "header": sniffed.header,
        "columns": sniffed.columns,
        "mapping": stored_mapping(sniffed.mapping, sniffed.undecided, sniffed.addresses, known),
        "start": start,
        "first_record": number,
    }


def _shown_name(filename: str) -> str:
    """Return the file name for display: without folders and control characters."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    return "".join(each for each in name if unicodedata.category(each)[0] != "C")[:255] or "people.csv"


def _lock(session: Session, job: Import) -> None:
    session.flush()
    session.refresh(job, with_for_update=True)
