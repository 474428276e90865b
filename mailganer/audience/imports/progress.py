"""Progress of an import in its row: position in the file, counts, rejected rows and notes."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ...models import Import, ImportReject, ImportStatus
from .csv_lines import is_blank
from .file_batches import RowBatch
from .files import FileRow
from .import_changes import WriteResult
from .rows import RowNote
from .writing import write_rejects

MOST_NOTES: Final = 200  # stored with their texts; further ones are only counted


def advance(job: Import, records: Sequence[FileRow]) -> None:
    """Move the position behind these rows and count them."""
    job.position, job.record = records[-1].end, records[-1].number
    job.rows += sum(1 for record in records if not is_blank(record.cells))


def record_batch(session: Session, job: Import, batch: RowBatch, result: WriteResult) -> None:
    """Record a written or previewed batch."""
    rejects = sorted([*batch.rejects, *result.rejects])
    write_rejects(session, job.id, rejects, job.rejected)
    advance(job, batch.records)
    job.added += result.added
    job.updated += result.updated
    job.unchanged += result.unchanged
    job.rejected += len(rejects)
    _add_notes(job, batch.notes, result.left)


def restart(session: Session, job: Import, status: ImportStatus) -> None:
    """Restart an import from the first row of its file."""
    session.execute(delete(ImportReject).where(ImportReject.import_id == job.id))
    job.status = status
    job.position, job.record = job.start, job.first_record
    job.rows = job.added = job.updated = job.unchanged = job.rejected = 0
    job.notes = {}


def _add_notes(job: Import, notes: Sequence[RowNote], left: int) -> None:
    """Store how many rows were repaired or lost a value, by code, and the first notes."""
    if not notes and not left:
        return
    counts = Counter(job.notes.get("counts", {}))
    counts.update(note.code for note in notes)
    kept = job.notes.get("rows", [])
    kept = [*kept, *map(list, notes[: max(0, MOST_NOTES - len(kept))])]
    job.notes = {"counts": dict(counts), "rows": kept, "left": job.notes.get("left", 0) + left}
