"""Queue of the campaigns that wait for one sender, with the share of it that each has used.

The statements are built once, because they are part of every window.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import BigInteger, Table, and_, bindparam, case, exists, func, or_, select, union_all, update
from sqlalchemy.orm import Session

from ... import ledger
from ...campaigns.campaign_shares import PLENTY, CampaignShare, lowest_count_after
from ...campaigns.simulation_model import STARTS_SOON
from ...db import UNTRACKED
from ...models import Batch, BatchState, Campaign, CampaignStatus, Sender, SenderStatus, campaign_sender
from ...models.meta import UTCDateTime
from .refusal_pattern import RefusalPattern

LONGEST_START = timedelta(minutes=10)  # a campaign due for longer is not waited for

_CAMPAIGNS, _BATCHES = cast(Table, Campaign.__table__), cast(Table, Batch.__table__)
_SENDERS = cast(Table, Sender.__table__)
_NOW = bindparam("now", type_=UTCDateTime())

_HAS_OPEN_BATCH = exists().where(
    _BATCHES.c.campaign_id == _CAMPAIGNS.c.id,
    _BATCHES.c.state == BatchState.open,
    or_(_BATCHES.c.not_before.is_(None), _BATCHES.c.not_before <= _NOW),
)
_CLAIMED_RECIPIENTS = (
    select(func.sum(_BATCHES.c.pending))
    .where(
        _BATCHES.c.campaign_id == _CAMPAIGNS.c.id,
        _BATCHES.c.state == BatchState.claimed,
        _BATCHES.c.sender_id == bindparam("sender"),
        _BATCHES.c.lease_until > _NOW,
    )
    .scalar_subquery()
)
_CAN_SEND = and_(
    _CAMPAIGNS.c.status == CampaignStatus.sending,
    _CAMPAIGNS.c.frozen_email_id.is_not(None),
    or_(_CAMPAIGNS.c.resting_until.is_(None), _CAMPAIGNS.c.resting_until <= _NOW),
)
ABOUT_TO_START = and_(
    _CAMPAIGNS.c.status == CampaignStatus.scheduled,
    _CAMPAIGNS.c.send_at < bindparam("starting", type_=UTCDateTime()),
    _CAMPAIGNS.c.send_at > bindparam("overdue", type_=UTCDateTime()),
)
"""A scheduled campaign that starts now or within a minute. One that is long overdue may never start."""
_CAMPAIGNS_OF_SENDER = (
    select(
        _CAMPAIGNS.c.id,
        campaign_sender.c.had,
        _SENDERS.c.floor,
        _HAS_OPEN_BATCH,
        func.coalesce(_CLAIMED_RECIPIENTS, 0),
        _CAMPAIGNS.c.planned_at.is_(None),
    )
    .select_from(campaign_sender)
    .join(_CAMPAIGNS, _CAMPAIGNS.c.id == campaign_sender.c.campaign_id)
    .join(_SENDERS, _SENDERS.c.id == campaign_sender.c.sender_id)
    .where(campaign_sender.c.sender_id == bindparam("sender"))
)
_WAITING = _CAMPAIGNS_OF_SENDER.where(_CAN_SEND)
# Two statements, so that each uses the index on the status: an OR would read all finished campaigns.
_WAITING_OR_STARTING = union_all(_WAITING, _CAMPAIGNS_OF_SENDER.where(ABOUT_TO_START))
_OF_CAMPAIGN_AND_SENDER = and_(
    campaign_sender.c.sender_id == bindparam("sender"), campaign_sender.c.campaign_id == bindparam("campaign")
)
_HAD, _BEFORE = campaign_sender.c.had, bindparam("before", type_=BigInteger)
# At least "before", so that a campaign that has waited starts at the floor, and more if another lane has
# counted since.
_COUNT = (
    update(campaign_sender)
    .where(_OF_CAMPAIGN_AND_SENDER)
    .values(had=case((_HAD < _BEFORE, _BEFORE), else_=_HAD) + bindparam("emails"))
)
_UNCOUNT = update(campaign_sender).where(_OF_CAMPAIGN_AND_SENDER).values(had=_HAD - bindparam("emails"))
_RAISE_FLOOR = (
    update(_SENDERS)
    .where(_SENDERS.c.id == bindparam("sender"), _SENDERS.c.floor < bindparam("to"))
    .values(floor=bindparam("to"))
)


@dataclass(frozen=True)
class SenderQueue:
    """A sender's campaigns with due recipients, and its floor: the share at which a new campaign starts."""

    campaigns: tuple[CampaignShare, ...]
    floor: int = 0
    counts: bool = True  # False where limits of several senders are divided: shares of this one do not count


def starting_values(now: datetime) -> dict[str, datetime]:
    """Return the values of ``ABOUT_TO_START``."""
    return {"starting": now + STARTS_SOON, "overdue": now - LONGEST_START}


def read_sender_queue(
    session: Session, sender_id: int, now: datetime, current: int | None = None, *, limited: bool = False
) -> SenderQueue:
    """Return the campaigns that wait for a sender.

    ``current`` is the campaign of the batch that the calling lane holds, if any. With ``limited``, campaigns
    that are about to start or being planned are included: their share of the limit is kept for them.
    """
    values = {"sender": sender_id, "now": now}
    wanted = _WAITING_OR_STARTING if limited else _WAITING
    rows = session.execute(wanted, values | starting_values(now) if limited else values)
    shares, floor = [], 0
    for campaign_id, had, floor, has_open, claimed, unplanned in rows:
        if has_open or claimed or (limited and unplanned):
            left = PLENTY if has_open or unplanned else int(claimed)
            free = bool(has_open) or campaign_id == current
            shares.append(CampaignShare(campaign_id, max(had, floor), left, free))
    return SenderQueue(tuple(shares), floor)


def has_untried_recipients(session: Session, sender_id: int, now: datetime) -> bool:
    """Return whether any campaign of a sender has a due recipient who was not tried yet.

    A campaign that has started or is due counts even before its deliveries are planned.
    """
    return _has_planned_untried(session, sender_id, now) or _has_unplanned(session, sender_id, now)


def has_untried_of_other_domain(
    session: Session, sender_id: int, domains: Collection[str], now: datetime
) -> bool:
    """Return whether a sender has a due recipient of none of these domains who was not tried yet.

    In large campaigns only some batches are looked at, from everywhere.
    """
    return _has_planned_untried(session, sender_id, now, domains)


def _has_planned_untried(
    session: Session, sender_id: int, now: datetime, other_than: Collection[str] = ()
) -> bool:
    untried = (
        select(Batch.id)
        .select_from(campaign_sender)
        .join(Campaign, Campaign.id == campaign_sender.c.campaign_id)
        .join(Batch, Batch.campaign_id == Campaign.id)
        .where(
            campaign_sender.c.sender_id == sender_id,
            Campaign.status == CampaignStatus.sending,
            or_(Campaign.resting_until.is_(None), Campaign.resting_until <= now),
            Batch.state != BatchState.done,
            ledger.untried(now, other_than),
            *((ledger.spread_batches(Campaign.planned),) if other_than else ()),
        )
        .limit(1)
    )
    return session.scalar(untried) is not None


def _has_unplanned(session: Session, sender_id: int, now: datetime) -> bool:
    unplanned = (
        select(Campaign.id)
        .join(campaign_sender, campaign_sender.c.campaign_id == Campaign.id)
        .where(
            campaign_sender.c.sender_id == sender_id,
            or_(
                and_(Campaign.status == CampaignStatus.sending, Campaign.planned_at.is_(None)),
                and_(Campaign.status == CampaignStatus.scheduled, Campaign.send_at <= now),
            ),
        )
        .limit(1)
    )
    return session.scalar(unplanned) is not None


def count_sent(session: Session, sender_id: int, queue: SenderQueue, campaign_id: int, emails: int) -> bool:
    """Add ``emails`` to a campaign's share of the sender; return False where nothing is counted.

    Call it last in the order of locks, because several lanes count for one campaign.
    """
    if not queue.counts:
        return False
    counted = emails if len(queue.campaigns) > 1 else 0
    if counted:
        before = next(each.had for each in queue.campaigns if each.campaign_id == campaign_id)
        values = {"sender": sender_id, "campaign": campaign_id, "before": before, "emails": counted}
        session.execute(_COUNT, values)
    floor = lowest_count_after(queue.campaigns, campaign_id, counted)
    if floor > queue.floor:
        session.execute(_RAISE_FLOOR, {"sender": sender_id, "to": floor})
    return bool(counted)


def uncount(session: Session, sender_id: int, campaign_id: int, emails: int) -> None:
    """Subtract emails that were counted but never handed over from a campaign's share."""
    if emails:
        values = {"sender": sender_id, "campaign": campaign_id, "emails": emails}
        session.execute(_UNCOUNT, values)


def wake_for_comparison(session: Session, now: datetime) -> None:
    """Wake senders that rest because a single recipient was refused, if others wait now.

    There was no other recipient to compare with, and it does not matter how there came to be one: a campaign
    was planned, resumed, or its sending hours have begun. The others go first, and show whether the server
    refuses all of them. Each rest is cut short only once.
    """
    resting = session.execute(
        select(Sender.id, Sender.refusals)
        .where(Sender.status == SenderStatus.sleeping, Sender.refusals.is_not(None))
        .order_by(Sender.id)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    for sender_id, refusals in resting:
        pattern = RefusalPattern.from_json(refusals)
        if not pattern.is_of_one_recipient or pattern.woken:
            continue
        if _has_planned_untried(session, sender_id, now):
            pattern.woken = True
            session.execute(
                update(Sender)
                .where(Sender.id == sender_id)
                .values(status=SenderStatus.ready, sleeps_until=None, refusals=pattern.as_json()),
                execution_options=UNTRACKED,
            )
