"""Plans: which one holds now, how much of it is used, and whether there is room for more people.

How many emails may still leave is decided where they leave (``campaigns.allowance``, by the same rows).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from .. import models
from ..errors import LimitReached, _
from ..models import Account, Subscriber, SubscriberStatus
from ..settings import NO_LIMITS, Plan, Settings
from .operators import is_operator

DAY = timedelta(hours=24)
COUNTED = (SubscriberStatus.active, SubscriberStatus.unconfirmed)
"""Who takes a place of the plan: people who are written to, or will be. Keeping the memory of somebody who
left costs nothing: else it would pay to forget them, and to write to them again one day."""


@dataclass(frozen=True)
class PlanUsage:
    """What an account has used."""

    last_24h: int  # emails that left in any of its senders' last 24 hours
    subscribers: int  # people who take a place of the plan


def plan_runs_until(account: Account, now: datetime) -> datetime | None:
    """When the plan that was bought ends; None when there is no such plan now, or it has no end."""
    return account.plan_until if account.plan_until and account.plan_until > now else None


def plan_of(account: Account, settings: Settings, now: datetime) -> Plan:
    """Return the plan that holds now. One that ran out, or is no longer configured, gives way to the first.

    Operators have none: nothing limits whoever could raise the limit. The account has to be in a session.
    """
    if is_operator(account, settings):
        return NO_LIMITS
    if account.plan_until is not None and account.plan_until <= now:
        return settings.plans[0]
    return settings.plan(account.plan)


def usage(session: Session, account: Account, now: datetime) -> PlanUsage:
    return PlanUsage(emails_since(session, account.id, now - DAY), subscribers_counted(session, account.id))


def emails_since(session: Session, account_id: int, since: datetime) -> int:
    """Emails of all senders of an account, to the minute; the minute ``since`` lies in counts wholly.

    The same number as ``campaigns.allowance.account_usage``, which people stand between: audience asks here
    for room, and campaigns ask the audience.
    """
    minutes = int(since.timestamp()) // 60
    query = select(func.coalesce(func.sum(models.Usage.emails), 0)).where(
        models.Usage.account_id == account_id, models.Usage.minute >= minutes
    )
    return int(session.scalar(query) or 0)


def subscribers_counted(session: Session, account_id: int) -> int:
    query = select(func.count()).where(Subscriber.account_id == account_id, Subscriber.status.in_(COUNTED))
    return int(session.scalar(query) or 0)


def subscriber_room(session: Session, account: Account, settings: Settings, now: datetime) -> int | None:
    """How many people may still come in; None: as many as one likes."""
    limit = plan_of(account, settings, now).max_subscribers
    return None if limit is None else max(0, limit - subscribers_counted(session, account.id))


def require_subscriber_room(
    session: Session, account: Account, settings: Settings, now: datetime, wanted: int = 1
) -> None:
    """Raises ``LimitReached`` when the plan has no room for ``wanted`` more people.

    Until the transaction ends nobody else gets an answer for this account: two do not take the last place.
    """
    # "No key": rows that only point at the account (subscribers, deliveries) may be written meanwhile.
    session.execute(select(Account.id).where(Account.id == account.id).with_for_update(key_share=True))
    room = subscriber_room(session, account, settings, now)
    if room is None or wanted <= room:
        return
    raise LimitReached(_no_room(plan_of(account, settings, now), room), counter="max_subscribers")


def _no_room(plan: Plan, room: int) -> str:
    mapping = {"plan": plan.title, "limit": plan.max_subscribers, "room": room}
    if not room:
        return _(
            "The plan “${plan}” holds ${limit} people, and there is no room left. "
            "A bigger plan holds more; people who unsubscribed take no place.",
            mapping=mapping,
        )
    return _(
        "The plan “${plan}” holds ${limit} people, and there is room for ${room} more. "
        "A bigger plan holds more; people who unsubscribed take no place.",
        mapping=mapping,
    )
