"""Quota usage: how many emails may still be sent in rolling 24 hours, counted in minutes and never exceeded.

A minute's emails count until the last of them must be 24 hours old: emails of minute ``m`` are free again
when minute ``m + 1440`` is over. Workers reserve by these numbers, the forecast simulates them
(``rolling_counter.Counter``), and pages show them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..billing import plan_of
from ..models import Account, Base, Sender, Usage
from ..settings import Settings

MINUTES = 24 * 60
DAY = timedelta(minutes=MINUTES)


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


def minute_of(moment: datetime) -> int:
    """Return the minutes since 1970, the key of ``Usage``."""
    return int(moment.timestamp()) // 60


def frees_at(minute: int) -> datetime:
    """Return when the emails of this minute no longer count."""
    return datetime.fromtimestamp((minute + 1 + MINUTES) * 60, UTC)


def oldest_counted(now: datetime) -> int:
    """Return the first minute whose emails still count."""
    return minute_of(now) - MINUTES


def sender_usage(session: Session, sender_id: int, now: datetime) -> int:
    """Return the number of emails sent through a sender in the last 24 hours."""
    return _used(session, Usage.sender_id, sender_id, now)[0]


def account_usage(session: Session, account_id: int, now: datetime) -> int:
    """Return the number of emails sent through all senders of an account in the last 24 hours."""
    return _used(session, Usage.account_id, account_id, now)[0]


def sender_allowance(session: Session, sender_id: int, limit: int | None, now: datetime) -> QuotaUsage:
    """Return a sender's quota usage. ``limit`` is ``accounts.day_limit(sender, registry)``."""
    return QuotaUsage(limit, *_used(session, Usage.sender_id, sender_id, now))


def account_allowance(session: Session, account_id: int, limit: int | None, now: datetime) -> QuotaUsage:
    """Return an account's quota usage. ``limit`` is its plan's ``per_day``."""
    return QuotaUsage(limit, *_used(session, Usage.account_id, account_id, now))


def usage_by_sender(session: Session, account_id: int, now: datetime) -> dict[int, tuple[int, int]]:
    """Return by sender how many emails count now, and the first minute that does."""
    rows = session.execute(
        select(Usage.sender_id, func.sum(Usage.emails), func.min(Usage.minute))
        .where(Usage.account_id == account_id, Usage.minute >= oldest_counted(now), Usage.emails > 0)
        .group_by(Usage.sender_id)
    )
    return {sender_id: (int(emails), oldest) for sender_id, emails, oldest in rows}


def plan_allowance(session: Session, account: Account, settings: Settings, now: datetime) -> QuotaUsage:
    """Return an account's quota usage under its present plan."""
    return account_allowance(session, account.id, plan_of(account, settings, now).per_day, now)


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


# --- consuming, for campaigns and test emails alike


def lock(session: Session, sender_id: int, account_id: int, *, sender: bool, plan: bool) -> None:
    """Lock sender and account rows until the transaction ends, where there is a limit to keep."""
    if sender:
        session.execute(_LOCK_SENDER, {"id": sender_id})
    if plan:
        session.execute(_LOCK_ACCOUNT, {"id": account_id})


def use(session: Session, sender_id: int, account_id: int, emails: int, now: datetime) -> int:
    """Count emails as sent now; return the minute they are counted under."""
    minute = minute_of(now)
    if emails:
        add_usage(session, sender_id, account_id, minute, emails)
    return minute


def add_usage(session: Session, sender_id: int, account_id: int, minute: int, emails: int) -> None:
    """Add to the emails of a minute; a negative number gives some back."""
    used = {"sender_id": sender_id, "account_id": account_id, "minute": minute, "emails": emails}
    session.execute(_ADD_USAGE[session.get_bind().dialect.name], used)


# The statements are built once: they run in every window.


def emails_added(model: type[Base], *key: str) -> dict[str, Any]:
    """Return, by dialect, an upsert that adds ``emails`` to the row with the same key."""
    table = cast(Table, model.__table__)
    found = {}
    for dialect in (postgresql, sqlite):
        row = dialect.insert(table)
        found[dialect.__name__.rpartition(".")[2]] = row.on_conflict_do_update(
            index_elements=[table.c[name] for name in key],
            set_={"emails": table.c.emails + row.excluded.emails},
        )
    return found


_ADD_USAGE = emails_added(Usage, "sender_id", "minute")


def _locked(model: type[Base]) -> Any:
    # FOR NO KEY UPDATE: rows that only refer to these can still be written.
    table = cast(Table, model.__table__)
    return select(table.c.id).where(table.c.id == bindparam("id")).with_for_update(key_share=True)


_LOCK_SENDER, _LOCK_ACCOUNT = _locked(Sender), _locked(Account)
