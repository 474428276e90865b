"""The current plan of an account, and its room for more subscribers.

Emails are counted in ``quota.plan_and_sender_usage``.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import LimitReached, _
from ..models import Account, SubscriberStatus
from ..quota.plan_and_sender_usage import QuotaUsage, account_quota, account_usage
from ..settings import NO_LIMITS, Plan, Settings
from ..subscriber_counts import account_counts
from .operators import is_operator

COUNTED = (SubscriberStatus.active, SubscriberStatus.unconfirmed)
"""Statuses that count towards the plan: subscribers who get emails, or will.

Suppressed addresses are free: otherwise users would save money by deleting them, and might send to them
again.
"""


@dataclass(frozen=True)
class PlanUsage:
    """What an account uses of its plan."""

    last_24h: int  # emails sent in the last 24 hours through all of its senders
    subscribers: int  # subscribers that count towards the plan


def plan_runs_until(account: Account, now: datetime) -> datetime | None:
    """Return when the purchased plan ends; None without one, or if it has no end."""
    return account.plan_until if account.plan_until and account.plan_until > now else None


def plan_of(account: Account, settings: Settings, now: datetime) -> Plan:
    """Return the current plan. One that expired, or is no longer configured, is replaced by the first plan.

    Operators have no limits, because they could raise them. The account has to be in a session.
    """
    if is_operator(account, settings):
        return NO_LIMITS
    if account.plan_until is not None and account.plan_until <= now:
        return settings.plans[0]
    return settings.plan(account.plan)


def usage(session: Session, account: Account, now: datetime) -> PlanUsage:
    return PlanUsage(account_usage(session, account.id, now), subscribers_counted(session, account.id))


def plan_quota(session: Session, account: Account, settings: Settings, now: datetime) -> QuotaUsage:
    """Return how many emails the current plan allows in 24 hours, and how many of them are sent."""
    return account_quota(session, account.id, plan_of(account, settings, now).per_day, now)


def subscribers_counted(session: Session, account_id: int) -> int:
    """Return the number of subscribers that count towards the plan, from the kept counts."""
    counts = account_counts(session, account_id)
    return sum(counts[status] for status in COUNTED)


def subscriber_room(session: Session, account: Account, settings: Settings, now: datetime) -> int | None:
    """Return how many subscribers may still be added; None for any number."""
    limit = plan_of(account, settings, now).max_subscribers
    return None if limit is None else max(0, limit - subscribers_counted(session, account.id))


def require_subscriber_room(
    session: Session, account: Account, settings: Settings, now: datetime, wanted: int = 1
) -> None:
    """Raise ``LimitReached`` when the plan has no room for ``wanted`` more subscribers.

    Locks the account until the transaction ends, so that two requests do not take the last place.
    """
    # "No key": rows that only refer to the account (subscribers, deliveries) may still be written.
    session.execute(select(Account.id).where(Account.id == account.id).with_for_update(key_share=True))
    remaining = subscriber_room(session, account, settings, now)
    if remaining is None or wanted <= remaining:
        return
    raise LimitReached(_no_room(plan_of(account, settings, now), remaining), counter="max_subscribers")


def _no_room(plan: Plan, remaining: int) -> str:
    mapping = {"plan": plan.title, "limit": plan.max_subscribers, "room": remaining}
    if not remaining:
        return _(
            "The plan “${plan}” allows ${limit} subscribers, and all are used. Upgrade the plan "
            "or delete subscribers. Unsubscribed addresses are not counted.",
            mapping=mapping,
        )
    return _(
        "The plan “${plan}” allows ${limit} subscribers, and ${room} more can be added. "
        "Upgrade the plan or delete subscribers. Unsubscribed addresses are not counted.",
        mapping=mapping,
    )
