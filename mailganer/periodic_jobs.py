"""Periodic jobs: work that one process does at intervals, whichever process runs the tick."""

from datetime import datetime, timedelta

from sqlalchemy import or_
from sqlalchemy.orm import Session

from .db import upsert
from .models import PeriodicJobRun

__all__ = ["claim_run"]


def claim_run(session: Session, name: str, every: timedelta, now: datetime) -> bool:
    """Record that a job runs now; return False if it ran within ``every``, here or in another process.

    A last run in the future was before the clock was set back.
    """
    last = session.get(PeriodicJobRun, name, populate_existing=True)
    if last and timedelta(0) <= now - last.ran_at < every:
        return False
    row = upsert(session, PeriodicJobRun).values(name=name, ran_at=now)
    claimed = row.on_conflict_do_update(
        index_elements=[PeriodicJobRun.name],
        set_={"ran_at": now},
        where=or_(PeriodicJobRun.ran_at <= now - every, PeriodicJobRun.ran_at > now),
    ).returning(PeriodicJobRun.name)
    return session.scalar(claimed) is not None
