"""Ends a worker that hears nothing although tasks wait and it has hands free. Who runs it starts it again.

A consumer whose connection to the broker broke has been seen to come back and never to listen again, without
a word in the log (celery issues 8030, 8091, 9054): nothing but another process helps. What a busy worker does
not hear it need not hear, so a server that answers slowly never ends one.
"""

import logging
import mmap
import os
from collections.abc import Callable
from threading import Event, Thread
from typing import NoReturn

from billiard import current_process
from celery import Celery
from kombu import Connection

from ..broker import count_messages
from ..queue import BROKEN
from .clock import elapsed

log = logging.getLogger(__name__)

LOOK_EVERY = 15.0  # seconds
DEAF_FOR = 180.0  # seconds without hearing anything; longer than any wait for a broker that comes back
FAREWELL = 10.0  # seconds in which emails on their way may be settled, where nobody survives the worker
DEAF = (
    "The worker has heard nothing for %.0f s although tasks wait for it. It ends, to be started again; "
    "recipients stay pending."
)

_BUSY = mmap.mmap(-1, 256)  # a byte for each process of the pool; shared with those that are forked later


def begin_task() -> None:
    _BUSY[_place()] = 1


def end_task() -> None:
    _BUSY[_place()] = 0


def _place() -> int:
    """Of this process. One that follows another has its place, and begins with nothing to do."""
    return int(getattr(current_process(), "index", 0)) % len(_BUSY)


class Watchdog:
    """In the worker's main process, in a thread of its own.

    ``waiting`` says whether tasks wait, and None where nobody knows; ``farewell`` is called before the end.
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
        """A task has come in."""
        self._heard = elapsed()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            if self._all_busy() or not self._waiting():
                self.heard()
            elif elapsed() - self._heard > DEAF_FOR:
                self._end()

    def _all_busy(self) -> bool:
        return sum(_BUSY[: len(_BUSY)]) >= self._processes

    def _end(self) -> None:
        log.critical(DEAF, elapsed() - self._heard)
        self._farewell()
        until = elapsed() + FAREWELL
        while any(_BUSY[: len(_BUSY)]) and elapsed() < until:
            self._ended.wait(0.1)
        self._leave(1)


def tasks_wait(app: Celery) -> bool | None:
    """Whether there is anything in the queue; None: the broker does not say."""
    url = str(app.conf.broker_url)
    options = {} if url.startswith("amqp") else {"socket_timeout": 5, "socket_connect_timeout": 2}
    try:
        with Connection(url, connect_timeout=2, transport_options=options) as connection:
            return count_messages(connection) > 0
    except (*BROKEN, *Connection(url).connection_errors):
        return None
