"""A thread that checks the broker, so that a process logs an outage when it happens and not when it notices.

A process that queues nothing would not notice an outage at all, and a worker whose broker is frozen waits for
it without an error.
"""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread

from . import broker
from .logs import Outage
from .queue import BROKER, UNREACHABLE, resume
from .settings import Settings

log = logging.getLogger(__name__)
INTERVAL = 2.0  # seconds between two checks; a check takes a millisecond
AGAIN = 1.0  # seconds after a check that failed: one failure is no outage yet


class BrokerMonitor:
    """Check the broker at ``url`` in a thread, and log outages as those of ``outage``.

    Each check signs in anew. Only a check ends an outage: connections that were opened before the broker's
    password was changed still work. ``is_connected`` returns whether the process itself has a connection.
    """

    def __init__(self, url: str, outage: Outage, is_connected: Callable[[], bool] = lambda: True) -> None:
        self._url = url
        self._outage = outage
        self._is_connected = is_connected
        outage.is_monitored = True
        self._failing_since: float | None = None
        self._stopped = Event()

    def start(self) -> None:
        Thread(target=self._run, name="broker monitor", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def check(self) -> None:
        """Check once. Two failures in a row are an outage since the first."""
        began = time.monotonic()
        trouble = broker.trouble(self._url)
        if not trouble:
            self._failing_since = None
            resume(self._url)
            if self._is_connected():
                self._outage.ended(log, by_monitor=True)
        elif self._failing_since is None:
            self._failing_since = began
        else:
            self._outage.began(log, UNREACHABLE, trouble.rstrip("."), since=self._failing_since)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL if self._failing_since is None else AGAIN):
            self.check()


def monitor_broker(part: str, settings: Settings) -> None:
    """Log outages of the broker from now on, as those of ``part``: "web" or "beat"."""
    Outage.part = part
    BrokerMonitor(broker.broker_url(settings), BROKER).start()
