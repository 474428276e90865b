"""Lease of an import: at most one worker changes its row, and only the newest one.

The row is locked so that rows which only refer to the import may be written: undoing another import, which
holds the account, records what this one added, while this one waits for the account.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from ...models import Import, ImportStatus

LEASE: Final = timedelta(seconds=30)  # many batches long; a killed worker blocks others for this time
UNFINISHED: Final = (ImportStatus.reading, ImportStatus.applying)


class LeaseLost(Exception):
    """Another worker has taken over this import, or a user stopped it."""


class ImportLease:
    """The lease of one import, created by :func:`acquire_import`."""

    def __init__(
        self, sessions: sessionmaker[Session], import_id: int, epoch: int, now: Callable[[], datetime]
    ) -> None:
        self.import_id = import_id
        self._sessions, self._now = sessions, now
        self._is_ours = (Import.id == import_id) & (Import.epoch == epoch)

    def load(self) -> Import:
        """Return the current row, detached from any session. Raise ``LeaseLost``."""
        with self._sessions() as session:
            job = session.scalars(select(Import).where(self._is_ours)).one_or_none()
        if job is None:
            raise LeaseLost
        return job

    def hold(self, session: Session, status: ImportStatus) -> Import:
        """Lock the row and extend the lease. Raise ``LeaseLost``, also when the status has changed."""
        job = session.scalars(
            select(Import).where(self._is_ours, Import.status == status).with_for_update(key_share=True)
        ).one_or_none()
        if job is None:
            raise LeaseLost
        job.lease_until = self._now() + LEASE
        return job

    def lock_unfinished(self, session: Session) -> Import | None:
        """Return the locked row while the import is read or applied under this lease, else None."""
        job = session.scalars(
            select(Import).where(self._is_ours).with_for_update(key_share=True)
        ).one_or_none()
        return job if job is not None and job.status in UNFINISHED else None

    def release(self) -> None:
        """End the lease."""
        with self._sessions.begin() as session:
            session.execute(update(Import).where(self._is_ours).values(lease_until=None))


def acquire_import(
    sessions: sessionmaker[Session], import_id: int, now: Callable[[], datetime]
) -> ImportLease | None:
    """Take the lease of an import with work to do; return None when another worker holds it."""
    at = now()
    with sessions.begin() as session:
        epoch = session.scalar(
            update(Import)
            .where(
                Import.id == import_id,
                Import.status.in_((*UNFINISHED, ImportStatus.undone)),
                or_(Import.lease_until.is_(None), Import.lease_until < at),
            )
            .values(epoch=Import.epoch + 1, lease_until=at + LEASE)
            .returning(Import.epoch)
        )
    return None if epoch is None else ImportLease(sessions, import_id, epoch, now)
