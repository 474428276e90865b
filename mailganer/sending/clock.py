"""Two clocks: the moments that go into the database, and the seconds that leases are measured in.

Leases, due times and quotas are compared by many machines, so their moments come from the database's clock.
How long something has lasted here is never computed from moments: those can be set back.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ..db import utcnow

ASK_EVERY = 30.0  # seconds; a quartz drifts by a millisecond in that time


def elapsed() -> float:
    """Seconds of a clock that only goes forward, through a suspended machine too where the system has one."""
    if _BOOTTIME is not None:
        return time.clock_gettime(_BOOTTIME)
    return time.monotonic()


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class FastClock:
    """Another clock's moments, going by ``speed`` times as fast since a moment all processes agree on.

    For trying out what takes days (``mailganer drill``): everything that is decided by moments passes sooner.
    """

    def __init__(self, clock: Callable[[], datetime], since: datetime, speed: float) -> None:
        self._clock, self._since, self._speed = clock, since, speed

    def __call__(self) -> datetime:
        return self._since + (self._clock() - self._since) * self._speed


class DatabaseClock:
    """The database's moments without asking it for each: asked now and then, counted on in between.

    An SQLite file has no clock but ours; a wrong one there concerns one machine only.
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
                moment = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        except SQLAlchemyError:
            # Out of reach: what is known is counted on. Whoever needs the database notices by itself.
            moment = self._moment + timedelta(seconds=now - (self._asked_at or now))
        self._moment, self._asked_at = moment.astimezone(UTC), now
