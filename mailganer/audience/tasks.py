"""Celery tasks of the audience: imports."""

from collections.abc import Iterable
from datetime import datetime

from celery import current_app
from sqlalchemy.orm import Session

from .. import periodic_jobs
from ..queue import enqueue, shared_task
from ..worker_process import fits, is_stopping, tolerates_outage, worker_process
from . import imports

__all__ = ["due_imports", "run_import"]

TURN = 30.0  # seconds; then what is left is queued behind the other messages


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
