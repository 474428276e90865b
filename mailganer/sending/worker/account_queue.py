"""What the limits of an account's plan and senders allow each of its campaigns, as the database has it.

Asked only where there is a limit to divide and the account has several senders. Exact only under
``reservations.lock``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import BigInteger, Table, and_, bindparam, case, func, or_, select, union_all
from sqlalchemy.orm import Session

from ...backends import Limits
from ...campaigns.actuals import planned_emails
from ...campaigns.campaign_shares import PLENTY
from ...campaigns.plan_shares import CampaignDemand, PlanShares, SenderQuota, by_pace, plan_shares
from ...models import (
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Sender,
    SenderStatus,
    SentPerMinute,
    campaign_sender,
)
from ...models.meta import UTCDateTime
from ...quota.plan_and_sender_usage import DAY, oldest_counted, usage_by_sender
from ...quota.reservations import RemainingQuota
from .sender_queue import ABOUT_TO_START, starting_values

_CAMPAIGNS, _BATCHES = cast(Table, Campaign.__table__), cast(Table, Batch.__table__)
_SENDERS, _DEPARTURES = cast(Table, Sender.__table__), cast(Table, SentPerMinute.__table__)
_NOW, _SOON = bindparam("now", type_=UTCDateTime()), bindparam("soon", type_=UTCDateTime())

_LEFT = (
    select(func.sum(_BATCHES.c.pending))
    .where(
        _BATCHES.c.campaign_id == _CAMPAIGNS.c.id,
        _BATCHES.c.state != BatchState.done,
        or_(
            _BATCHES.c.state == BatchState.claimed,
            _BATCHES.c.not_before.is_(None),
            _BATCHES.c.not_before <= _NOW,
        ),
    )
    .scalar_subquery()
)
_OPEN = (
    select(func.sum(_BATCHES.c.sending))
    .where(_BATCHES.c.campaign_id == _CAMPAIGNS.c.id, _BATCHES.c.state != BatchState.done)
    .scalar_subquery()
)
_SENT = (
    select(func.sum(_DEPARTURES.c.emails))
    .where(
        _DEPARTURES.c.campaign_id == _CAMPAIGNS.c.id,
        _DEPARTURES.c.sender_id == campaign_sender.c.sender_id,
        _DEPARTURES.c.minute >= bindparam("oldest", type_=BigInteger),
    )
    .scalar_subquery()
)
_CAN_SEND = and_(
    _SENDERS.c.deleted_at.is_(None),
    or_(
        _SENDERS.c.status == SenderStatus.ready,
        and_(_SENDERS.c.status == SenderStatus.sleeping, _SENDERS.c.sleeps_until <= _NOW),
    ),
)
_DEMANDS_OF_ACCOUNT = (
    select(
        _CAMPAIGNS.c.id.label("id"),  # SQLite orders by labels only
        _CAMPAIGNS.c.planned_at,
        _CAMPAIGNS.c.planned,
        case((_CAMPAIGNS.c.planned_at.is_(None), _CAMPAIGNS.c.forecast)).label("forecast"),
        and_(_CAMPAIGNS.c.resting_until.is_not(None), _CAMPAIGNS.c.resting_until > _NOW).label("later"),
        campaign_sender.c.sender_id,
        _CAN_SEND.label("can_send"),
        func.coalesce(_LEFT, 0).label("left"),
        func.coalesce(_OPEN, 0).label("open"),
        func.coalesce(_SENT, 0).label("sent"),
    )
    .select_from(campaign_sender)
    .join(_CAMPAIGNS, _CAMPAIGNS.c.id == campaign_sender.c.campaign_id)
    .join(_SENDERS, _SENDERS.c.id == campaign_sender.c.sender_id)
    .where(_CAMPAIGNS.c.account_id == bindparam("account"))
)
# Two statements, so that each uses the index on the status: an OR would read all finished campaigns.
_DEMANDS = union_all(
    _DEMANDS_OF_ACCOUNT.where(
        _CAMPAIGNS.c.status == CampaignStatus.sending,
        _CAMPAIGNS.c.frozen_email_id.is_not(None),
        # Sending hours that begin within 24 hours: their emails share these hours with those of now.
        or_(_CAMPAIGNS.c.resting_until.is_(None), _CAMPAIGNS.c.resting_until <= _SOON),
    ),
    _DEMANDS_OF_ACCOUNT.where(ABOUT_TO_START),
).order_by("id")
"""Built once: it is part of every window."""


def account_shares(
    session: Session,
    account_id: int,
    limits: Mapping[int, Limits],
    remaining: RemainingQuota,
    now: datetime,
) -> PlanShares:
    """Divide what the plan and the senders still allow among the account's campaigns.

    ``limits`` are by sender.
    """
    values = {"account": account_id, "now": now, "soon": now + DAY, "oldest": oldest_counted(now)}
    demands: dict[int, CampaignDemand] = {}
    for row in session.execute(_DEMANDS, values | starting_values(now)):
        known = demands.get(row.id)
        if known is None:
            known = CampaignDemand(row.id, int(row.open), _left(row), (), bool(row.later))
        senders = (*known.senders, row.sender_id) if row.can_send else known.senders
        demands[row.id] = known._replace(used=known.used + int(row.sent), senders=senders)
    used = remaining.used if remaining.plan is not None else usage_by_sender(session, account_id, now)
    quotas = {
        sender: _quota_of(limits.get(sender), used[sender].emails if sender in used else 0)
        for demand in demands.values()
        for sender in demand.senders
    }
    return plan_shares(PLENTY if remaining.plan is None else remaining.plan, list(demands.values()), quotas)


def _left(row: Any) -> int:
    """Return how many recipients wait, including those without a delivery yet."""
    if row.planned_at is not None:
        return int(row.left)
    emails = planned_emails(row.forecast)
    return PLENTY if emails is None else int(row.left) + max(0, emails - row.planned)


def _quota_of(limits: Limits | None, used: int) -> SenderQuota:
    return SenderQuota(used, free_of(limits, used))


def free_of(limits: Limits | None, used: int) -> int:
    """Return what a sender may still send within 24 hours."""
    if limits is None:
        return PLENTY
    paced = by_pace(limits.per_second)
    free = PLENTY if paced is None else max(1, paced - used)
    return free if limits.per_day is None else max(0, min(free, limits.per_day - used))
