"""The steps of an import: read the file, apply it, undo it.

Each works batch by batch. A batch is one short transaction under the lease, so a step can be continued by
another worker wherever it ended.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from ...models import Account, Import, ImportStatus
from . import file_batches
from .file_batches import open_file, parsed_batches, row_reader, unparsed_batches
from .files import FileRow
from .import_changes import WriteResult, admitted, change_of, existing_subscribers, not_on, one_per_address
from .import_lease import ImportLease
from .plan_room import PlanRoom
from .progress import advance, record_batch, restart
from .rows import ImportedSubscriber
from .statistics import gather_statistics
from .statuses import LateStatuses
from .stored_mapping import UNDECIDED, decided_mapping
from .undo import undo_some
from .writing import write_subscribers

REMEMBERED: Final = 200_000  # addresses remembered to detect duplicates in a preview: 16 MB


@dataclass(frozen=True)
class ImportWork:
    """One worker's turn at one import, shared by its steps."""

    sessions: sessionmaker[Session]
    uploads: Path
    now: Callable[[], datetime]
    lease: ImportLease
    remaining: PlanRoom
    until: float  # of ``time.monotonic``

    def out_of_time(self) -> bool:
        """Return whether another job should get its turn now."""
        return time.monotonic() >= self.until

    def remove_file(self, job: Import) -> None:
        """Delete the uploaded file of an import that no longer needs it."""
        (self.uploads / job.path).unlink(missing_ok=True)


class ImportStep(Protocol):
    """A part of the work on an import, by its status."""

    def run(self, job: Import) -> bool:
        """Work batch by batch; return False when time is up before the step is done."""


class ReadingStep:
    """Read the whole file without changing subscribers, to check it or to preview the changes."""

    def __init__(self, work: ImportWork) -> None:
        self._work = work

    def run(self, job: Import) -> bool:
        """Read to the end; then the import is ready for the user, or applied at once if it was confirmed."""
        read = self._check if job.apply else self._preview
        late = LateStatuses(job.columns, job.mapping.get(UNDECIDED, {}))
        with open_file(self._work.uploads, job) as records:
            if not read(job, iter(records), late):
                return False
        with self._work.sessions.begin() as session:
            held = self._work.lease.hold(session, ImportStatus.reading)
            held.mapping = decided_mapping(held.mapping, late.found)
            if job.apply or held.apply:
                restart(session, held, ImportStatus.applying)
            elif late.found:
                restart(session, held, ImportStatus.reading)  # the preview was incomplete
            else:
                held.status = ImportStatus.ready
                held.position = held.size
        return True

    def _check(self, job: Import, records: Iterator[FileRow], late: LateStatuses) -> bool:
        """Read to the end, so that an invalid file changes nothing."""
        for batch in unparsed_batches(records):
            changed = late.look(record.cells for record in batch)
            with self._work.sessions.begin() as session:
                held = self._work.lease.hold(session, ImportStatus.reading)
                advance(held, batch)
                if changed:
                    held.mapping = {**held.mapping, UNDECIDED: late.flags}
            if self._work.out_of_time():
                return False
        return True

    def _preview(self, job: Import, records: Iterator[FileRow], late: LateStatuses) -> bool:
        """Read to the end, counting what applying the import would change."""
        seen: set[int] = set()
        for batch in parsed_batches(records, row_reader(job, self._work.now().date())):
            changed = late.look(record.cells for record in batch.records)
            with self._work.sessions.begin() as session:
                held = self._work.lease.hold(session, ImportStatus.reading)
                if changed:
                    held.mapping = {**held.mapping, UNDECIDED: late.flags}
                result = self._preview_batch(session, held, batch.subscribers, seen)
                record_batch(session, held, batch, result)
            if self._work.out_of_time():
                return False
        return True

    def _preview_batch(
        self, session: Session, job: Import, rows: Sequence[ImportedSubscriber], seen: set[int]
    ) -> WriteResult:
        """Return what writing a batch would do. ``seen`` are the remembered addresses of earlier rows."""
        subscribers = {key: each for key, each in one_per_address(rows).items() if hash(key) not in seen}
        there, crowded = existing_subscribers(session, job.account_id, subscribers)
        remaining = self._work.remaining.left(session, job.account_id)
        remaining = None if remaining is None else max(0, remaining - job.added)
        welcome, refused = admitted(session, job.account_id, subscribers, there, remaining)
        changes = [change for key, row in there.items() if (change := change_of(subscribers[key], row))]
        changed = {change.id for change in changes}
        changed |= not_on(session, job.list_id, [row.id for row in there.values()])
        if len(seen) < REMEMBERED:
            seen.update(map(hash, subscribers.keys() - refused.keys()))
        left = sum(1 for subscriber in welcome if subscriber.status) + sum(
            1 for change in changes if change.status
        )
        return WriteResult.of(rows, len(welcome), len(changed), crowded | refused, left)


class ApplyingStep:
    """Write the subscribers of a file that was read to its end."""

    def __init__(self, work: ImportWork) -> None:
        self._work = work

    def run(self, job: Import) -> bool:
        """Write batch by batch; then gather statistics and delete the file."""
        with open_file(self._work.uploads, job) as records:
            for batch in parsed_batches(iter(records), row_reader(job, self._work.now().date())):
                with self._work.sessions.begin() as session:
                    held = self._work.lease.hold(session, ImportStatus.applying)
                    result = self._write(session, held, batch.subscribers)
                    record_batch(session, held, batch, result)
                if self._work.out_of_time():
                    return False
        with self._work.sessions.begin() as session:
            held = self._work.lease.hold(session, ImportStatus.applying)
            gather_statistics(session, held.added + held.updated)
        with self._work.sessions.begin() as session:
            held = self._work.lease.hold(session, ImportStatus.applying)
            held.status, held.finished_at, held.position = ImportStatus.done, self._work.now(), held.size
        self._work.remove_file(job)
        return True

    def _write(self, session: Session, job: Import, rows: Sequence[ImportedSubscriber]) -> WriteResult:
        # Serialize two imports of one account: neither sees the other's rows half written or takes the last
        # place.
        session.execute(
            select(Account.id).where(Account.id == job.account_id).with_for_update(key_share=True)
        )
        remaining = self._work.remaining.left(session, job.account_id)
        result = write_subscribers(session, job, rows, remaining, self._work.now())
        self._work.remaining.use(result.added)
        return result


class UndoingStep:
    """Take back what an import wrote."""

    def __init__(self, work: ImportWork) -> None:
        self._work = work

    def run(self, job: Import) -> bool:
        """Undo change by change, the file first: an undone import is never applied again."""
        self._work.remove_file(job)
        while True:
            with self._work.sessions.begin() as session:
                held = self._work.lease.hold(session, ImportStatus.undone)
                if not undo_some(session, held, self._work.now(), file_batches.AT_ONCE):
                    return True
            if self._work.out_of_time():
                return False
