"""The tick: start what is due and wake senders. Safe to run twice, late, or on ten machines at once.

It reads the rows and keeps no state: losing every broker message costs two seconds. Its jobs run in the order
in which they are registered, here and by other packages (``periodic_jobs``); it locks senders before batches,
as lanes do.
"""

import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, or_, select, text, update
from sqlalchemy.orm import Session

from ... import ledger
from ...campaigns.event_log import note_campaigns
from ...db import UNTRACKED, upsert
from ...models import (
    BEAT_ID,
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Heartbeat,
    Sender,
    SenderStatus,
    Window,
)
from ...periodic_jobs import TaskCall, Tick, periodic_job, run_jobs
from ..context import SendingContext
from ..worker.sender_queue import wake_for_comparison
from ..worker.share_waits import wake_for_shares
from . import plan  # noqa: F401 - registers the first job of a tick
from .due_work import due_lanes, unplanned
from .restore_detector import open_mark
from .sweep import sweep

SOON = 1.0  # seconds; a tick that follows another one within them does nothing
MAX_LANE_TASKS = 50  # ``run_lane`` tasks queued in one tick; the senders that have waited longest come first
CANCEL_AT_ONCE = 100  # batches of cancelled campaigns that one tick ends
SILENT_FOR = timedelta(days=1)  # after which the heartbeat of a silent process is deleted
REPAIR_EVERY = timedelta(seconds=20)
# Between ticks while nothing is sent: for jobs that are not about campaigns.
IDLE_EVERY = timedelta(seconds=7)


def tick(context: SendingContext, apart: timedelta = timedelta(0)) -> list[TaskCall]:
    """Do here what is quick, and return the tasks to enqueue; do nothing within ``apart`` of another tick."""
    now = context.now()
    with open_mark(context.journals) as mark:
        with context.sessions.begin() as session:
            if apart and not _is_time(session, now, apart):
                return []
            if mark:
                mark.leave(session, now)
            this = Tick(session, now, context.latest_start)
            due_calls = run_jobs(this)
            _record_heartbeats(context, session, now)
        if mark:
            mark.keep()
    for action in this.after_commit:
        action()
    sweep(context)
    wake_for_shares(context)
    with context.readers() as session:
        calls = [TaskCall("plan", (campaign_id,)) for campaign_id in unplanned(session)]
        calls += islice(due_lanes(context, session, now), MAX_LANE_TASKS)
        calls += due_calls(session)
    return calls


def is_idle(context: SendingContext) -> bool:
    """Return whether a tick would find no campaign to work on, and the last one was not long ago.

    One statement, where a tick runs about thirty: an installation is idle most of the day.
    """
    now = context.now()
    with context.readers() as session:
        last, has_work = session.execute(_IDLE, {"now": now}).one()
    return not has_work and last is not None and timedelta(0) <= now - last < IDLE_EVERY * context.speed


_IDLE = select(
    select(Heartbeat.seen_at).where(Heartbeat.name == "beat").scalar_subquery(),
    or_(
        exists().where(Campaign.status == CampaignStatus.sending),
        exists().where(Campaign.status == CampaignStatus.scheduled, Campaign.send_at <= bindparam("now")),
        # The condition on done ones lets both databases use the index on batches that are not done. Paused
        # campaigns keep open batches, and need no tick.
        exists().where(
            Batch.campaign_id == Campaign.id,
            Batch.state == BatchState.open,
            Batch.state != BatchState.done,
            Campaign.status.in_((CampaignStatus.cancelled, CampaignStatus.finished)),
        ),
        exists(select(Window.id)),
    ),
)


# --- senders


@periodic_job("wake_senders")
def _wake_sleepers(tick: Tick) -> None:
    """Make senders ready whose sleep is over, or whose server should be tried again."""
    session, now = tick.session, tick.now
    over = (Sender.sleeps_until <= now, Sender.deleted_at.is_(None))
    _raise_learned(session, over)
    session.execute(
        update(Sender)
        .where(*over, Sender.status.in_((SenderStatus.sleeping, SenderStatus.failing)))
        .values(status=SenderStatus.ready, sleeps_until=None),
        execution_options=UNTRACKED,
    )
    wake_for_comparison(session, now)


def _raise_learned(session: Session, over: tuple[ColumnElement[bool], ...]) -> None:
    """Raise each learned daily limit by a tenth after every sleep: it may have been that day's only.

    A server that still refuses costs one attempt and no recipient.
    """
    session.execute(
        update(Sender)
        .where(
            *over,
            Sender.status == SenderStatus.sleeping,
            Sender.failures == 0,
            Sender.learned_per_day.is_not(None),
        )
        .values(learned_per_day=Sender.learned_per_day + 1 + Sender.learned_per_day // 10),
        execution_options=UNTRACKED,
    )


# --- campaigns


@periodic_job("finish_campaigns")
def _finish_campaigns(tick: Tick) -> None:
    finished = _finish(tick.session, tick.now)
    tick.after_commit.append(partial(note_campaigns, "finished", finished))


def _finish(session: Session, now: datetime) -> Sequence[int]:
    """Finish campaigns in which no delivery is pending or sending any more; return their ids.

    The condition is checked twice: a transaction that makes a delivery pending again holds the campaign's
    row, and its change is visible only after the lock is obtained.
    """
    over = (
        Campaign.status == CampaignStatus.sending,
        Campaign.planned_at.is_not(None),
        ~exists().where(
            Batch.campaign_id == Campaign.id, Batch.state.in_((BatchState.open, BatchState.claimed))
        ),
    )
    found = session.scalars(
        select(Campaign.id)
        .where(*over)
        .order_by(Campaign.id)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    if not found:
        return found
    return session.scalars(
        update(Campaign)
        .where(Campaign.id.in_(found), *over)
        .values(status=CampaignStatus.finished, finished_at=now, updated_at=now)
        .returning(Campaign.id),
        execution_options=UNTRACKED,
    ).all()


@periodic_job("cancel_deliveries")
def _cancel(tick: Tick) -> None:
    """Skip the pending deliveries of cancelled campaigns."""
    session = tick.session
    left = session.scalars(
        select(Batch.id)
        .join(Campaign, Campaign.id == Batch.campaign_id)
        .where(
            Campaign.id.in_(_waiting_campaigns(session)),
            Campaign.status == CampaignStatus.cancelled,
            Batch.state == BatchState.open,
        )
        .order_by(Batch.id)
        .limit(CANCEL_AT_ONCE)
    ).all()
    for batch_id in left:
        ledger.cancel_batch(session, batch_id, tick.now)


@periodic_job("resume_finished", REPAIR_EVERY)
def _resume_finished(tick: Tick) -> None:
    """Reopen finished campaigns that have pending deliveries, however that came about."""
    session, now = tick.session, tick.now
    session.execute(
        update(Campaign)
        .where(Campaign.id.in_(_waiting_campaigns(session)), Campaign.status == CampaignStatus.finished)
        .values(status=CampaignStatus.sending, finished_at=None, updated_at=now),
        execution_options=UNTRACKED,
    )


def _waiting_campaigns(session: Session) -> list[int]:
    """Return campaigns with an open batch, with one index look-up for each.

    There may be thousands of finished campaigns, and thousands of batches in one that is not.
    """
    return list(session.scalars(_WAITING_CAMPAIGNS))


_WAITING_CAMPAIGNS = text(
    """
    WITH RECURSIVE waiting (id) AS (
        SELECT min(campaign_id) FROM batch WHERE state = 'open' AND state <> 'done'
        UNION ALL
        SELECT (SELECT min(campaign_id) FROM batch
                WHERE state = 'open' AND state <> 'done' AND campaign_id > waiting.id)
        FROM waiting WHERE waiting.id IS NOT NULL
    )
    SELECT id FROM waiting WHERE id IS NOT NULL
    """
)


# --- heartbeats


def _is_time(session: Session, now: datetime, apart: timedelta) -> bool:
    """Return whether no other tick runs or ran just now; then lock the heartbeat until the commit.

    A last tick in the future ran before the clock was set back.
    """
    last = select(Heartbeat.seen_at).where(Heartbeat.name == "beat")
    if session.scalar(last) is None:
        return True
    seen = session.scalar(last.with_for_update(skip_locked=True))
    return seen is not None and not timedelta(0) <= now - seen < apart


def note_beat(context: SendingContext, beat_id: int) -> None:
    """Record that a tick of this beat process was received. The doctor counts beats: one is enough."""
    now = context.now()
    with context.sessions.begin() as session:
        row = upsert(session, Heartbeat).values(name=f"{BEAT_ID}{beat_id}", seen_at=now)
        session.execute(row.on_conflict_do_update(index_elements=[Heartbeat.name], set_={"seen_at": now}))


def _record_heartbeats(context: SendingContext, session: Session, now: datetime) -> None:
    """Record that beat, broker and this worker are alive."""
    worker = f"worker {socket.gethostname()}:{os.getppid()}"
    for name in sorted(["beat", worker]):
        values: dict[str, Any] = {"seen_at": now}
        if name == worker:
            values |= {"folder_id": context.folder_id, "key_id": context.key_id}
        row = upsert(session, Heartbeat).values(name=name[:255], **values)
        session.execute(row.on_conflict_do_update(index_elements=[Heartbeat.name], set_=values))
    old = delete(Heartbeat).where(Heartbeat.seen_at < now - SILENT_FOR)
    session.execute(old, execution_options=UNTRACKED)
