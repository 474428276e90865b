"""Registry of periodic jobs. Packages register theirs; the scheduler runs what is due and knows none of them.

A job runs in the transaction of a tick, so it is short: a few statements. Longer work is a Celery task, which
a tick enqueues for each id that its function in :func:`due_ids` returns. ``mailganer.worker`` names the
modules that register jobs and tasks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import or_
from sqlalchemy.orm import Session

from .db import upsert
from .models import PeriodicJobRun

__all__ = ["TaskCall", "Tick", "claim_run", "due_ids", "periodic_job", "registered", "run_jobs"]

EACH_TICK = timedelta(0)


@dataclass(frozen=True)
class TaskCall:
    """A task to enqueue: its name without ``mailganer.``, and its ids."""

    task: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tick:
    """One run of the scheduler, for its jobs."""

    session: Session
    now: datetime
    latest_start: timedelta  # a campaign later than this is paused
    after_commit: list[Callable[[], object]] = field(default_factory=list)  # such as a log line


Run = Callable[[Tick], object]
DueIds = Callable[[Session, datetime], Iterable[int]]


@dataclass(frozen=True)
class _Job:
    name: str
    every: timedelta
    run: Run


@dataclass(frozen=True)
class _Task:
    name: str
    every: timedelta
    ids: DueIds


_JOBS: dict[str, _Job] = {}
_TASKS: dict[str, _Task] = {}


def periodic_job(name: str, every: timedelta = EACH_TICK) -> Callable[[Run], Run]:
    """Register a function that ticks run in their transaction, at most once per interval in all processes."""

    def register(run: Run) -> Run:
        _JOBS[name] = _Job(name, every, run)
        return run

    return register


def due_ids(task: str, every: timedelta = EACH_TICK) -> Callable[[DueIds], DueIds]:
    """Register a function that returns the ids for which ticks enqueue a task."""

    def register(ids: DueIds) -> DueIds:
        _TASKS[task] = _Task(task, every, ids)
        return ids

    return register


def registered() -> list[str]:
    """Return the names of all jobs, in their order, and of all tasks."""
    return [*_JOBS, *_TASKS]


def run_jobs(tick: Tick) -> Callable[[Session], list[TaskCall]]:
    """Run the due jobs in order of registration.

    Return a function that finds the tasks to enqueue; call it after the tick's transaction.
    """
    for job in _JOBS.values():
        if claim_run(tick.session, job.name, job.every, tick.now):
            job.run(tick)
    due = [task for task in _TASKS.values() if claim_run(tick.session, task.name, task.every, tick.now)]
    return lambda session: [
        TaskCall(task.name, (each,)) for task in due for each in task.ids(session, tick.now)
    ]


def claim_run(session: Session, name: str, every: timedelta, now: datetime) -> bool:
    """Record that a job runs now; return False if it ran within ``every``, here or in another process.

    A last run in the future was before the clock was set back.
    """
    if not every:
        return True
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
