"""The part of a worker that keeps a connection to the broker: Celery's, with one line for an outage.

Celery writes an error for every attempt to reconnect, and nothing when it succeeds.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from .. import broker
from ..broker_monitor import BrokerMonitor
from ..logs import Outage
from ..queue import UNREACHABLE, reason_of

log = logging.getLogger(__name__)
CONSUMER = Outage("The broker")
ACKNOWLEDGES = "celery.worker.request"  # the logger of Celery that acknowledges messages
REFRESHES_BINDINGS = "kombu.transport.redis"
SLOWEST = 5.0  # seconds in which a usable broker answers
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0  # seconds between two attempts to reconnect, growing by the first


class BrokerConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Celery's consumer, which logs when the broker becomes unreachable and when it is back.

    Workers share the database and need not know of one another, so Gossip and Mingle are off however the
    worker was started; Gossip also logs an error of its own when it reconnects.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "without_gossip": True, "without_mingle": True})
        self._monitor: BrokerMonitor | None = None
        self._is_ready = False

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long the broker is away; Celery's own method logs each failed attempt."""
        self._is_ready = False
        connected = conn.ensure_connection(
            lambda error, _interval: _began(error),
            self.app.conf.broker_connection_max_retries,
            interval_start=FIRST_WAIT,
            interval_step=FIRST_WAIT,
            interval_max=LONGEST_WAIT,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        self._wait_until_usable()
        return connected

    def _wait_until_usable(self) -> None:
        """Wait for a broker that accepts connections, but no messages: Redis as a replica."""
        while trouble := broker.trouble(self.app.conf.broker_url, SLOWEST):
            CONSUMER.began(log, UNREACHABLE, trouble.rstrip("."))
            maybe_shutdown()
            time.sleep(FIRST_WAIT)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        _began(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        self._is_ready = False
        _began(exc)
        with _without_lines(logging.getLogger(Consumer.__module__)):
            super().on_connection_error_after_connected(exc)

    def on_ready(self) -> None:
        """Let the recovery be logged: from here on, tasks are received."""
        super().on_ready()
        self._is_ready = True
        CONSUMER.ended(log)
        if self._monitor is None:
            self._monitor = BrokerMonitor(self.app.conf.broker_url, CONSUMER, lambda: self._is_ready)
            self._monitor.start()


def _began(error: Exception) -> None:
    CONSUMER.began(log, UNREACHABLE, reason_of(error))


class _NoOutages(logging.Filter):
    """Drop the lines about what failed because of an outage, which has its own line."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(("Couldn't ack ", "maybe_refresh_binding_expiry: Redis error"))


for _name in (ACKNOWLEDGES, REFRESHES_BINDINGS):
    logging.getLogger(_name).addFilter(_NoOutages())


@contextmanager
def _without_lines(logger: logging.Logger) -> Iterator[None]:
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
