"""The campaigns that wait for one sender, as the database has them, and what they have had of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import BigInteger, Table, and_, bindparam, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from ... import ledger
from ...campaigns.turns import PLENTY, CampaignShare, floor_after
from ...models import Batch, BatchState, Campaign, CampaignStatus, Sender, campaign_sender
from ...models.meta import UTCDateTime

_CAMPAIGNS, _BATCHES = cast(Table, Campaign.__table__), cast(Table, Batch.__table__)
_SENDERS = cast(Table, Sender.__table__)
_NOW = bindparam("now", type_=UTCDateTime())

_FREE = exists().where(
    _BATCHES.c.campaign_id == _CAMPAIGNS.c.id,
    _BATCHES.c.state == BatchState.open,
    or_(_BATCHES.c.not_before.is_(None), _BATCHES.c.not_before <= _NOW),
)
_HELD = (
    select(func.sum(_BATCHES.c.pending))
    .where(
        _BATCHES.c.campaign_id == _CAMPAIGNS.c.id,
        _BATCHES.c.state == BatchState.claimed,
        _BATCHES.c.sender_id == bindparam("sender"),
        _BATCHES.c.lease_until > _NOW,
    )
    .scalar_subquery()
)
_WAITING = (
    select(
        _CAMPAIGNS.c.id,
        campaign_sender.c.had,
        _SENDERS.c.floor,
        _FREE,
        func.coalesce(_HELD, 0),
    )
    .select_from(campaign_sender)
    .join(_CAMPAIGNS, _CAMPAIGNS.c.id == campaign_sender.c.campaign_id)
    .join(_SENDERS, _SENDERS.c.id == campaign_sender.c.sender_id)
    .where(
        campaign_sender.c.sender_id == bindparam("sender"),
        _CAMPAIGNS.c.status == CampaignStatus.sending,
        _CAMPAIGNS.c.frozen_email_id.is_not(None),
        or_(_CAMPAIGNS.c.resting_until.is_(None), _CAMPAIGNS.c.resting_until <= _NOW),
    )
)
_OF_BOTH = and_(
    campaign_sender.c.sender_id == bindparam("sender"), campaign_sender.c.campaign_id == bindparam("campaign")
)
_HAD, _BEFORE = campaign_sender.c.had, bindparam("before", type_=BigInteger)
# From "before" on, and from what another lane has counted meanwhile.
_TAKE = (
    update(campaign_sender)
    .where(_OF_BOTH)
    .values(had=case((_HAD < _BEFORE, _BEFORE), else_=_HAD) + bindparam("emails"))
)
_GIVE_BACK = update(campaign_sender).where(_OF_BOTH).values(had=_HAD - bindparam("emails"))
_RAISE = (
    update(_SENDERS)
    .where(_SENDERS.c.id == bindparam("sender"), _SENDERS.c.floor < bindparam("to"))
    .values(floor=bindparam("to"))
)
"""Built once: these are part of every window."""


@dataclass(frozen=True)
class SenderQueue:
    """A sender's campaigns with recipients who are due, and its floor."""

    turns: tuple[CampaignShare, ...]
    floor: int = 0
    counts: bool = True  # False: the plan's limit decides, and what each has of this sender is not counted


def read_sender_queue(
    session: Session, sender_id: int, now: datetime, ours: int | None = None
) -> SenderQueue:
    """Return who waits for a sender. The batch that the asking lane holds is one of campaign ``ours``."""
    found, floor = [], 0
    for campaign_id, had, floor, free, held in session.execute(_WAITING, {"sender": sender_id, "now": now}):
        if free or held:
            left = PLENTY if free else int(held)
            found.append(CampaignShare(campaign_id, max(had, floor), left, bool(free) or campaign_id == ours))
    return SenderQueue(tuple(found), floor)


def has_untried(session: Session, sender_id: int, now: datetime) -> bool:
    """Return whether a recipient of any of these campaigns is due about whom no server has answered yet.

    A campaign that has started or is due counts even if it is not planned yet: it is about to be sent.
    """
    found = (
        select(Batch.id)
        .select_from(campaign_sender)
        .join(Campaign, Campaign.id == campaign_sender.c.campaign_id)
        .join(Batch, Batch.campaign_id == Campaign.id)
        .where(
            campaign_sender.c.sender_id == sender_id,
            Campaign.status == CampaignStatus.sending,
            or_(Campaign.resting_until.is_(None), Campaign.resting_until <= now),
            Batch.state != BatchState.done,
            ledger.untried(now),
        )
        .limit(1)
    )
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
    return session.scalar(found) is not None or session.scalar(unplanned) is not None


def count_sent(session: Session, sender_id: int, queue: SenderQueue, campaign_id: int, emails: int) -> bool:
    """Count ``emails`` as had by one of these campaigns; return False where nothing is counted.

    Last in the order of locks, because several lanes count for one campaign.
    """
    if not queue.counts:
        return False
    counted = emails if len(queue.turns) > 1 else 0
    if counted:
        before = next(turn.had for turn in queue.turns if turn.campaign_id == campaign_id)
        taken = {"sender": sender_id, "campaign": campaign_id, "before": before, "emails": counted}
        session.execute(_TAKE, taken)
    floor = floor_after(queue.turns, campaign_id, counted)
    if floor > queue.floor:
        session.execute(_RAISE, {"sender": sender_id, "to": floor})
    return bool(counted)


def uncount(session: Session, sender_id: int, campaign_id: int, emails: int) -> None:
    """Count emails as not had after all: they were never handed over."""
    if emails:
        given = {"sender": sender_id, "campaign": campaign_id, "emails": emails}
        session.execute(_GIVE_BACK, given)
