"""Watchdog: end a worker that receives no tasks although tasks wait and it is idle, so that it is restarted.

After a broken connection to the broker, a consumer has been seen to reconnect and never consume again,
without a line in the log (celery issues 8030, 8091, 9054); only another process helps. A busy worker need not
receive tasks, so a slow server never ends one.
"""

import logging
import mmap
import os
from collections.abc import Callable
from threading import Event, Thread
from typing import NoReturn

from billiard import current_process
from celery import Celery

from ..broker import connect, count_messages
from ..monotonic import elapsed
from ..queue import BROKEN

log = logging.getLogger(__name__)

LOOK_EVERY = 15.0  # seconds
DEAF_FOR = 180.0  # seconds without receiving a task; longer than any wait for a broker that comes back
FAREWELL = 10.0  # seconds within which emails in flight may be settled, when no process outlives the worker
DEAF = (
    "The worker has heard nothing for %.0f s although tasks wait for it. It ends, to be started again; "
    "recipients stay pending."
)

_busy = mmap.mmap(-1, 256)  # one byte for each pool process; shared with processes that are forked later


def begin_worker() -> None:
    """Share nothing with a worker that was a fork of the same process as this one."""
    global _busy
    _busy = mmap.mmap(-1, 256)


def begin_task() -> None:
    _busy[_place()] = 1


def end_task() -> None:
    _busy[_place()] = 0


def _place() -> int:
    """Return this process's index in ``_busy``. A replacement process takes it over and starts idle."""
    return int(getattr(current_process(), "index", 0)) % len(_busy)


class Watchdog:
    """A thread in the worker's main process that ends the worker when it stops receiving tasks.

    ``waiting`` returns whether tasks wait, or None when that is unknown; ``farewell`` is called before the
    end.
    """

    def __init__(
        self,
        waiting: Callable[[], bool | None],
        processes: int,
        farewell: Callable[[], None] = lambda: None,
        leave: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        self._waiting, self._processes = waiting, processes
        self._farewell, self._leave = farewell, leave
        self._heard = elapsed()
        self._ended = Event()

    def start(self) -> None:
        Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def heard(self) -> None:
        """Record that a task was received."""
        self._heard = elapsed()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            if self._all_busy() or not self._waiting():
                self.heard()
            elif elapsed() - self._heard > DEAF_FOR:
                self._end()

    def _all_busy(self) -> bool:
        return sum(_busy[: len(_busy)]) >= self._processes

    def _end(self) -> None:
        log.critical(DEAF, elapsed() - self._heard)
        self._farewell()
        until = elapsed() + FAREWELL
        while any(_busy[: len(_busy)]) and elapsed() < until:
            self._ended.wait(0.1)
        self._leave(1)


def tasks_wait(app: Celery) -> bool | None:
    """Return whether the queue has messages; None when the broker cannot be asked."""
    connection = connect(str(app.conf.broker_url), 2, socket_timeout=5)
    try:
        with connection:
            return count_messages(connection) > 0
    except (*BROKEN, *connection.connection_errors):
        return None
