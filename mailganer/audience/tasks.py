"""Celery tasks and periodic jobs of the audience: imports, kept counts."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import structlog
from celery import current_app
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from .. import periodic_jobs, subscriber_counts
from ..models import Account, Import, ImportStatus
from ..queue import enqueue, shared_task
from ..worker_process import fits, is_stopping, tolerates_outage, worker_process
from . import imports
from .search_index import ensure_search_index

__all__ = ["before_first_account", "due_imports", "reconcile_counts", "run_import"]

FOLD_EVERY: Final = timedelta(seconds=10)
RECONCILE_EVERY: Final = timedelta(days=1)
LARGE_IMPORT: Final = 50_000  # new subscribers
TURN = 30.0  # seconds; then what is left is queued behind the other messages

_log = structlog.get_logger()


@periodic_jobs.due_ids("import")
def due_imports(session: Session, now: datetime) -> Iterable[int]:
    """Return imports that wait for a worker, or whose worker was lost."""
    return imports.due_imports(session, now)


@shared_task(name="mailganer.import")
@tolerates_outage
def run_import(import_id: int) -> None:
    """Work on an import for one turn."""
    here = worker_process()
    if not fits(here.schema()):
        return
    done = imports.run_import(here.sessions, here.settings, import_id, now=here.now, seconds=TURN)
    if not done and not is_stopping():
        enqueue(current_app, "import", import_id)
    elif done and _is_large(here.sessions, import_id):
        enqueue(current_app, "reconcile_counts", 0)  # which builds the search index, if it is needed now


def _is_large(sessions: sessionmaker[Session], import_id: int) -> bool:
    with sessions() as session:
        session.connection(execution_options={"reading": True})
        added = session.scalar(
            select(Import.added).where(Import.id == import_id, Import.status == ImportStatus.done)
        )
    return (added or 0) >= LARGE_IMPORT


@periodic_jobs.periodic_job("fold_counts", FOLD_EVERY)
def _fold_counts(tick: periodic_jobs.Tick) -> None:
    subscriber_counts.fold(tick.session)


@periodic_jobs.due_ids("reconcile_counts", RECONCILE_EVERY)
def before_first_account(session: Session, now: datetime) -> Iterable[int]:
    """Return the place from which the task begins: one message goes through all accounts."""
    return [0]


@shared_task(name="mailganer.reconcile_counts")
@tolerates_outage
def reconcile_counts(after: int) -> None:
    """Correct the kept counts of accounts with an id above ``after`` for one turn; log what was wrong.

    First build the search index, if it is needed and missing.
    """
    here = worker_process()
    if not fits(here.schema()):
        return
    if not after:
        ensure_search_index(here.engine)
    until = monotonic() + TURN
    while (account_id := _next_account(here.sessions, after)) is not None:
        if monotonic() > until:
            if not is_stopping():
                enqueue(current_app, "reconcile_counts", after)
            return
        for each in subscriber_counts.reconcile(here.sessions, account_id):
            _log.warning(
                "kept count corrected",
                account_id=account_id,
                list_id=each.list_id,
                status=each.status.value,
                missing=each.missing,
            )
        after = account_id


def _next_account(sessions: sessionmaker[Session], after: int) -> int | None:
    with sessions() as session:
        session.connection(execution_options={"reading": True})
        return session.scalar(select(func.min(Account.id)).where(Account.id > after))
