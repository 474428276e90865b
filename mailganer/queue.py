"""Task queue: enqueue Celery tasks, by name and ids, after a commit.

The broker only wakes workers. When it is broken, work starts a few seconds later: the row is written, and the
next tick reads it.

A woken worker chooses its work from the database, so one message per task and ids is enough: in Redis a key
marks that one is waiting; with another broker the length of the queue does.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec

import celery
from celery import Celery
from celery.app.amqp import AMQP
from celery.utils import uuid
from kombu.exceptions import KombuError, OperationalError
from kombu.messaging import Producer
from kombu.pools import producers

from . import broker
from .broker import QUEUE, QUEUED_AT, broker_url, count_messages, redis_client
from .logs import Outage
from .settings import Settings

if TYPE_CHECKING:  # sending processes do not need Pyramid
    from pyramid.config import Configurator
    from pyramid.request import Request

P = ParamSpec("P")

log = logging.getLogger(__name__)
BROKER = Outage("The broker")
UNREACHABLE = "The broker is unreachable (%s); retrying"

EXPIRES = {"tick": 360, "plan": 15, "run_lane": 15, "look_up": 60, "import": 360, "reconcile_counts": 43_200}
"""Seconds after which an unread message expires: ticks since then have queued its work again.

The receiver compares with its own clock. A tick's message comes from another machine, whose clock may be
minutes behind, and must arrive all the same; the others are mostly sent and received on one machine.
"""

PUBLISHES = 2.0  # seconds in which Redis takes a message; a frozen one would hold up planning and sending
SLOW_FAILURE = 0.5  # seconds: what fails faster, such as a refused connection, is tried again each time
PAUSE = 10.0  # seconds without another try after a slow failure, unless a monitor finds the broker usable

BROKEN = (KombuError, OperationalError, OSError)

TICK_EVERY = 2.0  # seconds between two ticks
REMEMBERED = 360.0  # seconds a key marks a waiting message, if no worker takes it out of the queue
ON_ITS_WAY = 2.0  # seconds between a key and its message; without one after that, the message was lost
MOST_WAITING = 100  # messages in the queue of a broker without keys; beyond that, nothing is queued


def shared_task(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Declare a function as a task, like ``celery.shared_task``; the function keeps its type."""
    declare: Callable[[Callable[P, None]], Callable[P, None]] = celery.shared_task(name=name)
    return declare


def celery_config(settings: Settings) -> dict[str, Any]:
    """Return the Celery configuration, for producers and workers."""
    url = broker_url(settings)
    return {
        "broker_url": url,
        "broker_transport_options": _transport(url),
        "broker_connection_timeout": 2,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Redis refuses a read when it became a replica, which Celery takes for an error of the channel.
        "broker_channel_error_retry": True,
        "task_default_queue": QUEUE,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_publish_retry": False,
        # A received message is not needed any more: whatever happens, the next tick reads the rows again.
        # Acknowledging later would end the worker when the broker is gone by then (Redis: the channel of the
        # acknowledgement has no connection any more), in the middle of its emails.
        "task_acks_late": False,
        # No prefetching: a message held by a busy worker could be handled by a free one.
        "worker_disable_prefetch": url.startswith("redis"),
        "worker_prefetch_multiplier": 1,
        # Nothing is cancelled without late acknowledgement; False makes Celery log a warning at each outage.
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_consumer": "mailganer.sending.broker_consumer:BrokerConsumer",
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "timezone": "UTC",
        "enable_utc": True,
        "beat_scheduler": "mailganer.worker:Ticker",
    }


def _transport(url: str) -> dict[str, Any]:
    """Return transport options with short timeouts, so that no page waits for a broker that is down."""
    if url.startswith("amqp"):
        return {"max_retries": 1, "interval_start": 0, "interval_max": 0.2, "connect_timeout": 2}
    return {
        "max_retries": 1,
        "interval_start": 0,
        "interval_max": 0.2,
        "socket_connect_timeout": 2,
        "socket_timeout": 5,  # a worker asks for one second; see also PUBLISHES
        "socket_keepalive": not url.startswith("redis+socket"),
    }


class ImpatientAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's messaging, which waits less for a frozen broker when it publishes than when it reads."""

    _producer_pool: Any = None  # set to None again by Celery in a forked process

    @property
    def producer_pool(self) -> Any:
        if self._producer_pool is None:
            redis = self.app.conf.broker_url.startswith("redis")
            options = {"socket_timeout": PUBLISHES} if redis else {}
            self._producer_pool = producers[self.app.connection_for_write(transport_options=options)]
            self._producer_pool.limit = self.app.pool.limit
        return self._producer_pool


class _Paused(OperationalError):
    """The broker is not tried, because it failed slowly a moment ago."""


_paused_until: dict[str, float] = {}  # monotonic times by the broker's URL


def resume(url: str) -> None:
    """Try the broker again at once: it is usable."""
    _paused_until.pop(url, None)


def enqueue(app: Celery, task: str, *ids: int) -> bool:
    """Enqueue a task by name, unless one for the same ids waits.

    Return False when the broker is unreachable.
    """
    name = task.removeprefix("mailganer.")
    try:
        with _producer(app) as producer:
            message_id = uuid()
            if not _is_waiting(producer.connection, name, ids, message_id):
                app.send_task(
                    f"mailganer.{name}",
                    args=ids,
                    task_id=message_id,
                    retry=False,
                    expires=EXPIRES.get(name),
                    headers={QUEUED_AT: broker.now(producer.connection)},
                    producer=producer,
                )
    except _Paused:
        return False
    except BROKEN as error:
        BROKER.began(log, UNREACHABLE, reason_of(error))
        return False
    BROKER.ended(log)
    return True


def reason_of(error: BaseException) -> str:
    """Return the words of a broker's error without their full stop; its type when it has none."""
    return str(error).strip().rstrip(".") or type(error).__name__


def note_received(app: Celery, task: str, ids: Any, message_id: str) -> None:
    """Record that a worker received a message, so that the next one for these ids is queued again.

    A duplicate that arrives late changes nothing: the key then holds the id of a newer message.
    """
    try:
        with _producer(app) as producer:
            client = redis_client(producer.connection)
            key = _key(task.removeprefix("mailganer."), tuple(ids))
            if client and client.get(key) == message_id.encode():
                client.delete(key)
    except _Paused:
        return
    except BROKEN as error:
        BROKER.began(log, UNREACHABLE, reason_of(error))


def is_empty(app: Celery) -> bool:
    """Return whether no message waits.

    While one does, no worker process is free, and waking one is useless.
    """
    try:
        with _producer(app) as producer:
            return count_messages(producer.connection) == 0
    except BROKEN:
        return True  # the next enqueue logs the warning


@contextmanager
def _producer(app: Celery) -> Iterator[Producer]:
    url = app.conf.broker_url
    if time.monotonic() < _paused_until.get(url, 0.0):
        raise _Paused
    with app.producer_pool.acquire(block=True) as producer:
        connection, begun = producer.connection, time.monotonic()
        try:
            yield producer
        except (*BROKEN, *connection.connection_errors, *connection.channel_errors) as error:
            if time.monotonic() - begun > SLOW_FAILURE:
                _paused_until[url] = time.monotonic() + PAUSE
            if isinstance(error, BROKEN):
                raise
            raise OperationalError(str(error)) from error


def _key(name: str, ids: tuple[int, ...]) -> str:
    subject = () if name == "tick" else ids  # beat of an older version sends a number with its tick
    return ".".join(map(str, (QUEUE, "waiting", name, *subject)))


def _is_waiting(connection: Any, name: str, ids: tuple[int, ...], message_id: str) -> bool:
    """Return whether a message of this name and ids is in the queue already, as far as the broker shows.

    A key without a message (a worker was killed with it) holds nothing up: in an empty queue it is ignored.
    """
    client = redis_client(connection)
    if client is None:
        return count_messages(connection) >= (1 if name == "tick" else MOST_WAITING)
    key, kept = _key(name, ids), int(REMEMBERED * 1000)
    if client.set(key, message_id, nx=True, px=kept):
        return False
    if client.pttl(key) > kept - ON_ITS_WAY * 1000 or client.llen(QUEUE):
        return True
    client.set(key, message_id, px=kept)
    return False


def enqueue_after_commit(request: "Request", task: str, *ids: int) -> None:
    """Enqueue a task after the request's transaction has been committed.

    ``enqueue_after_commit(request, "tick")`` after a change that makes a campaign ready to send;
    ``enqueue_after_commit(request, "import", import_id)`` after an upload. Never raises, and does nothing
    when the transaction is rolled back.
    """
    app: Celery = request.registry["celery"]

    def after(committed: bool) -> None:
        if committed:
            enqueue(app, task, *ids)

    request.tm.get().addAfterCommitHook(after)


def includeme(config: "Configurator") -> None:
    app = Celery("mailganer", set_as_current=False, amqp=ImpatientAMQP)
    app.config_from_object(celery_config(config.registry["settings"]))
    config.registry["celery"] = app
