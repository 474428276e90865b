"""What a worker does when it starts, receives a task and stops: handlers of Celery's signals.

``mailganer.worker`` imports this module in a worker only: beat needs neither the database nor the tasks.
"""

from functools import cache
from typing import Any

from celery.signals import (
    task_postrun,
    task_prerun,
    task_received,
    task_revoked,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from . import worker_process
from .queue import enqueue, note_received
from .sending import watchdog
from .sending.process_reports import ProcessReport
from .sending.watchdog import Watchdog, begin_task, end_task, tasks_wait
from .worker import app, connected_to
from .worker_process import request_stop, stop_with_parent


def prepare() -> None:
    """Create what the processes of the pool share with this one, before they are forked."""
    worker_process.begin_worker()
    watchdog.begin_worker()
    _report()


@cache
def _report() -> ProcessReport:
    return ProcessReport("worker", app.mailganer_settings)


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
    dog = Watchdog(lambda: tasks_wait(app), sender.pool.num_processes, request_stop)
    task_received.connect(lambda **_: dog.heard(), weak=False)
    worker_shutting_down.connect(lambda **_: dog.stop(), weak=False)
    dog.start()


def _has_processes(pool: Any) -> bool:
    """Return whether each task has a process: then ``worker_process_init`` was sent in each."""
    return type(pool).__module__.endswith(("prefork", "solo"))


@connected_to(worker_shutting_down)
def _stop_lanes(**_: Any) -> None:
    request_stop()
