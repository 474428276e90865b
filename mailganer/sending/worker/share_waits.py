"""Senders that rest because the limits leave their campaigns nothing now: wake those that have a share again.

What each may send is a function of the stored state (:mod:`.account_queue`). So it does not matter what has
changed: a campaign was started, planned, finished, paused or refused, another sender rests, quota is free
again. A sender is woken only if it can send, so that there is at most one message for each change.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ...campaigns.plan_shares import PlanShares
from ...db import UNTRACKED
from ...errors import MailganerError
from ...models import Account, Sender, SenderStatus
from ...quota import reservations
from ..context import SendingContext
from .account_queue import account_shares
from .sender_queue import read_sender_queue
from .window_planner import SHORT_WAIT

MOST = 20  # senders that one tick examines, chosen at random: the others wake by themselves


def wake_for_shares(context: SendingContext) -> None:
    """Let senders continue that had no share of the limits and have one now."""
    now = context.now()
    with context.readers() as session:
        found = [
            (sender, context.limits(sender))
            for account_id, senders in groupby(_resting(session, now), lambda sender: sender.account_id)
            for sender in _with_share(context, session, account_id, list(senders), now)
        ]
    if not found:
        return
    with context.sessions.begin() as session:
        for sender, limits in sorted(found, key=lambda each: each[0].id):
            # At the latest when its pace allows the next email.
            pace = timedelta(seconds=1 / limits.per_second) if limits.per_second else None
            session.execute(
                update(Sender)
                .where(Sender.id == sender.id, Sender.paced_until == sender.paced_until)
                .values(paced_until=None if pace is None else min(now + pace, sender.paced_until or now)),
                execution_options=UNTRACKED,
            )


def _resting(session: Session, now: datetime) -> list[Sender]:
    """Return senders that wait longer than a lane does, ordered by account."""
    found = session.scalars(
        select(Sender)
        .where(
            Sender.status == SenderStatus.ready,
            Sender.deleted_at.is_(None),
            Sender.paced_until > now + timedelta(seconds=SHORT_WAIT),
        )
        .order_by(func.random())
        .limit(MOST)
    ).all()
    return sorted(found, key=lambda sender: (sender.account_id, sender.id))


def _with_share(
    context: SendingContext, session: Session, account_id: int, resting: Sequence[Sender], now: datetime
) -> list[Sender]:
    """Return those of an account's resting senders that have a share of its limits now."""
    of_account = select(Sender).where(Sender.account_id == account_id, Sender.deleted_at.is_(None))
    try:
        limits = {sender.id: context.limits(sender) for sender in session.scalars(of_account).all()}
    except MailganerError:
        return []  # the lane of the broken sender will report the error
    if len(limits) < 2:
        return []  # nothing is divided
    plan_limit = context.plan_limit(session.get_one(Account, account_id), now)
    found, plan = [], None
    for sender in resting:
        remaining = reservations.remaining(
            session,
            sender.id,
            account_id,
            sender_limit=limits[sender.id].per_day,
            plan_limit=plan_limit,
            now=now,
        )
        if not remaining.emails:  # without a limit, or it is used up
            continue
        plan = plan or account_shares(session, account_id, limits, remaining, now)
        if _has_share(session, sender.id, plan, now):
            found.append(sender)
    return found


def _has_share(session: Session, sender_id: int, plan: PlanShares, now: datetime) -> bool:
    waiting = read_sender_queue(session, sender_id, now, limited=True)
    return any(each.free and plan.share_at(each, sender_id).left for each in waiting.campaigns)
