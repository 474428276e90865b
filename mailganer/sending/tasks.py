"""Celery tasks of workers. Each may run twice, late, never, or for something that was deleted.

A message wakes a worker process. After the work the message names, the process chooses further work from the
database until there is none, so no work depends on a message of its own.
"""

import logging
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, wraps
from typing import ParamSpec

from celery import current_app
from sqlalchemy import select

from ..audience.imports import run_import as work_on_import
from ..db import DATABASE, OUT_OF_REACH, trouble_of
from ..migrations import newest
from ..models import Heartbeat
from ..queue import enqueue, enqueue_after_commit, is_empty, shared_task
from ..settings import Settings
from . import in_doubt
from .clock import elapsed
from .context import SendingContext, open_sending_context
from .scheduler import plan, tick
from .scheduler.due_work import DueWork, TaskCall, others_wait
from .worker.lane import LaneRunner

__all__ = [
    "enqueue_after_commit",
    "look_up",
    "plan_campaign",
    "request_stop",
    "run_import",
    "run_lane",
    "run_tick",
]

log = logging.getLogger(__name__)
P = ParamSpec("P")

TURN = 30.0  # seconds of a process's turn; then what is left is queued behind the other messages
SHORTEST_TURN = 5.0  # seconds before a sender's turn can be cut short: opening a connection takes time, too
LOOK_EVERY = 1.0  # seconds between two checks for waiting work
LATE_TICK = timedelta(seconds=1.5 * tick.EVERY)
JUST_NOW = timedelta(seconds=tick.SOON)
WAKE_UPS = tick.MAX_LANE_TASKS  # messages about plans and lanes queued by one tick: more than free processes
IMPORT_TURN = 30.0  # seconds


# --- the sending context of this process


def sending_context() -> SendingContext:
    """Return this process's sending context, created after the fork and cached."""
    return _sending_context(os.getpid())


@cache
def _sending_context(pid: int) -> SendingContext:
    return open_sending_context(worker_settings())


def worker_settings() -> Settings:
    settings: Settings = current_app.mailganer_settings
    return settings


# --- the schema

_misfit: str | None = ""  # the wrong schema that this process logged last; empty: none


def schema_fits(here: SendingContext) -> bool:
    """Return whether the database has the schema this program was made for.

    The meaning of a later schema is unknown, and so is whether what an earlier one lacks is needed. Under any
    other schema this process claims nothing and changes nothing, logs that once, and continues when
    it fits.
    """
    global _misfit
    found = here.schema()
    if found == _newest():
        if _misfit != "":
            log.warning(
                "The database has schema %s again, which this program was made for: it goes on.", found
            )
            _misfit = ""
        return True
    if found != _misfit:
        log.error(_MISFIT, found or "none", _newest())
        _misfit = found
    return False


_MISFIT = (
    "The database has schema %s, this program was made for %s. It sends nothing until they fit: run "
    "mailganer migrate with the newer version, and start the workers of that version."
)
_newest = cache(newest)


# --- stopping

_STOP = mmap.mmap(-1, 1)  # shared with the processes of the pool, which are forked later
_parent = 0  # the worker whose pool this process belongs to


def request_stop() -> None:
    """Stop opening windows, in this process and in those it has forked."""
    _STOP[0] = 1


def is_stopping() -> bool:
    return _STOP[0] != 0


def stop_with_parent() -> None:
    """In a pool process: end the turn cleanly when the parent worker is lost."""
    global _parent
    _parent = os.getppid()


@contextmanager
def _listening() -> Iterator[None]:
    """Let emails in flight be settled after a SIGTERM to the whole group or because the worker is gone.

    The handler is installed only while there are any, and not from the start: the pool sets its own handler
    after its processes have started, and that one exits in the middle of an email.
    """
    if not _parent:  # not a pool process
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: request_stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave_with_parent() -> None:
    """Exit when the parent worker is gone: an orphan of the pool gets no more tasks."""
    if _parent and os.getppid() != _parent:
        os.kill(os.getpid(), signal.SIGKILL)


# --- the tasks


def _tolerates_outage(task: Callable[P, None]) -> Callable[P, None]:
    """Log an unreachable database instead of raising: when it is back, the next tick queues what is due.

    A lane logs an outage by itself and returns, so a task that returned does not always show that it is over.
    """

    @wraps(task)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        failures = DATABASE.failures
        try:
            task(*arguments, **options)
        except OUT_OF_REACH as error:
            DATABASE.began(log, "%s: the database is in trouble: %s", task.__name__, trouble_of(error))
        else:
            if DATABASE.failures == failures:
                DATABASE.ended(log)

    return run


@shared_task(name="mailganer.tick")
@_tolerates_outage
def run_tick(beat_id: int = 0) -> None:
    """Run a tick, then work. ``beat_id`` names the beat that queued it; 0 and 1 name none."""
    here = sending_context()
    if schema_fits(here):
        if beat_id > 1:
            tick.note_beat(here, beat_id)
        _tick(here)
        _work(here)


@shared_task(name="mailganer.plan")
@_tolerates_outage
def plan_campaign(campaign_id: int) -> None:
    here = sending_context()
    if schema_fits(here):
        _work(here, TaskCall("plan", (campaign_id,)))


@shared_task(name="mailganer.run_lane")
@_tolerates_outage
def run_lane(sender_id: int, number: int = 0) -> None:
    here = sending_context()
    if schema_fits(here):
        _work(here, TaskCall("run_lane", (sender_id, number)))


def _work(here: SendingContext, first: TaskCall | None = None) -> None:
    """Do what is due, ``first`` before the rest, until nothing is or the turn is over."""
    work, until = DueWork(here), elapsed() + TURN
    call = first if first and work.is_due(first) else work.choose()
    has_done = False
    while call and not is_stopping() and schema_fits(here):
        if _do(here, work, call, max(SHORTEST_TURN, until - elapsed())):
            has_done = True
        else:
            work.leave_alone(call)
        _tick_if_late(here)
        call = work.choose()
        if call and elapsed() >= until and _is_handed_over(call):
            break
    if has_done and not is_stopping():
        _tick(here)  # a campaign may be finished now


def _is_handed_over(call: TaskCall) -> bool:
    """Return whether a queued message will make some process continue with what is left."""
    return not is_empty(current_app) or enqueue(current_app, call.task, *call.ids)


def _do(here: SendingContext, work: DueWork, call: TaskCall, seconds: float) -> bool:
    """Plan a campaign or run a lane; return whether that changed anything. Errors are logged, not raised."""
    try:
        if call.task == "plan":
            return plan.plan(here, call.ids[0], is_stopping)
        return _run_lane(here, work, *call.ids, seconds=seconds)
    except OUT_OF_REACH:
        raise
    except Exception:
        log.exception("%s %s broke", call.task, call.ids)
        return False


def _run_lane(here: SendingContext, work: DueWork, sender_id: int, number: int, *, seconds: float) -> bool:
    lane = LaneRunner(here, sender_id, number, stopped=is_stopping, yields=_yields(here, work, sender_id))
    with _listening():
        turn = lane.run(seconds)
        _leave_with_parent()
    return turn.settled > 0


def _yields(here: SendingContext, work: DueWork, sender_id: int) -> Callable[[], bool]:
    """Return a function that returns whether this turn should end early, so that other work can start.

    It also runs ticks that are late: while all processes send, no process takes one from the queue.
    """
    begun = looked = elapsed()

    def yields() -> bool:
        nonlocal looked
        now = elapsed()
        if now - looked < LOOK_EVERY:
            return False
        looked = now
        try:
            if not schema_fits(here):
                return True
            _tick_if_late(here)
            if work.plans_wait():
                return True
            if now - begun < SHORTEST_TURN:
                return False
            with here.readers() as session:
                return others_wait(session, sender_id, here.now())
        except OUT_OF_REACH:  # the lane has emails to settle, and detects the failure itself
            return False

    return yields


def _tick(here: SendingContext) -> None:
    """Run a tick unless one ran just now, and wake other processes when some are free."""
    if _has_just_ticked(here):
        return
    calls = tick.tick(here, JUST_NOW * here.speed)
    wake_ups = [call for call in calls if call.task in ("plan", "run_lane")]
    others = [call for call in calls if call not in wake_ups]
    if wake_ups and is_empty(current_app):
        others += wake_ups[:WAKE_UPS]
    for call in others:
        if not enqueue(current_app, call.task, *call.ids):
            return


def _tick_if_late(here: SendingContext) -> None:
    since = _since_tick(here)
    if since is None or since > LATE_TICK * here.speed:
        _tick(here)


def _has_just_ticked(here: SendingContext) -> bool:
    since = _since_tick(here)
    return since is not None and timedelta(0) <= since < JUST_NOW * here.speed


def _since_tick(here: SendingContext) -> timedelta | None:
    with here.readers() as session:
        seen = session.scalar(select(Heartbeat.seen_at).where(Heartbeat.name == "beat"))
    return None if seen is None else here.now() - seen


@shared_task(name="mailganer.look_up")
@_tolerates_outage
def look_up(sender_id: int) -> None:
    here = sending_context()
    if schema_fits(here):
        in_doubt.look_up(here, sender_id)


@shared_task(name="mailganer.import")
@_tolerates_outage
def run_import(import_id: int) -> None:
    here = sending_context()
    if not schema_fits(here):
        return
    done = work_on_import(here.sessions, worker_settings(), import_id, now=here.now, seconds=IMPORT_TURN)
    if not done and not is_stopping():
        enqueue(current_app, "import", import_id)
