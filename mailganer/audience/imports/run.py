"""Worker of an import, in pieces: first the whole file is read without changes, then rows are written.

The worker holds a lease on the row and increments its epoch; each piece is one short transaction that writes
subscribers, counts and the position in the file together. After a kill, the next worker continues from that
position.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from ...billing import subscriber_room
from ...db import utcnow
from ...models import Account, Import, ImportChange, ImportReject, ImportStatus
from ...settings import Settings
from .files import Dialect, FileRow, FileRows, is_blank
from .mapping import (
    UNDECIDED,
    decided_mapping,
    is_guessed,
    is_said,
    mapping_of,
    other_addresses,
    unread_columns,
)
from .reasons import FileProblem
from .rows import ImportedSubscriber, RejectedRow, RowNote, RowReader
from .statistics import gather_statistics
from .statuses import LateStatuses
from .undo import undo_some
from .writing import (
    WriteResult,
    admitted,
    change_of,
    existing,
    not_on,
    one_per_address,
    write_people,
    write_rejects,
)

AT_ONCE: Final = 2_000  # rows in one transaction: a tenth of a second, so that others get their turn
READ_AT_ONCE: Final = 20_000  # rows between two renewals of the lease while nothing is written
LEASE: Final = timedelta(seconds=30)  # many pieces long; a killed worker blocks others for this time
# Counting a million subscribers takes a tenth of a second. This far from the limit, a few concurrent imports
# cannot reach it between two counts.
COUNT_EVERY: Final = 20  # pieces
NARROW: Final = 4 * COUNT_EVERY * AT_ONCE
MOST_NOTES: Final = 200  # stored with their texts; further ones are only counted
REMEMBERED: Final = 200_000  # addresses remembered to detect duplicates in a preview: 16 MB
ORPHANED: Final = 24 * 3600  # seconds after which an unknown file is deleted

_log = structlog.get_logger()
_WORKED_ON = (ImportStatus.reading, ImportStatus.applying)


class _Fenced(Exception):
    """Another worker has taken over this import, or a user stopped it."""


def due_imports(session: Session, now: datetime, limit: int = 20) -> list[int]:
    """Return the imports that wait for a worker."""
    undoing = select(ImportChange.import_id).where(ImportChange.import_id == Import.id).exists()
    return list(
        session.scalars(
            select(Import.id)
            .where(
                or_(Import.status.in_(_WORKED_ON), (Import.status == ImportStatus.undone) & undoing),
                or_(Import.lease_until.is_(None), Import.lease_until < now),
            )
            .order_by(Import.id)
            .limit(limit)
        )
    )


def run_import(
    sessions: sessionmaker[Session],
    settings: Settings,
    import_id: int,
    *,
    now: Callable[[], datetime] = utcnow,
    seconds: float | None = None,
) -> bool:
    """Work on an import until it is done, or for about ``seconds``. Return False when there is more to do.

    Safe to call twice, late, or for an import that was deleted.
    """
    epoch = _claim(sessions, import_id, now())
    if epoch is None:
        return True
    work = _Work(sessions, settings, import_id, epoch, now, seconds)
    try:
        return work.go_on()
    except _Fenced:
        return True
    except FileProblem as problem:
        work.fail(problem)
        return True


def _claim(sessions: sessionmaker[Session], import_id: int, now: datetime) -> int | None:
    with sessions.begin() as session:
        return session.scalar(
            update(Import)
            .where(
                Import.id == import_id,
                Import.status.in_((*_WORKED_ON, ImportStatus.undone)),
                or_(Import.lease_until.is_(None), Import.lease_until < now),
            )
            .values(epoch=Import.epoch + 1, lease_until=now + LEASE)
            .returning(Import.epoch)
        )


class _Work:
    def __init__(
        self,
        sessions: sessionmaker[Session],
        settings: Settings,
        import_id: int,
        epoch: int,
        now: Callable[[], datetime],
        seconds: float | None,
    ) -> None:
        self.sessions, self.settings, self.now = sessions, settings, now
        self.id, self.epoch = import_id, epoch
        self.known_room: float = 0  # not counted yet
        self.pieces_since_counted = 0
        self.until = time.monotonic() + seconds if seconds is not None else float("inf")

    def go_on(self) -> bool:
        steps = {
            ImportStatus.reading: self.read,
            ImportStatus.applying: self.apply,
            ImportStatus.undone: self.undo,
        }
        while step := steps.get((job := self.job()).status):
            if not step(job):
                self.release()
                return False
            if job.status is ImportStatus.undone:
                break
        self.release()
        remove_orphans(self.sessions, self.settings.uploads)
        return True

    def job(self) -> Import:
        """Return the current row, detached from any session."""
        with self.sessions() as session:
            ours = select(Import).where(Import.id == self.id, Import.epoch == self.epoch)
            job = session.scalars(ours).one_or_none()
        if job is None:
            raise _Fenced
        return job

    def out_of_time(self) -> bool:
        return time.monotonic() >= self.until

    # Reading: only counts change

    def read(self, job: Import) -> bool:
        look = self.only_rows if job.apply else self.what_would_change
        late = LateStatuses(job.columns, job.mapping.get(UNDECIDED, {}))
        with self.records(job) as records:
            if not look(job, iter(records), late):
                return False
        with self.sessions.begin() as session:
            held = self.hold(session, ImportStatus.reading)
            held.mapping = decided_mapping(held.mapping, late.found)
            if job.apply or held.apply:
                restart(session, held, ImportStatus.applying)
            elif late.found:
                restart(session, held, ImportStatus.reading)  # the preview was incomplete
            else:
                held.status = ImportStatus.ready
                held.position = held.size
        return True

    def only_rows(self, job: Import, records: Iterator[FileRow], late: LateStatuses) -> bool:
        """Read to the end, so that an invalid file changes nothing."""
        while piece := list(islice(records, READ_AT_ONCE)):
            changed = late.look(record.cells for record in piece)
            with self.sessions.begin() as session:
                held = self.hold(session, ImportStatus.reading)
                self.advance(held, piece)
                if changed:
                    held.mapping = {**held.mapping, UNDECIDED: late.flags}
            if self.out_of_time():
                return False
        return True

    def what_would_change(self, job: Import, records: Iterator[FileRow], late: LateStatuses) -> bool:
        reader = self.reader(job)
        seen: set[int] = set()
        while piece := list(islice(records, AT_ONCE)):
            people, rejects = _read_rows(reader, piece)
            changed = late.look(record.cells for record in piece)
            with self.sessions.begin() as session:
                held = self.hold(session, ImportStatus.reading)
                if changed:
                    held.mapping = {**held.mapping, UNDECIDED: late.flags}
                outcome = self.foresee(session, held, people, seen)
                self.record(session, held, piece, outcome, rejects)
                add_notes(held, reader.notes, outcome.left)
            if self.out_of_time():
                return False
        return True

    def foresee(
        self, session: Session, job: Import, rows: Sequence[ImportedSubscriber], seen: set[int]
    ) -> WriteResult:
        """Preview a piece. ``seen`` are the remembered addresses of earlier rows."""
        people = {key: each for key, each in one_per_address(rows).items() if hash(key) not in seen}
        there, crowded = existing(session, job.account_id, people)
        room = self.room(session, job)
        room = None if room is None else max(0, room - job.added)
        welcome, refused = admitted(session, job.account_id, people, there, room)
        changes = [change for key, row in there.items() if (change := change_of(people[key], row))]
        changed = {change.id for change in changes}
        changed |= not_on(session, job.list_id, [row.id for row in there.values()])
        if len(seen) < REMEMBERED:
            seen.update(map(hash, people.keys() - refused.keys()))
        left = sum(1 for person in welcome if person.status) + sum(1 for change in changes if change.status)
        return WriteResult.of(rows, len(welcome), len(changed), crowded | refused, left)

    # Applying

    def apply(self, job: Import) -> bool:
        reader = self.reader(job)
        with self.records(job) as opened:
            records = iter(opened)
            while piece := list(islice(records, AT_ONCE)):
                people, rejects = _read_rows(reader, piece)
                with self.sessions.begin() as session:
                    held = self.hold(session, ImportStatus.applying)
                    outcome = self.write(session, held, people)
                    self.record(session, held, piece, outcome, rejects)
                    add_notes(held, reader.notes, outcome.left)
                if self.out_of_time():
                    return False
        with self.sessions.begin() as session:
            held = self.hold(session, ImportStatus.applying)
            gather_statistics(session, held.added + held.updated)
        with self.sessions.begin() as session:
            held = self.hold(session, ImportStatus.applying)
            held.status, held.finished_at, held.position = ImportStatus.done, self.now(), held.size
        self.remove_file(job)
        return True

    def write(self, session: Session, job: Import, rows: Sequence[ImportedSubscriber]) -> WriteResult:
        # Serialize two imports of one account: neither sees the other's rows half written or takes the last
        # place.
        session.execute(
            select(Account.id).where(Account.id == job.account_id).with_for_update(key_share=True)
        )
        outcome = write_people(session, job, rows, self.room(session, job), self.now())
        self.known_room -= outcome.added
        return outcome

    # Undoing

    def undo(self, job: Import) -> bool:
        self.remove_file(job)
        while True:
            with self.sessions.begin() as session:
                if not undo_some(session, self.hold(session, ImportStatus.undone), self.now(), AT_ONCE):
                    return True
            if self.out_of_time():
                return False

    # Shared by all steps

    def hold(self, session: Session, status: ImportStatus) -> Import:
        """Lock the row, make sure that it is still ours, and extend the lease."""
        job = session.scalars(
            select(Import)
            .where(Import.id == self.id, Import.epoch == self.epoch, Import.status == status)
            .with_for_update()
        ).one_or_none()
        if job is None:
            raise _Fenced
        job.lease_until = self.now() + LEASE
        return job

    def advance(self, job: Import, piece: Sequence[FileRow]) -> None:
        job.position, job.record = piece[-1].end, piece[-1].number
        job.rows += sum(1 for record in piece if not is_blank(record.cells))

    def record(
        self,
        session: Session,
        job: Import,
        piece: Sequence[FileRow],
        outcome: WriteResult,
        rejects: Sequence[RejectedRow],
    ) -> None:
        refused = sorted([*rejects, *outcome.rejects])
        write_rejects(session, job.id, refused, job.rejected)
        self.advance(job, piece)
        job.added += outcome.added
        job.updated += outcome.updated
        job.unchanged += outcome.unchanged
        job.rejected += len(refused)

    def room(self, session: Session, job: Import) -> int | None:
        """Return how many new subscribers the plan allows: counted exactly near the limit."""
        if self.known_room <= NARROW or self.pieces_since_counted >= COUNT_EVERY:
            account = session.get_one(Account, job.account_id)
            room = subscriber_room(session, account, self.settings, self.now())
            self.known_room = math.inf if room is None else room
            self.pieces_since_counted = 0
        self.pieces_since_counted += 1
        return None if self.known_room == math.inf else int(self.known_room)

    def reader(self, job: Import) -> RowReader:
        mapping, others = mapping_of(job.mapping, len(job.columns)), other_addresses(job.mapping)
        guessed = job.encoding if is_guessed(job.mapping) else ""
        return RowReader(
            job.columns, mapping, self.now().date(), others, guessed, unread_columns(job.mapping)
        )

    def records(self, job: Import) -> FileRows:
        path = self.settings.uploads / job.path
        said = is_said(job.mapping)
        return FileRows(path, Dialect(job.encoding, job.delimiter, 0, 0, said), job.position, job.record)

    def release(self) -> None:
        with self.sessions.begin() as session:
            session.execute(
                update(Import)
                .where(Import.id == self.id, Import.epoch == self.epoch)
                .values(lease_until=None)
            )

    def fail(self, problem: FileProblem) -> None:
        with self.sessions.begin() as session:
            job = session.scalars(
                select(Import).where(Import.id == self.id, Import.epoch == self.epoch).with_for_update()
            ).one_or_none()
            if job is None or job.status not in _WORKED_ON:
                return
            _log.info("import failed", import_id=self.id, problem=problem.word)
            session.execute(delete(ImportReject).where(ImportReject.import_id == self.id))
            job.status, job.error, job.finished_at, job.lease_until = (
                ImportStatus.failed,
                problem.word,
                self.now(),
                None,
            )
        self.remove_file(job)

    def remove_file(self, job: Import) -> None:
        (self.settings.uploads / job.path).unlink(missing_ok=True)


def restart(session: Session, job: Import, status: ImportStatus) -> None:
    """Restart an import from the first row of its file."""
    session.execute(delete(ImportReject).where(ImportReject.import_id == job.id))
    job.status = status
    job.position, job.record = job.start, job.first_record
    job.rows = job.added = job.updated = job.unchanged = job.rejected = 0
    job.notes = {}


def add_notes(job: Import, notes: Sequence[RowNote], left: int) -> None:
    """Store how many rows were repaired or lost a value, by code, and the first notes."""
    if not notes and not left:
        return
    counts = Counter(job.notes.get("counts", {}))
    counts.update(note.code for note in notes)
    kept = job.notes.get("rows", [])
    kept = [*kept, *map(list, notes[: max(0, MOST_NOTES - len(kept))])]
    job.notes = {"counts": dict(counts), "rows": kept, "left": job.notes.get("left", 0) + left}


def remove_orphans(sessions: sessionmaker[Session], uploads: Path) -> None:
    """Delete files whose upload was never finished or whose import was deleted."""
    limit = time.time() - ORPHANED
    old = [path for path in uploads.glob("*.csv") if path.stat().st_mtime < limit]
    if not old:
        return
    with sessions() as session:
        known = set(session.scalars(select(Import.path).where(Import.path.in_([path.name for path in old]))))
    for path in old:
        if path.name not in known:
            path.unlink(missing_ok=True)


def _read_rows(
    reader: RowReader, piece: Sequence[FileRow]
) -> tuple[list[ImportedSubscriber], list[RejectedRow]]:
    people: list[ImportedSubscriber] = []
    rejects: list[RejectedRow] = []
    reader.notes = []
    for record in piece:
        if is_blank(record.cells):
            continue
        read = reader.read(record)
        if isinstance(read, ImportedSubscriber):
            people.append(read)
        else:
            rejects.append(read)
    return people, rejects
