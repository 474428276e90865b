"""The process that runs Celery tasks: its database, its clock, and when it must not work. For all packages.

Each task may run twice, late, never, or for something that was deleted.
"""

import logging
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, wraps
from typing import ParamSpec

from celery import current_app
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from .clock import DatabaseClock, FastClock
from .db import DATABASE, OUT_OF_REACH, make_engine, make_sessions, trouble_of
from .migrations import current, newest
from .settings import Settings

__all__ = [
    "WorkerProcess",
    "begin_worker",
    "emails_in_flight",
    "fits",
    "is_stopping",
    "leave_with_parent",
    "request_stop",
    "stop_with_parent",
    "tolerates_outage",
    "worker_process",
    "worker_settings",
]

log = logging.getLogger(__name__)
P = ParamSpec("P")


@dataclass(frozen=True)
class WorkerProcess:
    """What a task works with. Opens no connection by itself; created after the pool is forked."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    now: Callable[[], datetime]
    speed: float  # how fast ``now`` runs; see FastClock

    @classmethod
    def of(cls, settings: Settings, now: Callable[[], datetime] | None = None) -> "WorkerProcess":
        engine = make_engine(settings.database_url)
        clock, speed = now or DatabaseClock(engine), 1.0
        if settings.fast_clock is not None:
            since, speed = settings.fast_clock
            clock = FastClock(clock, since, speed)
        return cls(settings, engine, make_sessions(engine), clock, speed)

    def schema(self) -> str | None:
        """Return the database's schema revision, or None when it has none yet."""
        return current(self.engine.execution_options(reading=True))


def worker_process() -> WorkerProcess:
    """Return this process's database and clock, created after the fork and cached."""
    return _worker_process(os.getpid())


@cache
def _worker_process(pid: int) -> WorkerProcess:
    return WorkerProcess.of(worker_settings())


def worker_settings() -> Settings:
    settings: Settings = current_app.mailganer_settings
    return settings


def tolerates_outage(task: Callable[P, None]) -> Callable[P, None]:
    """Log an unreachable database instead of raising: when it is back, the next tick queues what is due.

    A lane logs an outage by itself and returns, so a task that returned does not always show that it is over.
    """

    @wraps(task)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        failures = DATABASE.failures
        try:
            task(*arguments, **options)
        except OUT_OF_REACH as error:
            DATABASE.began(log, "%s: the database is in trouble: %s", task.__name__, trouble_of(error))
        else:
            if DATABASE.failures == failures:
                DATABASE.ended(log)

    return run


# --- the schema

_misfit: str | None = ""  # the wrong schema that this process logged last; empty: none


def fits(found: str | None) -> bool:
    """Return whether ``found``, the database's schema, is the one this program was made for.

    The meaning of a later schema is unknown, and so is whether what an earlier one lacks is needed. Under any
    other schema this process claims nothing and changes nothing, logs that once, and continues when
    it fits.
    """
    global _misfit
    if found == _newest():
        if _misfit != "":
            log.warning(
                "The database has schema %s again, which this program was made for: it continues.", found
            )
            _misfit = ""
        return True
    if found != _misfit:
        log.error(_MISFIT, found or "none", _newest())
        _misfit = found
    return False


_MISFIT = (
    "The database has schema %s, this program was made for %s. It sends nothing until they fit: run "
    "mailganer migrate with the newer version, and start the workers of that version."
)
_newest = cache(newest)


# --- stopping

_stop = mmap.mmap(-1, 1)  # shared with the processes of the pool, which are forked later
_parent = 0  # the worker whose pool this process belongs to


def begin_worker() -> None:
    """Share nothing with a worker that was a fork of the same process as this one, and was stopped."""
    global _stop
    _stop = mmap.mmap(-1, 1)


def request_stop() -> None:
    """Stop opening windows, in this process and in those it has forked."""
    _stop[0] = 1


def is_stopping() -> bool:
    return _stop[0] != 0


def stop_with_parent() -> None:
    """In a pool process: end the turn cleanly when the parent worker is lost."""
    global _parent
    _parent = os.getppid()


@contextmanager
def emails_in_flight() -> Iterator[None]:
    """Let emails in flight be settled after a SIGTERM to the whole group or because the worker is gone.

    The handler is installed only while there are any, and not from the start: the pool sets its own handler
    after its processes have started, and that one exits in the middle of an email.
    """
    if not _parent:  # not a pool process
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: request_stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_with_parent() -> None:
    """Exit when the parent worker is gone: an orphan of the pool gets no more tasks."""
    if _parent and os.getppid() != _parent:
        os.kill(os.getpid(), signal.SIGKILL)
