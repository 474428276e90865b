"""Usage of plans and senders: emails sent in rolling 24 hours, counted in minutes and never exceeded.

A minute's emails count until the last of them must be 24 hours old: emails of minute ``m`` are free again
when minute ``m + 1440`` is over. Workers reserve by these numbers, the forecast simulates them
(``RollingCounter``), and pages show them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..models import Usage
from .rolling_counter import WINDOW

DAY = timedelta(minutes=WINDOW)


@dataclass(frozen=True)
class QuotaUsage:
    """A limit of emails in any 24 hours, and how much of it is used. ``limit`` None means no limit."""

    limit: int | None
    used: int
    oldest: int | None = None  # the first minute that still counts

    @property
    def remaining(self) -> int | None:
        """Emails that may be sent now; None means any number."""
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def frees_at(self) -> datetime | None:
        """When more emails may be sent than now; None means never by waiting, or no limit."""
        if self.limit is None or self.limit == 0 or self.oldest is None:
            return None
        return frees_at(self.oldest)

    @property
    def waits_until(self) -> datetime | None:
        """When the next email may be sent, if not now."""
        return self.frees_at if self.remaining == 0 else None


class SenderUsage(NamedTuple):
    """A sender's emails of the last 24 hours, and the first minute that has some."""

    emails: int
    oldest: int


def minute_of(at: datetime) -> int:
    """Return the minutes since 1970, the key of ``Usage``."""
    return int(at.timestamp()) // 60


def frees_at(minute: int) -> datetime:
    """Return when the emails of this minute no longer count."""
    return datetime.fromtimestamp((minute + 1 + WINDOW) * 60, UTC)


def oldest_counted(now: datetime) -> int:
    """Return the first minute whose emails still count."""
    return minute_of(now) - WINDOW


def sender_usage(session: Session, sender_id: int, now: datetime) -> int:
    """Return the number of emails sent through a sender in the last 24 hours."""
    return _used(session, Usage.sender_id, sender_id, now)[0]


def account_usage(session: Session, account_id: int, now: datetime) -> int:
    """Return the number of emails sent through all senders of an account in the last 24 hours."""
    return _used(session, Usage.account_id, account_id, now)[0]


def sender_quota(session: Session, sender_id: int, limit: int | None, now: datetime) -> QuotaUsage:
    """Return a sender's quota usage. ``limit`` is ``accounts.day_limit(sender, registry)``."""
    return QuotaUsage(limit, *_used(session, Usage.sender_id, sender_id, now))


def account_quota(session: Session, account_id: int, limit: int | None, now: datetime) -> QuotaUsage:
    """Return an account's quota usage. ``limit`` is its plan's ``per_day``."""
    return QuotaUsage(limit, *_used(session, Usage.account_id, account_id, now))


def usage_by_sender(session: Session, account_id: int, now: datetime) -> dict[int, SenderUsage]:
    """Return the usage of each sender of an account that has sent in the last 24 hours."""
    rows = session.execute(
        select(Usage.sender_id, func.sum(Usage.emails), func.min(Usage.minute))
        .where(Usage.account_id == account_id, Usage.minute >= oldest_counted(now), Usage.emails > 0)
        .group_by(Usage.sender_id)
    )
    return {sender_id: SenderUsage(int(emails), oldest) for sender_id, emails, oldest in rows}


def newest_minute(session: Session, sender_id: int) -> int | None:
    """Return the last minute in which emails were sent through a sender."""
    return session.scalar(
        select(func.max(Usage.minute)).where(Usage.sender_id == sender_id, Usage.emails > 0)
    )


def usage_between(session: Session, sender_ids: Collection[int], first: int, end: int) -> int:
    """Return the number of emails sent through these senders from minute ``first`` up to minute ``end``."""
    used = select(func.coalesce(func.sum(Usage.emails), 0)).where(
        Usage.sender_id.in_(sender_ids), Usage.minute >= first, Usage.minute < end
    )
    return int(session.scalar(used) or 0)


def recent_usage(session: Session, now: datetime, minutes: int) -> dict[int, tuple[int, int]]:
    """Return by sender the emails of the last 24 hours, and of the last ``minutes``; for all accounts."""
    lately = func.sum(case((Usage.minute > minute_of(now) - minutes, Usage.emails), else_=0))
    rows = session.execute(
        select(Usage.sender_id, func.sum(Usage.emails), lately)
        .where(Usage.minute >= oldest_counted(now))
        .group_by(Usage.sender_id)
    )
    return {sender_id: (int(day), int(some)) for sender_id, day, some in rows}


def sender_minutes(session: Session, sender_id: int, now: datetime) -> list[tuple[int, int]]:
    """Return (minute, emails) pairs that still count, oldest first; a forecast starts from them."""
    return _minutes(session, Usage.sender_id, sender_id, now)


def account_minutes(session: Session, account_id: int, now: datetime) -> list[tuple[int, int]]:
    return _minutes(session, Usage.account_id, account_id, now)


def _used(
    session: Session, owner: InstrumentedAttribute[int], owner_id: int, now: datetime
) -> tuple[int, int | None]:
    row = session.execute(
        select(func.coalesce(func.sum(Usage.emails), 0), func.min(Usage.minute)).where(
            owner == owner_id, Usage.minute >= oldest_counted(now), Usage.emails > 0
        )
    ).one()
    return int(row[0]), row[1]


def _minutes(
    session: Session, owner: InstrumentedAttribute[int], owner_id: int, now: datetime
) -> list[tuple[int, int]]:
    rows = session.execute(
        select(Usage.minute, func.sum(Usage.emails))
        .where(owner == owner_id, Usage.minute >= oldest_counted(now), Usage.emails > 0)
        .group_by(Usage.minute)
        .order_by(Usage.minute)
    )
    return [(row[0], int(row[1])) for row in rows]
