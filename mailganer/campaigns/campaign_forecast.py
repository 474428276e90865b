"""Forecast of a stored campaign, from the usage and limits of its senders and account."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from ..accounts import day_limit, sender_limits
from ..audience.recipients import recipient_count
from ..backends import Registry
from ..billing import plan_of
from ..models import (
    Account,
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Sender,
    SenderStatus,
    SentPerMinute,
    campaign_list,
    campaign_sender,
)
from ..quota.plan_and_sender_usage import account_minutes, minute_of, oldest_counted, sender_minutes
from ..quota.rolling_counter import RollingCounter
from ..settings import Settings
from .actuals import planned_emails
from .forecast import MINUTE, Forecast
from .plan_shares import by_pace
from .sending_hours import Hours
from .simulation import simulate
from .simulation_model import SimulatedCampaign, SimulatedLane

# Emails per second of one connection without a configured pace: a round trip or two to a mail provider and
# its work on an email. Displayed as "about"; real sending may be faster.
EMAILS_A_SECOND = 5.0


def forecast(
    session: Session,
    campaign: Campaign,
    emails: int,
    *,
    settings: Settings,
    registry: Registry,
    now: datetime,
    send_at: datetime | None = None,
    per_minute: int = 0,
) -> Forecast:
    """Forecast the sending of ``emails`` emails of this campaign from ``send_at`` (or now) on.

    ``per_minute`` is the measured throughput of its senders together; 0 means their usual pace.
    """
    account: Account = campaign.account
    usable = [sender for sender in campaign.senders if usable_sender(sender)]
    starts_at = max(send_at or now, now)
    had = _had(session, campaign, usable)
    per_day = plan_of(account, settings, now).per_day
    limited = per_day is not None or any(day_limit(sender, registry) is not None for sender in usable)
    divided = limited and _sender_count(session, account.id) > 1  # as in sending.worker.window_planner
    others = _other_senders(session, account.id, usable) if divided else []
    rivals = _rivals(session, campaign, [*usable, *others], now)
    if rivals and campaign.started_at and now - campaign.started_at < timedelta(minutes=1):
        per_minute = 0  # the throughput so far was measured with this campaign alone
    seen = per_minute // len(usable) if usable else 0
    lanes = [_lane(session, sender, registry, now, seen) for sender in usable]
    other_lanes = [_lane(session, sender, registry, now, 0) for sender in others]
    plan = RollingCounter.of(per_day, account_minutes(session, account.id, now))
    hours = Hours.of(campaign.hours)
    return simulate(
        emails,
        starts_at,
        lanes,
        plan,
        account.timezone,
        hours,
        campaign_id=campaign.id,
        had=[had.get(sender.id, 0) for sender in usable],
        used=_used(session, [campaign.id], now).get(campaign.id) if divided else None,
        rivals=rivals,
        other_lanes=other_lanes if divided else None,
    )


def _sender_count(session: Session, account_id: int) -> int:
    own = select(func.count()).where(Sender.account_id == account_id, Sender.deleted_at.is_(None))
    return session.scalar(own) or 0


def _other_senders(session: Session, account_id: int, senders: Sequence[Sender]) -> list[Sender]:
    """Return the senders of the account's campaigns under way or scheduled, without these ones."""
    wanted = (
        select(campaign_sender.c.sender_id)
        .join(Campaign, Campaign.id == campaign_sender.c.campaign_id)
        .where(
            Campaign.account_id == account_id,
            Campaign.status.in_((CampaignStatus.sending, CampaignStatus.scheduled)),
        )
    )
    known = {sender.id for sender in senders}
    found = session.scalars(select(Sender).where(Sender.id.in_(wanted)).order_by(Sender.id))
    return [sender for sender in found if sender.id not in known and usable_sender(sender)]


def _used(session: Session, campaign_ids: Sequence[int], now: datetime) -> dict[int, RollingCounter]:
    """Return by campaign what it has had of the account in the last 24 hours."""
    sent = session.execute(
        select(SentPerMinute.campaign_id, SentPerMinute.minute, func.sum(SentPerMinute.emails))
        .where(SentPerMinute.campaign_id.in_(campaign_ids), SentPerMinute.minute >= oldest_counted(now))
        .group_by(SentPerMinute.campaign_id, SentPerMinute.minute)
    ).all()
    open_now = session.execute(
        select(Batch.campaign_id, literal(minute_of(now)), func.sum(Batch.sending))
        .where(Batch.campaign_id.in_(campaign_ids), Batch.state != BatchState.done)
        .group_by(Batch.campaign_id)
    ).all()
    minutes: dict[int, list[tuple[int, int]]] = {}
    for campaign_id, minute, emails in (*sent, *open_now):
        minutes.setdefault(campaign_id, []).append((minute, int(emails)))
    return {campaign_id: RollingCounter.of(None, used) for campaign_id, used in minutes.items()}


def _had(session: Session, campaign: Campaign, senders: Sequence[Sender]) -> dict[int, int]:
    """Return what a campaign has had of each sender so far."""
    rows = session.execute(
        select(campaign_sender.c.sender_id, campaign_sender.c.had).where(
            campaign_sender.c.campaign_id == campaign.id,
            campaign_sender.c.sender_id.in_([sender.id for sender in senders]),
        )
    )
    return {row.sender_id: row.had for row in rows}


def _rivals(
    session: Session, campaign: Campaign, senders: Sequence[Sender], now: datetime
) -> list[SimulatedCampaign]:
    """Return other campaigns that are being sent through these senders, or will be."""
    rows = session.execute(
        select(
            Campaign.id,
            Campaign.account_id,
            Campaign.status,
            Campaign.send_at,
            Campaign.hours,
            Campaign.resting_until,
            Campaign.planned,
            Campaign.planned_at,
            campaign_sender.c.sender_id,
            campaign_sender.c.had,
        )
        .join(campaign_sender, campaign_sender.c.campaign_id == Campaign.id)
        .where(
            Campaign.status.in_((CampaignStatus.sending, CampaignStatus.scheduled)),
            Campaign.id != campaign.id,
            campaign_sender.c.sender_id.in_([sender.id for sender in senders]),
        )
        .order_by(Campaign.id)
    ).all()
    numbers = {sender.id: number for number, sender in enumerate(senders)}
    left = _waiting(session, rows)
    used = _used(session, [row.id for row in rows], now) if rows else {}
    found: dict[int, SimulatedCampaign] = {}
    for row in rows:
        if row.id not in found:
            hours = Hours.of(row.hours)  # they show when it continues
            resting_until = row.resting_until if hours is None else None
            starts = row.send_at if row.status is CampaignStatus.scheduled else resting_until
            starts_at = max(starts or now, now)
            found[row.id] = SimulatedCampaign(row.id, left[row.id], starts_at, hours)
            if row.id in used:
                found[row.id].used = used[row.id]
        found[row.id].had[numbers[row.sender_id]] = row.had
    return [each for each in found.values() if each.left]


def _waiting(session: Session, rows: Sequence[Any]) -> dict[int, int]:
    """Return waiting recipients by campaign, including those without a delivery yet."""
    sums = session.execute(
        select(Batch.campaign_id, func.sum(Batch.pending + Batch.sending))
        .where(Batch.campaign_id.in_([row.id for row in rows if row.status is CampaignStatus.sending]))
        .group_by(Batch.campaign_id)
    )
    left = {campaign_id: int(waits) for campaign_id, waits in sums}
    unplanned = {row.id: row for row in rows if row.planned_at is None}
    kept = session.execute(select(Campaign.id, Campaign.forecast).where(Campaign.id.in_(unplanned)))
    for campaign_id, forecast in kept:
        emails = planned_emails(forecast)
        if emails is None:
            emails = _audience(session, unplanned[campaign_id])
        left[campaign_id] = left.get(campaign_id, 0) + max(0, emails - unplanned[campaign_id].planned)
    return {row.id: left.get(row.id, 0) for row in rows}


def _audience(session: Session, row: Any) -> int:
    lists = session.scalars(select(campaign_list.c.list_id).where(campaign_list.c.campaign_id == row.id))
    return recipient_count(session, row.account_id, lists.all())


def usable_sender(sender: Sender) -> bool:
    """Return whether emails can be sent through it without a user's intervention."""
    return sender.deleted_at is None and sender.status is not SenderStatus.failing


def pace(sender: Sender, registry: Registry) -> float:
    """Return the expected emails per second of this sender."""
    limits = sender_limits(sender, registry)
    return limits.per_second or EMAILS_A_SECOND * limits.max_connections


def _lane(session: Session, sender: Sender, registry: Registry, now: datetime, seen: int) -> SimulatedLane:
    asleep = sender.sleeps_until if sender.status is SenderStatus.sleeping else None
    if sender.slowed_to:
        seen = 0  # the pace its server asks for matters more than past throughput
    return SimulatedLane(
        name=sender.from_email,
        counter=RollingCounter.of(day_limit(sender, registry), sender_minutes(session, sender.id, now)),
        per_minute=seen or max(1, round(pace(sender, registry) * MINUTE)),
        awake_from=-(-int(asleep.timestamp()) // MINUTE) if asleep and asleep > now else None,
        grows_to=(sender.slowed_from or 0) * MINUTE,
        floor=sender.floor,
        per_day_by_pace=by_pace(sender_limits(sender, registry).per_second),
        sender_id=sender.id,
    )
