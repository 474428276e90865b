"""Clocks for stored timestamps. For durations see :mod:`mailganer.monotonic`.

Leases, due times and quotas are compared by many machines, so their timestamps come from the database's
clock. Durations within a process are never computed from timestamps, because the wall clock can be set back.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from .db import utcnow
from .monotonic import elapsed

ASK_EVERY = 30.0  # seconds between two queries; a quartz clock drifts by about a millisecond in that time


class FastClock:
    """A clock that runs ``speed`` times as fast as another one, from a start time that all processes share.

    Lets ``mailganer drill`` pass days in minutes: everything scheduled by timestamps happens sooner.
    """

    def __init__(self, clock: Callable[[], datetime], since: datetime, speed: float) -> None:
        self._clock, self._since, self._speed = clock, since, speed

    def __call__(self) -> datetime:
        return self._since + (self._clock() - self._since) * self._speed


class DatabaseClock:
    """The database's current time, extrapolated between occasional queries.

    SQLite has no clock other than this machine's; a wrong clock there affects one machine only.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._asked_at: float | None = None
        self._moment = utcnow()

    def __call__(self) -> datetime:
        if self._engine.dialect.name == "sqlite":
            return utcnow()
        with self._lock:
            now = elapsed()
            if self._asked_at is None or now - self._asked_at > ASK_EVERY:
                self._ask(now)
            return self._moment + timedelta(seconds=now - (self._asked_at or now))

    def _ask(self, now: float) -> None:
        try:
            with self._engine.connect() as connection:
                now_utc = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        except SQLAlchemyError:
            # The database is unreachable, so extrapolate from the last known time. Code that needs the
            # database detects the failure itself.
            now_utc = self._moment + timedelta(seconds=now - (self._asked_at or now))
        self._moment, self._asked_at = now_utc.astimezone(UTC), now
