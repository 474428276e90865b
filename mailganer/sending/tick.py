"""The tick: everything that is due gets a nudge. May run twice, late, or in ten places at once.

It reads the rows and never remembers: losing every message of the broker costs two seconds.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from ..accounts import LONGEST_SESSION
from ..audience.imports import due_imports
from ..campaigns.allowance import account_allowance
from ..db import UNTRACKED, upsert
from ..errors import MailganerError
from ..models import (
    Account,
    Answer,
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Heartbeat,
    Lane,
    Sender,
    SenderStatus,
    Tries,
    WebSession,
    campaign_sender,
)
from . import doubt, ledger
from .lane import lanes_of
from .mark import PREFIX, marking
from .office import Office
from .plan import start_due
from .sweep import sweep

EVERY = 2.0  # seconds between two ticks
MOST_BELLS = 50  # pumps rung for in one tick; the senders that have waited longest come first
CANCEL_AT_ONCE = 100  # batches of cancelled campaigns that one tick ends
SILENT_FOR = timedelta(days=1)  # after which a part that is never seen is forgotten
LOOK_UP_EVERY = timedelta(seconds=20)
ANSWERED_FOR = timedelta(days=1)  # how long the API remembers what it answered to an Idempotency-Key


@dataclass(frozen=True)
class Call:
    """A task to be queued: its name without ``mailganer.``, and the ids it is about."""

    task: str
    ids: tuple[int, ...] = ()


def tick(office: Office) -> list[Call]:
    """Does what is quick itself, and answers what is to be queued."""
    now = office.now()
    with marking(office.journals) as mark:
        with office.sessions.begin() as session:
            if mark:
                mark.leave(session, now)
            start_due(session, now, office.latest_start)
            _wake_sleepers(session, now)
            _finish(session, now)
            _cancel(session, now)
            looking = _beat(office, session, now)
            if looking:
                _go_on(session, now)
                _forget(session, now)
        if mark:
            mark.keep()
    sweep(office)
    with office.readers() as session:
        calls = [*_plans(session), *_pumps(office, session, now)]
        calls += [Call("import", (import_id,)) for import_id in due_imports(session, now)]
        if looking:
            calls += [Call("look_up", (sender,)) for sender in doubt.senders_in_doubt(session, now)]
    return calls


def others_wait(session: Session, sender_id: int, now: datetime) -> bool:
    """Whether some other sender has work and nobody who does it."""
    held = exists().where(Lane.sender_id == Sender.id, Lane.lease_until > now)
    return bool(session.scalar(_hungry(now).where(Sender.id != sender_id, ~held).limit(1)))


# --- campaigns


def _plans(session: Session) -> Iterator[Call]:
    unplanned = session.scalars(
        select(Campaign.id)
        .where(
            Campaign.status == CampaignStatus.sending,
            or_(Campaign.planned_at.is_(None), Campaign.letter_id.is_(None)),
        )
        .order_by(Campaign.started_at)
    )
    return (Call("plan", (campaign_id,)) for campaign_id in unplanned.all())


def _finish(session: Session, now: datetime) -> None:
    """Campaigns in which nobody is pending or under way any more.

    Asked twice: whoever gives somebody another letter holds the campaign's row, and is seen only afterwards.
    """
    over = (
        Campaign.status == CampaignStatus.sending,
        Campaign.planned_at.is_not(None),
        ~exists().where(Batch.campaign_id == Campaign.id, Batch.state != BatchState.done),
    )
    found = session.scalars(
        select(Campaign.id)
        .where(*over)
        .order_by(Campaign.id)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    if found:
        session.execute(
            update(Campaign)
            .where(Campaign.id.in_(found), *over)
            .values(status=CampaignStatus.finished, finished_at=now, updated_at=now),
            execution_options=UNTRACKED,
        )


def _go_on(session: Session, now: datetime) -> None:
    """Finished campaigns in which somebody waits: however that came about, they get their letter."""
    waiting = exists().where(Batch.campaign_id == Campaign.id, Batch.state == BatchState.open)
    session.execute(
        update(Campaign)
        .where(Campaign.status == CampaignStatus.finished, waiting)
        .values(status=CampaignStatus.sending, finished_at=None, updated_at=now),
        execution_options=UNTRACKED,
    )


def _cancel(session: Session, now: datetime) -> None:
    """Nobody of a cancelled campaign waits any longer."""
    left = session.scalars(
        select(Batch.id)
        .join(Campaign, Campaign.id == Batch.campaign_id)
        .where(Campaign.status == CampaignStatus.cancelled, Batch.state == BatchState.open)
        .order_by(Batch.id)
        .limit(CANCEL_AT_ONCE)
    ).all()
    for batch_id in left:
        ledger.cancel_batch(session, batch_id, now)


# --- senders


def _wake_sleepers(session: Session, now: datetime) -> None:
    """Senders whose rest is over; and those whose server should be tried again."""
    over = (Sender.sleeps_until <= now, Sender.deleted_at.is_(None))
    _raise_learned(session, over)
    session.execute(
        update(Sender)
        .where(*over, Sender.status.in_((SenderStatus.sleeping, SenderStatus.failing)))
        .values(status=SenderStatus.ready, sleeps_until=None),
        execution_options=UNTRACKED,
    )


def _raise_learned(session: Session, over: tuple[ColumnElement[bool], ...]) -> None:
    """A limit learnt on one day was perhaps that day's: after every rest a tenth more is tried.

    A server that still says "enough" costs one question and no recipient.
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


def _hungry(now: datetime) -> Any:
    """Ready senders with somebody due in a campaign that is being sent."""
    due = (
        exists()
        .where(
            campaign_sender.c.sender_id == Sender.id,
            Campaign.id == campaign_sender.c.campaign_id,
            Campaign.status == CampaignStatus.sending,
            Campaign.letter_id.is_not(None),
            or_(Campaign.resting_until.is_(None), Campaign.resting_until <= now),
            Batch.campaign_id == Campaign.id,
            Batch.state == BatchState.open,
            or_(Batch.not_before.is_(None), Batch.not_before <= now),
        )
        .correlate(Sender)
    )
    return select(Sender.id).where(Sender.status == SenderStatus.ready, Sender.deleted_at.is_(None), due)


def _pumps(office: Office, session: Session, now: datetime) -> Iterator[Call]:
    """A bell for every sender with work and a free lane: first lanes first, the longest waiting first."""
    hungry = session.scalars(select(Sender).where(Sender.id.in_(_hungry(now))).order_by(Sender.id)).all()
    open_plans = _open_plans(office, session, {sender.account_id for sender in hungry}, now)
    hungry = [sender for sender in hungry if sender.account_id in open_plans]
    last: dict[tuple[int, int], datetime] = {
        (lane.sender_id, lane.number): lane.lease_until or DAWN
        for lane in session.scalars(select(Lane).where(Lane.sender_id.in_([each.id for each in hungry])))
    }
    waiting = [sender for sender in hungry if last.get((sender.id, 0), DAWN) <= now]
    if waiting:
        waiting.sort(key=lambda sender: last.get((sender.id, 0), DAWN))
        return (Call("pump", (sender.id, 0)) for sender in waiting[:MOST_BELLS])
    # Everybody has a lane: those who can use more get more.
    return (
        Call("pump", (sender.id, number))
        for sender in hungry
        for number in range(1, _lanes(office, sender))
        if last.get((sender.id, number), DAWN) <= now
    )


DAWN = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _lanes(office: Office, sender: Sender) -> int:
    try:
        return lanes_of(office.limits(sender))
    except MailganerError:
        return 1  # the lane will say what is wrong with it


def _open_plans(office: Office, session: Session, account_ids: set[int], now: datetime) -> set[int]:
    """Accounts whose plan lets something leave now."""
    found = set()
    for account_id in account_ids:
        account = session.get_one(Account, account_id)
        limit = office.plan_limit(account, now)
        if limit is None or account_allowance(session, account_id, limit, now).remaining:
            found.add(account_id)
    return found


# --- heartbeats


def _beat(office: Office, session: Session, now: datetime) -> bool:
    """Notes that clock, broker and this worker are alive; answers whether doubts are to be looked up."""
    looked = session.scalar(select(Heartbeat.seen_at).where(Heartbeat.name == "look_up"))
    looking = looked is None or now - looked >= LOOK_UP_EVERY or looked > now
    worker = f"worker {socket.gethostname()}:{os.getppid()}"
    for name in sorted(["beat", worker] + ["look_up"] * looking):
        values: dict[str, Any] = {"seen_at": now}
        if name == worker:
            values |= {"folder_id": office.folder_id, "key_id": office.key_id}
        row = upsert(session, Heartbeat).values(name=name[:255], **values)
        session.execute(row.on_conflict_do_update(index_elements=[Heartbeat.name], set_=values))
    session.execute(
        delete(Heartbeat).where(
            Heartbeat.seen_at < now - SILENT_FOR, ~Heartbeat.name.startswith(PREFIX, autoescape=True)
        ),
        execution_options=UNTRACKED,
    )
    return looking


# --- what nobody asks for any more


def _forget(session: Session, now: datetime) -> None:
    """Delete answers of the API, tries and sessions whose time is over."""
    for old in (
        delete(Answer).where(Answer.created_at < now - ANSWERED_FOR),
        delete(Tries).where(Tries.ends_at < now.timestamp()),
        delete(WebSession).where(WebSession.created_at < now - LONGEST_SESSION),
    ):
        session.execute(old, execution_options=UNTRACKED)
