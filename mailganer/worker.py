"""The Celery application: ``celery -A mailganer.worker worker --ini production.ini``; or ``MAILGANER_INI``.

Nothing is opened here: the pool's processes are forked from this one, and each opens its own database
connection.
"""

import logging
import os
import secrets
import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from celery import Celery
from celery.beat import Scheduler
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    celeryd_init,
    task_postrun,
    task_prerun,
    task_received,
    task_revoked,
    user_preload_options,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.utils.dispatch import Signal
from click import Option
from kombu.transport.virtual import Channel

from .cli.common import find_ini
from .clock import elapsed
from .errors import SettingsError
from .logs import configure_part, write_warning
from .queue import BROKER, celery_config, enqueue, note_received
from .sending.process_reports import ProcessReport
from .sending.scheduler.tick import EVERY
from .sending.watchdog import Watchdog, begin_task, end_task, tasks_wait
from .settings import Settings, load
from .worker_process import request_stop, stop_with_parent

Function = TypeVar("Function", bound=Callable[..., Any])

log = logging.getLogger(__name__)

# Modules that register Celery tasks and periodic jobs, in the order in which a tick runs the jobs.
TASK_MODULES = ("mailganer.sending.tasks", "mailganer.audience.tasks", "mailganer.accounts.expired_rows")


class Worker(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery with the settings of an installation, loaded on first use."""

    @property
    def mailganer_settings(self) -> Settings:
        return _settings()


@cache
def _settings() -> Settings:
    try:
        return load(find_ini(None))
    except SettingsError as error:
        sys.exit("\n".join(error.problems))


@cache
def _report() -> ProcessReport:
    """Return the report of this worker, created before the pool is forked, so that its processes share it."""
    return ProcessReport("worker", _settings())


def connected_to(signal: Signal) -> Callable[[Function], Function]:
    """Connect a function to a signal of Celery, like ``signal.connect``; the function keeps its type."""
    connect: Callable[[Function], Function] = signal.connect
    return connect


# Kombu returns a worker's unfinished messages to the queue when its connection is closed; also when it is
# closed because the broker is gone, and there (Redis) the attempt ends the worker amid its emails. Returning
# them is unnecessary: a message only wakes a worker, and the next tick queues the work again.
Channel.do_restore = False

app = Worker("mailganer")
app.add_defaults(lambda: celery_config(_settings()) | {"imports": TASK_MODULES})
app.user_options["preload"].add(Option(["--ini"], help="The settings file; else MAILGANER_INI."))


@connected_to(celeryd_init)
def _write_first_warnings(**_: Any) -> None:
    if not _settings().development:
        warnings.showwarning = write_warning  # until Celery sets up logging


@connected_to(celeryd_init)
def _leave_outages_to_consumer(**_: Any) -> None:
    """Let only the consumer log that the broker is away, not each process of the pool as well."""
    BROKER.mute()


@connected_to(celeryd_init)
def _prepare_report(**_: Any) -> None:
    _report()


@connected_to(after_setup_logger)
@connected_to(after_setup_task_logger)
def _write_one_format(logger: logging.Logger, **_: Any) -> None:
    configure_part(_settings().development, logger.handlers)


@connected_to(user_preload_options)
def _name_ini(options: dict[str, Any], **_: Any) -> None:
    if ini := options.get("ini"):
        os.environ["MAILGANER_INI"] = ini
        _settings.cache_clear()


@connected_to(worker_process_init)
def _begin_process(**_: Any) -> None:
    stop_with_parent()
    end_task()  # the process that had this index before may have died during a task
    _report().start()


@connected_to(task_prerun)
def _begin_task(task: Any, args: Any, task_id: str, **_: Any) -> None:
    begin_task()
    note_received(app, task.name, args, task_id)


@connected_to(task_revoked)
def _drop_expired(sender: Any, request: Any, **_: Any) -> None:
    note_received(app, sender.name, request.args, request.id)


@connected_to(task_postrun)
def _end_task(**_: Any) -> None:
    end_task()


@connected_to(worker_ready)
def _tick_at_once(**_: Any) -> None:
    """Repair now what an earlier worker left, without waiting for the next tick."""
    enqueue(app, "tick")


@connected_to(worker_ready)
def _report_threads(sender: Any, **_: Any) -> None:
    """Report a pool of threads from here: it has no process of its own, and nothing is forked."""
    if not _has_processes(sender.pool):
        _report().start()


@connected_to(worker_shutdown)
def _end_report(**_: Any) -> None:
    _report().end()


@connected_to(worker_ready)
def _watch(sender: Any, **_: Any) -> None:
    if not _has_processes(sender.pool):
        return  # of threads it is unknown which are busy
    watchdog = Watchdog(lambda: tasks_wait(app), sender.pool.num_processes, request_stop)
    task_received.connect(lambda **_: watchdog.heard(), weak=False)
    worker_shutting_down.connect(lambda **_: watchdog.stop(), weak=False)
    watchdog.start()


def _has_processes(pool: Any) -> bool:
    """Return whether each task has a process: then ``worker_process_init`` was sent in each."""
    return type(pool).__module__.endswith(("prefork", "solo"))


@connected_to(worker_shutting_down)
def _stop_lanes(**_: Any) -> None:
    request_stop()


class Ticker(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Beat scheduler that enqueues a tick every two seconds by a monotonic clock, and keeps no state."""

    def setup_schedule(self) -> None:
        self._due = elapsed()
        self._id = 2 + secrets.randbelow(2**31 - 2)  # earlier versions sent 1

    def tick(self, *_: Any, **__: Any) -> float:
        now = elapsed()
        if now >= self._due:
            enqueue(self.app, "tick", self._id)
            self._due = now + EVERY
        return max(0.0, self._due - elapsed())
