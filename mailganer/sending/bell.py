"""The broker is a bell: tasks carry a name and ids, and are rung for after the commit.

When the bell is broken nobody notices but by a few seconds: the row is written, and the next tick reads it.
"""

import logging
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from ..broker import broker_url
from ..settings import Settings

if TYPE_CHECKING:  # processes that send have no use for Pyramid
    from pyramid.config import Configurator
    from pyramid.request import Request

log = logging.getLogger(__name__)

QUEUE = "mailganer"
EXPIRES = {"tick": 360, "pump": 15, "look_up": 60}
"""Seconds after which a ring that nobody heard is forgotten: the ticks since then have rung again.

Whoever hears one compares by its own clock. A tick is rung by another machine, whose clock may be minutes
behind, and comes all the same; the others are mostly rung and heard on one.
"""

BROKEN = (KombuError, OperationalError, OSError)


def celery_config(settings: Settings) -> dict[str, Any]:
    """How Celery is used, by whoever rings and by whoever hears."""
    url = broker_url(settings)
    return {
        "broker_url": url,
        "broker_transport_options": _transport(url),
        "broker_connection_timeout": 2,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_default_queue": QUEUE,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_publish_retry": False,
        # A bell that was heard is no longer needed: whatever comes of it, the next tick reads the rows again.
        # Answering for it later would end the worker when the broker is gone by then (Redis: the answer's
        # channel has no connection any more), in the middle of its letters.
        "task_acks_late": False,
        # Nobody keeps a bell for later: one that is heard by a busy worker could be heard by a free one.
        "worker_disable_prefetch": url.startswith("redis"),
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "timezone": "UTC",
        "enable_utc": True,
        "beat_scheduler": "mailganer.worker:Ticker",
        "imports": ("mailganer.sending.tasks",),
    }


def _transport(url: str) -> dict[str, Any]:
    """A page does not wait for a broker that is down."""
    if url.startswith("amqp"):
        return {"max_retries": 1, "interval_start": 0, "interval_max": 0.2, "connect_timeout": 2}
    return {
        "max_retries": 1,
        "interval_start": 0,
        "interval_max": 0.2,
        "socket_connect_timeout": 2,
        "socket_keepalive": not url.startswith("redis+socket"),
    }


def ring(app: Celery, task: str, *ids: int) -> bool:
    """Queues a task by name; answers whether the broker took it."""
    name = task.removeprefix("mailganer.")
    try:
        app.send_task(f"mailganer.{name}", args=ids, retry=False, expires=EXPIRES.get(name))
    except BROKEN as error:
        log.warning("%s could not be queued, the next tick will see to it: %s", name, error)
        return False
    return True


def wake(request: "Request", task: str, *ids: int) -> None:
    """Queues a task after the request's transaction has been committed.

    ``wake(request, "tick")`` after anything that makes a campaign go; ``wake(request, "import", import_id)``
    after an upload. Never fails, and never runs for a transaction that is rolled back.
    """
    app: Celery = request.registry["celery"]

    def after(committed: bool) -> None:
        if committed:
            ring(app, task, *ids)

    request.tm.get().addAfterCommitHook(after)


def includeme(config: "Configurator") -> None:
    app = Celery("mailganer", set_as_current=False)
    app.config_from_object(celery_config(config.registry["settings"]))
    config.registry["celery"] = app
