"""The Celery application: ``celery -A mailganer.worker worker --ini production.ini``; or ``MAILGANER_INI``.

Nothing is opened here: the pool's processes are forked from this one, and each opens its own database
connection. What only a worker needs is imported when one starts: beat and commands use the application too.
"""

import logging
import os
import secrets
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from celery import Celery
from celery.beat import Scheduler
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    beat_init,
    celeryd_init,
    user_preload_options,
)
from celery.utils.dispatch import Signal
from click import Option
from kombu.transport.virtual import Channel

from .broker_monitor import monitor_broker
from .cli.common import find_ini
from .errors import SettingsError
from .logs import Outage, configure_part, write_warning
from .monotonic import elapsed
from .queue import BROKER, TICK_EVERY, ImpatientAMQP, celery_config, enqueue
from .settings import Settings, load

Function = TypeVar("Function", bound=Callable[..., Any])

# Modules that register Celery tasks and periodic jobs, in the order in which a tick runs the jobs.
TASK_MODULES = ("mailganer.sending.tasks", "mailganer.audience.tasks", "mailganer.accounts.expired_rows")


class Worker(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery with the settings of an installation, loaded on first use."""

    amqp_cls = ImpatientAMQP

    @property
    def mailganer_settings(self) -> Settings:
        return _settings()


@cache
def _settings() -> Settings:
    try:
        return load(find_ini(None))
    except SettingsError as error:
        sys.exit("\n".join(error.problems))


def connected_to(signal: Signal) -> Callable[[Function], Function]:
    """Connect a function to a signal of Celery, like ``signal.connect``; the function keeps its type."""
    connect: Callable[[Function], Function] = signal.connect
    return connect


# Kombu returns a worker's unfinished messages to the queue when its connection is closed; also when it is
# closed because the broker is gone, and there (Redis) the attempt ends the worker amid its emails. Returning
# them is unnecessary: a message only wakes a worker, and the next tick queues the work again.
Channel.do_restore = False

app = Worker("mailganer")
app.add_defaults(lambda: celery_config(_settings()))
app.user_options["preload"].add(Option(["--ini"], help="The settings file; else MAILGANER_INI."))


@connected_to(celeryd_init)
def _write_first_warnings(**_: Any) -> None:
    if not _settings().development:
        warnings.showwarning = write_warning  # until Celery sets up logging


@connected_to(celeryd_init)
def _name_part(**_: Any) -> None:
    Outage.part = "worker"


@connected_to(beat_init)
def _monitor_broker_in_beat(**_: Any) -> None:
    monitor_broker("beat", _settings())


@connected_to(celeryd_init)
def _leave_outages_to_consumer(**_: Any) -> None:
    """Let only the consumer log that the broker is away, not each process of the pool as well."""
    BROKER.mute()


@connected_to(celeryd_init)
def _load_worker(**_: Any) -> None:
    """Import the tasks here, not by Celery's setting ``imports``, which beat obeys as well."""
    for module in TASK_MODULES:
        import_module(module)
    from .worker_events import prepare

    prepare()


@connected_to(after_setup_logger)
@connected_to(after_setup_task_logger)
def _write_one_format(logger: logging.Logger, **_: Any) -> None:
    configure_part(_settings().development, logger.handlers)


@connected_to(user_preload_options)
def _name_ini(options: dict[str, Any], **_: Any) -> None:
    if ini := options.get("ini"):
        os.environ["MAILGANER_INI"] = ini
        _settings.cache_clear()


class Ticker(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Beat scheduler that enqueues a tick every two seconds by a monotonic clock, and keeps no state."""

    def setup_schedule(self) -> None:
        self._due = elapsed()
        self._id = 2 + secrets.randbelow(2**31 - 2)  # earlier versions sent 1

    def tick(self, *_: Any, **__: Any) -> float:
        now = elapsed()
        if now >= self._due:
            enqueue(self.app, "tick", self._id)
            self._due = now + TICK_EVERY
        return max(0.0, self._due - elapsed())
