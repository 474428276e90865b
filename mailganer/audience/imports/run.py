"""Worker of an import: first the whole file is read without changes, then its rows are written.

The worker holds a lease on the row and increments its epoch; each batch is one short transaction that writes
subscribers, counts and the position in the file together. After a kill, the next worker continues from that
position.
"""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import delete, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from ...db import is_serialization_failure, utcnow
from ...models import Import, ImportReject, ImportStatus
from ...settings import Settings
from .additions import has_changes
from .import_lease import UNFINISHED, LeaseLost, acquire_import
from .import_steps import ApplyingStep, ImportStep, ImportWork, ReadingStep, UndoingStep
from .plan_room import PlanRoom
from .reasons import FileProblem

ORPHANED: Final = 24 * 3600  # seconds after which an unknown file is deleted

ATTEMPTS: Final = 5  # at a batch whose transaction the database rolls back so that another one can continue

_log = structlog.get_logger()


def due_imports(session: Session, now: datetime, limit: int = 20) -> list[int]:
    """Return the imports that wait for a worker."""
    return list(
        session.scalars(
            select(Import.id)
            .where(
                or_(Import.status.in_(UNFINISHED), (Import.status == ImportStatus.undone) & has_changes()),
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
    lease = acquire_import(sessions, import_id, now)
    if lease is None:
        return True
    until = time.monotonic() + seconds if seconds is not None else float("inf")

    def attempt() -> bool:
        return _attempt(
            ImportWork(
                sessions=sessions,
                uploads=settings.uploads,
                now=now,
                lease=lease,
                remaining=PlanRoom(settings, now),  # a batch that was rolled back has taken no places
                until=until,
            )
        )

    return _retried(attempt, import_id)


def _attempt(work: ImportWork) -> bool:
    try:
        return _run_steps(work)
    except LeaseLost:
        return True
    except FileProblem as problem:
        _fail(work, problem)
        return True


def _retried(attempt: Callable[[], bool], import_id: int) -> bool:
    """Continue from the last committed batch when the database chose ours as the transaction to retry."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except OperationalError as error:
            if not left or not is_serialization_failure(error):
                raise
            _log.info("import retries a batch", import_id=import_id)
    raise AssertionError("the last attempt returns or raises")


def _run_steps(work: ImportWork) -> bool:
    """Run step after step until the import is done; return False when time is up before."""
    steps: dict[ImportStatus, ImportStep] = {
        ImportStatus.reading: ReadingStep(work),
        ImportStatus.applying: ApplyingStep(work),
        ImportStatus.undone: UndoingStep(work),
    }
    while step := steps.get((job := work.lease.load()).status):
        if not step.run(job):
            work.lease.release()
            return False
        if job.status is ImportStatus.undone:
            break
    work.lease.release()
    remove_orphans(work.sessions, work.uploads)
    return True


def _fail(work: ImportWork, problem: FileProblem) -> None:
    """Mark the import failed because its file cannot be read."""
    with work.sessions.begin() as session:
        job = work.lease.lock_unfinished(session)
        if job is None:
            return
        _log.info("import failed", import_id=job.id, problem=problem.word)
        session.execute(delete(ImportReject).where(ImportReject.import_id == job.id))
        job.status, job.error = ImportStatus.failed, problem.word
        job.finished_at, job.lease_until = work.now(), None
    work.remove_file(job)


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
