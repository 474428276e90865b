"""Choose work from the database: campaigns to plan, and senders that have emails to send.

A broker message only wakes a worker process. What the process does then, and next, until nothing is left, is
chosen here, so that lost, late or repeated messages do no harm.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from ...db import UNTRACKED, upsert
from ...errors import MailganerError
from ...models import (
    Account,
    Batch,
    BatchState,
    Campaign,
    CampaignPlanning,
    CampaignStatus,
    Lane,
    Sender,
    SenderStatus,
    campaign_sender,
)
from ...periodic_jobs import TaskCall
from ...quota.plan_and_sender_usage import account_quota
from ..context import SendingContext
from ..worker.lane import lanes_of
from ..worker.window_planner import SHORT_WAIT

PLANS_IN_A_ROW = 4  # then a lane gets its turn, so that a stream of new campaigns does not hold up emails
CHOICE = 20  # campaigns to choose from at random, so that two free processes seldom plan the same one
PLANNER_IS_GONE = 10.0  # seconds after it was last seen; planning one chunk takes a fraction of a second
EPOCH_START = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class DueWork:
    """Choose the work of one process for one turn, without what was tried in this turn to no effect."""

    def __init__(self, context: SendingContext) -> None:
        self._context = context
        self._tried: set[TaskCall] = set()
        self._spent: dict[int, bool] = {}
        self._planned = 0  # campaigns planned since the last lane

    def choose(self) -> TaskCall | None:
        """Return what to do next: some plans, then the lane of the sender that has waited longest."""
        with self._context.readers() as session:
            now = self._context.now()
            if self._planned >= PLANS_IN_A_ROW:
                self._planned = 0
                if lane := self._lane(session, now):
                    return lane
            campaigns = self._campaigns(session, now)
            if campaigns:
                self._planned += 1
                return random.choice(campaigns[:CHOICE])  # noqa: S311 - to avoid others, not to be secret
            return self._lane(session, now)

    def is_due(self, call: TaskCall) -> bool:
        """Return whether a message is about work that is still to be done and that no other process does."""
        with self._context.readers() as session:
            now = self._context.now()
            if call.task == "plan":
                return call in self._campaigns(session, now)
            sender_id, number = call.ids
            held = exists().where(Lane.sender_id == sender_id, Lane.number == number, Lane.lease_until > now)
            return bool(session.scalar(_senders_with_due_work(now).where(Sender.id == sender_id, ~held)))

    def leave_alone(self, call: TaskCall) -> None:
        """Exclude this call for the rest of the turn."""
        self._tried.add(call)

    def lane_first(self) -> None:
        """Let a lane have its turn before the next plan."""
        self._planned = PLANS_IN_A_ROW

    def has_unplanned_campaigns(self, *, begun: bool = False) -> bool:
        """Return whether a campaign is to be planned and no process does it.

        Campaigns of which some emails can be sent already count only with ``begun``.
        """
        with self._context.readers() as session:
            calls = self._campaigns(session, self._context.now())
            if begun or not calls:
                return bool(calls)
            ids = [call.ids[0] for call in calls]
            new = select(Campaign.id).where(Campaign.id.in_(ids), Campaign.planned == 0)
            return session.scalar(new.limit(1)) is not None

    def _lane(self, session: Session, now: datetime) -> TaskCall | None:
        return next(due_lanes(self._context, session, now, self._tried, self._spent), None)

    def _campaigns(self, session: Session, now: datetime) -> list[TaskCall]:
        busy = _being_planned(session, now, self._context.span(PLANNER_IS_GONE))
        calls = (TaskCall("plan", (each,)) for each in unplanned(session) if each not in busy)
        return [call for call in calls if call not in self._tried]


# --- campaigns


def unplanned(session: Session) -> list[int]:
    """Return started campaigns whose recipients are not all in the ledger yet, oldest first."""
    return list(
        session.scalars(
            select(Campaign.id)
            .where(
                Campaign.status == CampaignStatus.sending,
                or_(Campaign.planned_at.is_(None), Campaign.frozen_email_id.is_(None)),
            )
            .order_by(Campaign.started_at)
        )
    )


def note_planning(session: Session, campaign_id: int, now: datetime, *, done: bool = False) -> None:
    """Record that this process plans the campaign.

    Other processes then choose other work instead of waiting for this one.
    """
    if done:
        own = delete(CampaignPlanning).where(CampaignPlanning.campaign_id == campaign_id)
        session.execute(own, execution_options=UNTRACKED)
        return
    row = upsert(session, CampaignPlanning).values(campaign_id=campaign_id, seen_at=now)
    session.execute(
        row.on_conflict_do_update(index_elements=[CampaignPlanning.campaign_id], set_={"seen_at": now})
    )


def _being_planned(session: Session, now: datetime, long: timedelta) -> set[int]:
    seen = CampaignPlanning.seen_at.between(now - long, now)
    return set(session.scalars(select(CampaignPlanning.campaign_id).where(seen)))


# --- senders


def _senders_with_due_work(now: datetime) -> Any:
    """Return a query for ready senders with a due recipient in a campaign that is being sent.

    It starts from the campaigns being sent, of which there are few: a sender may have thousands of finished
    ones.
    """
    due = exists().where(
        Batch.campaign_id == Campaign.id,
        Batch.state == BatchState.open,
        or_(Batch.not_before.is_(None), Batch.not_before <= now),
    )
    wanted = (
        select(campaign_sender.c.sender_id)
        .join(Campaign, Campaign.id == campaign_sender.c.campaign_id)
        .where(
            Campaign.status == CampaignStatus.sending,
            Campaign.frozen_email_id.is_not(None),
            or_(Campaign.resting_until.is_(None), Campaign.resting_until <= now),
            due,
        )
    )
    return select(Sender.id).where(
        Sender.id.in_(wanted),
        Sender.status == SenderStatus.ready,
        Sender.deleted_at.is_(None),
        or_(Sender.paced_until.is_(None), Sender.paced_until <= now + timedelta(seconds=SHORT_WAIT)),
    )


def others_wait(session: Session, now: datetime, sender_id: int | None = None) -> bool:
    """Return whether a sender, other than this one, has due work and no active lane."""
    held = exists().where(Lane.sender_id == Sender.id, Lane.lease_until > now)
    waiting = _senders_with_due_work(now).where(Sender.id.is_distinct_from(sender_id), ~held)
    return session.scalar(waiting.limit(1)) is not None


def due_lanes(
    context: SendingContext,
    session: Session,
    now: datetime,
    tried: set[TaskCall] | None = None,
    spent: dict[int, bool] | None = None,
) -> Iterator[TaskCall]:
    """Yield a call for every sender with work and a free lane: first lanes first, the longest waiting first.

    Calls in ``tried`` are left out. ``spent`` caches, across calls, whether an account's plan is used up.
    """
    tried, spent = tried or set(), {} if spent is None else spent
    rows = session.execute(
        select(Sender.id, Sender.account_id, Lane.lease_until)
        .outerjoin(Lane, and_(Lane.sender_id == Sender.id, Lane.number == 0))
        .where(Sender.id.in_(_senders_with_due_work(now)))
    ).all()
    rows = sorted(rows, key=lambda row: (row.lease_until or EPOCH_START, row.id))
    some_waits = False
    for row in rows:
        call = TaskCall("run_lane", (row.id, 0))
        if (row.lease_until or EPOCH_START) <= now and call not in tried:
            if _is_spent(context, session, row.account_id, now, spent):
                continue
            some_waits = True
            yield call
    if some_waits:
        return
    # Every sender has a lane, so offer further lanes to those that can use more.
    served = [row.id for row in rows if (row.lease_until or EPOCH_START) > now]
    for call in _more_lanes(context, session, served, now):
        account_id = next(row.account_id for row in rows if row.id == call.ids[0])
        if call not in tried and not _is_spent(context, session, account_id, now, spent):
            yield call


def _more_lanes(
    context: SendingContext, session: Session, sender_ids: list[int], now: datetime
) -> Iterator[TaskCall]:
    if not sender_ids:
        return
    rows = session.execute(
        select(Lane.sender_id, Lane.number).where(Lane.sender_id.in_(sender_ids), Lane.lease_until > now)
    )
    held = {(row.sender_id, row.number) for row in rows}
    senders = select(Sender).where(Sender.id.in_(sender_ids)).order_by(Sender.id)
    for sender in session.scalars(senders).all():
        for number in range(1, _lanes(context, sender)):
            if (sender.id, number) not in held:
                yield TaskCall("run_lane", (sender.id, number))


def _lanes(context: SendingContext, sender: Sender) -> int:
    try:
        return lanes_of(context.limits(sender))
    except MailganerError:
        return 1  # the lane will report the error


def _is_spent(
    context: SendingContext, session: Session, account_id: int, now: datetime, known: dict[int, bool]
) -> bool:
    """Return whether an account's plan allows no more emails now."""
    if account_id not in known:
        limit = context.plan_limit(session.get_one(Account, account_id), now)
        known[account_id] = limit is not None and not account_quota(session, account_id, limit, now).remaining
    return known[account_id]
