"""The forecast of a campaign of this database: what its senders and its account have used and may use."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..accounts import day_limit, sender_limits
from ..backends import Registry
from ..billing import plan_of
from ..models import Account, Batch, Campaign, CampaignStatus, Sender, SenderStatus
from ..settings import Settings
from .allowance import account_minutes, sender_minutes
from .forecast import MINUTE, Counter, Forecast, Lane, play
from .hours import Hours

# What one connection manages where nobody names a pace: a round trip or two to a mail provider and its
# own work on a letter. Said as "about"; real sending may be faster.
LETTERS_A_SECOND = 5.0


def forecast(
    session: Session,
    campaign: Campaign,
    letters: int,
    *,
    settings: Settings,
    registry: Registry,
    now: datetime,
    send_at: datetime | None = None,
    per_minute: int = 0,
) -> Forecast:
    """When ``letters`` letters of this campaign will have left, if they may from ``send_at`` (or now) on.

    ``per_minute`` is what its senders are seen to manage together; 0: their usual pace is taken.
    """
    account: Account = campaign.account
    usable = [sender for sender in campaign.senders if usable_sender(sender)]
    seen = per_minute // len(usable) if usable else 0
    lanes = [_lane(session, sender, registry, now, seen) for sender in usable]
    plan = Counter.of(plan_of(account, settings, now).per_day, account_minutes(session, account.id, now))
    hours = Hours.of(campaign.hours)
    # A pace that was seen is what the others have left of it.
    beside = 0 if seen else _letters_beside(session, campaign, usable, letters)
    return play(letters, max(send_at or now, now), lanes, plan, account.timezone, hours, beside)


def _letters_beside(session: Session, campaign: Campaign, senders: Sequence[Sender], letters: int) -> int:
    """Letters of other campaigns that leave through these senders while ``letters`` of this one do: campaigns
    of one sender take turns, so that each has sent as many as this one when this one is done."""
    waiting = func.sum(Batch.pending + Batch.sending)
    rows = session.scalars(
        select(waiting)
        .join(Campaign, Campaign.id == Batch.campaign_id)
        .where(
            Campaign.account_id == campaign.account_id,
            Campaign.status == CampaignStatus.sending,
            Campaign.id != campaign.id,
            Campaign.senders.any(Sender.id.in_([sender.id for sender in senders])),
        )
        .group_by(Batch.campaign_id)
    )
    return sum(min(letters, int(waits)) for waits in rows)


def usable_sender(sender: Sender) -> bool:
    """Whether letters will leave through it without anybody doing something first."""
    return sender.deleted_at is None and sender.status is not SenderStatus.failing


def pace(sender: Sender, registry: Registry) -> float:
    """Letters a second this sender is expected to manage."""
    limits = sender_limits(sender, registry)
    return limits.per_second or LETTERS_A_SECOND * limits.max_connections


def _lane(session: Session, sender: Sender, registry: Registry, now: datetime, seen: int) -> Lane:
    asleep = sender.sleeps_until if sender.status is SenderStatus.sleeping else None
    if sender.slowed_to:
        seen = 0  # what it is asked to keep to says more than what it managed before
    return Lane(
        name=sender.from_email,
        counter=Counter.of(day_limit(sender, registry), sender_minutes(session, sender.id, now)),
        per_minute=seen or max(1, round(pace(sender, registry) * MINUTE)),
        awake_from=-(-int(asleep.timestamp()) // MINUTE) if asleep and asleep > now else None,
        grows_to=(sender.slowed_from or 0) * MINUTE,
    )
