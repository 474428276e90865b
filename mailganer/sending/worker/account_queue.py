"""What the plan's limit allows each campaign of an account, as the database has it.

Asked only where there is such a limit and the account has several senders. Exact only under
``reservations.lock``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from sqlalchemy import BigInteger, Table, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from ...backends import Limits
from ...campaigns.plan_shares import CampaignDemand, PlanShares, by_pace, plan_shares
from ...campaigns.turns import PLENTY
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
from ...quota.usage import DAY, oldest_counted

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
_DEMANDS = (
    select(
        _CAMPAIGNS.c.id,
        _CAMPAIGNS.c.planned_at,
        campaign_sender.c.sender_id,
        _CAN_SEND.label("can_send"),
        func.coalesce(_LEFT, 0).label("left"),
        func.coalesce(_OPEN, 0).label("open"),
        func.coalesce(_SENT, 0).label("sent"),
    )
    .select_from(campaign_sender)
    .join(_CAMPAIGNS, _CAMPAIGNS.c.id == campaign_sender.c.campaign_id)
    .join(_SENDERS, _SENDERS.c.id == campaign_sender.c.sender_id)
    .where(
        _CAMPAIGNS.c.account_id == bindparam("account"),
        _CAMPAIGNS.c.status == CampaignStatus.sending,
        _CAMPAIGNS.c.frozen_email_id.is_not(None),
        # Sending hours that begin within 24 hours: their emails share these 24 hours with those of now.
        or_(
            _CAMPAIGNS.c.resting_until.is_(None),
            _CAMPAIGNS.c.resting_until <= _SOON,
        ),
    )
    .order_by(_CAMPAIGNS.c.id)
)
"""Built once: it is part of every window."""


def account_shares(
    session: Session,
    account_id: int,
    remaining: int,
    limits: Mapping[int, Limits],
    used: Mapping[int, int],
    now: datetime,
) -> PlanShares:
    """Divide ``remaining`` of the plan among the account's campaigns.

    ``limits`` and ``used``, the emails of the last 24 hours, are by sender.
    """
    values = {"account": account_id, "now": now, "soon": now + DAY, "oldest": oldest_counted(now)}
    demands: dict[int, CampaignDemand] = {}
    for row in session.execute(_DEMANDS, values):
        known = demands.get(row.id)
        if known is None:
            left = int(row.left) if row.planned_at else PLENTY
            known = CampaignDemand(row.id, int(row.open), left, ())
        senders = (*known.senders, row.sender_id) if row.can_send else known.senders
        demands[row.id] = known._replace(used=known.used + int(row.sent), senders=senders)
    free = {
        sender: free_of(limits.get(sender), used.get(sender, 0))
        for demand in demands.values()
        for sender in demand.senders
    }
    return plan_shares(remaining, list(demands.values()), free)


def free_of(limits: Limits | None, used: int) -> int:
    """Return what a sender may still send within 24 hours."""
    if limits is None:
        return PLENTY
    paced = by_pace(limits.per_second)
    free = PLENTY if paced is None else max(1, paced - used)
    return free if limits.per_day is None else max(0, min(free, limits.per_day - used))
