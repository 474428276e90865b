"""Celery tasks of sending: tick, plan a campaign, run a lane, look up emails in doubt.

A message wakes a worker process. After the work the message names, the process chooses further work from the
database until there is none, so no work depends on a message of its own.
"""

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache

from celery import current_app
from sqlalchemy import select

from ..db import OUT_OF_REACH
from ..models import Heartbeat
from ..monotonic import elapsed
from ..periodic_jobs import TaskCall
from ..queue import TICK_EVERY, enqueue, is_empty, shared_task
from ..worker_process import (
    emails_in_flight,
    fits,
    is_stopping,
    leave_with_parent,
    tolerates_outage,
    worker_process,
)
from . import in_doubt
from .context import SendingContext, sending_context_of
from .scheduler import plan, tick
from .scheduler.due_work import DueWork, due_lanes, others_wait
from .worker.lane import LaneRunner

__all__ = [
    "look_up",
    "plan_campaign",
    "run_lane",
    "run_tick",
]

log = logging.getLogger(__name__)

TURN = 30.0  # seconds of a process's turn; then what is left is queued behind the other messages
SHORTEST_TURN = 5.0  # seconds before a sender's turn can be cut short: opening a connection takes time, too
CHECK_EVERY = 1.0  # seconds between two checks for waiting work
NOTE_BEAT_EVERY = 4.0  # seconds; two beats at once are found by heartbeats within six seconds
LATE_TICK = timedelta(seconds=1.5 * TICK_EVERY)
JUST_NOW = timedelta(seconds=tick.SOON)
WAKE_UPS = tick.MAX_LANE_TASKS  # messages about plans and lanes queued by one tick: more than free processes


# --- the sending context of this process


def sending_context() -> SendingContext:
    """Return this process's sending context, created after the fork and cached."""
    return _sending_context(os.getpid())


@cache
def _sending_context(pid: int) -> SendingContext:
    return sending_context_of(worker_process())


# --- the tasks


@shared_task(name="mailganer.tick")
@tolerates_outage
def run_tick(beat_id: int = 0) -> None:
    """Run a tick, then work. ``beat_id`` names the beat that queued it; 0 and 1 name none."""
    here = sending_context()
    if fits(here.schema()):
        if beat_id > 1:
            _note_beat(here, beat_id)
        if beat_id and tick.is_idle(here):
            return
        _tick(here)
        _work(here)


@shared_task(name="mailganer.plan")
@tolerates_outage
def plan_campaign(campaign_id: int) -> None:
    here = sending_context()
    if fits(here.schema()):
        _work(here, TaskCall("plan", (campaign_id,)))


@shared_task(name="mailganer.run_lane")
@tolerates_outage
def run_lane(sender_id: int, number: int = 0) -> None:
    here = sending_context()
    if fits(here.schema()):
        _work(here, TaskCall("run_lane", (sender_id, number)))


def _work(here: SendingContext, first: TaskCall | None = None) -> None:
    """Do what is due, ``first`` before the rest, until nothing is or the turn is over."""
    work, until = DueWork(here), elapsed() + TURN
    call = first if first and work.is_due(first) else work.choose()
    has_done = False
    while call and not is_stopping() and fits(here.schema()):
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
            return plan.plan(here, call.ids[0], is_stopping, _planning_yields(here, work))
        return _run_lane(here, work, *call.ids, seconds=seconds)
    except OUT_OF_REACH:
        raise
    except Exception:
        log.exception("%s %s broke", call.task, call.ids)
        return False


def _planning_yields(here: SendingContext, work: DueWork) -> Callable[[], bool]:
    """Return a function that returns whether planning should make way for a lane.

    The first chunk wakes a free process to send it. When there is none, this one sends, too.
    """
    has_woken = False

    def yields() -> bool:
        nonlocal has_woken
        if not has_woken:
            has_woken = True
            _wake_free_process(here)
            return False
        with here.readers() as session:
            waits = others_wait(session, here.now())
        if waits:
            work.lane_first()
        return waits

    return yields


def _wake_free_process(here: SendingContext) -> None:
    if not is_empty(current_app):
        return
    with here.readers() as session:
        call = next(due_lanes(here, session, here.now()), None)
    if call:
        enqueue(current_app, call.task, *call.ids)


def _run_lane(here: SendingContext, work: DueWork, sender_id: int, number: int, *, seconds: float) -> bool:
    lane = LaneRunner(here, sender_id, number, stopped=is_stopping, yields=_yields(here, work, sender_id))
    with emails_in_flight():
        turn = lane.run(seconds)
        leave_with_parent()
    return turn.settled > 0


def _yields(here: SendingContext, work: DueWork, sender_id: int) -> Callable[[], bool]:
    """Return a function that returns whether this turn should end early, so that other work can start.

    It also runs ticks that are late: while all processes send, no process takes one from the queue.
    """
    begun = last_check = elapsed()

    def yields() -> bool:
        nonlocal last_check
        now = elapsed()
        if now - last_check < CHECK_EVERY:
            return False
        last_check = now
        try:
            if not fits(here.schema()):
                return True
            _tick_if_late(here)
            if now - begun < SHORTEST_TURN:
                return work.has_unplanned_campaigns()
            if work.has_unplanned_campaigns(begun=True):
                return True
            with here.readers() as session:
                return others_wait(session, here.now(), sender_id)
        except OUT_OF_REACH:  # the lane has emails to settle, and detects the failure itself
            return False

    return yields


def _note_beat(here: SendingContext, beat_id: int) -> None:
    """Record a beat process, but not with every message: a heartbeat is a transaction."""
    if elapsed() - _NOTED_BEATS.get(beat_id, -NOTE_BEAT_EVERY) >= NOTE_BEAT_EVERY:
        tick.note_beat(here, beat_id)
        _NOTED_BEATS.clear()
        _NOTED_BEATS[beat_id] = elapsed()


_NOTED_BEATS: dict[int, float] = {}  # the beat noted last by this process, and when


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
@tolerates_outage
def look_up(sender_id: int) -> None:
    here = sending_context()
    if fits(here.schema()):
        in_doubt.look_up(here, sender_id)
