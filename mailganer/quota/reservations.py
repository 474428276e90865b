"""Reserve quota in the commit that marks emails as sending, and return the unused part when they are settled.

The order of locks, where there is a limit to be kept: sender, account, batch, deliveries, usage. A sender
without one is taken later: after its batch when a recipient was refused or the sender has to rest, and after
its account when the plan has nothing left for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..models import Account, Base, Sender, SentPerMinute, Usage
from .plan_and_sender_usage import QuotaUsage, SenderUsage, frees_at, minute_of, sender_quota, usage_by_sender

__all__ = [
    "FREE",
    "UNKNOWN_USAGE",
    "LimitOwner",
    "RemainingQuota",
    "frees_at",
    "lock",
    "move_used",
    "note_left",
    "remaining",
    "reserve",
    "settle_reservation",
]

UNKNOWN_USAGE = timedelta(hours=1)  # after "enough for today" from a server through which nothing was sent


class LimitOwner(StrEnum):
    """Whose limit is used up."""

    sender = "sender"
    plan = "plan"


@dataclass(frozen=True)
class RemainingQuota:
    """How many emails may be sent now (None: any number); if none, whose limit it is and until when."""

    emails: int | None
    counter: LimitOwner | None = None
    until: datetime | None = None
    plan: int | None = None  # what the plan alone allows
    # Where there is a plan's limit: what each sender of the account has used.
    used: Mapping[int, SenderUsage] = field(default_factory=dict)


FREE = RemainingQuota(None)


def remaining(
    session: Session,
    sender_id: int,
    account_id: int,
    *,
    sender_limit: int | None,
    plan_limit: int | None,
    now: datetime,
) -> RemainingQuota:
    """Return how many emails may be sent now. Exact only under :func:`lock`."""
    emails: int | None = None
    plan, used = None, {}
    for counter, limit in ((LimitOwner.sender, sender_limit), (LimitOwner.plan, plan_limit)):
        if limit is None:
            continue
        if counter is LimitOwner.sender:
            quota = sender_quota(session, sender_id, limit, now)
        else:
            used = usage_by_sender(session, account_id, now)
            oldest = min((each.oldest for each in used.values()), default=None)
            quota = QuotaUsage(limit, sum(each.emails for each in used.values()), oldest)
            plan = quota.remaining
        remaining = quota.remaining or 0
        if remaining == 0:
            return RemainingQuota(0, counter, quota.waits_until)
        emails = remaining if emails is None else min(emails, remaining)
    return RemainingQuota(emails, plan=plan, used=used)


def lock(session: Session, sender_id: int, account_id: int, *, sender: bool, plan: bool) -> None:
    """Lock sender and account rows until the transaction ends, where there is a limit to keep."""
    if sender:
        session.execute(_LOCK_SENDER, {"id": sender_id})
    if plan:
        session.execute(_LOCK_ACCOUNT, {"id": account_id})


def reserve(session: Session, sender_id: int, account_id: int, emails: int, now: datetime) -> int:
    """Count emails as sent now, before they are; return the minute they are counted under."""
    minute = minute_of(now)
    if emails:
        _add_usage(session, sender_id, account_id, minute, emails)
    return minute


def _add_usage(session: Session, sender_id: int, account_id: int, minute: int, emails: int) -> None:
    """Add to the emails of a minute; a negative number gives some back."""
    used = {"sender_id": sender_id, "account_id": account_id, "minute": minute, "emails": emails}
    session.execute(_ADD_USAGE[session.get_bind().dialect.name], used)


def settle_reservation(
    session: Session, sender_id: int, account_id: int, *, minute: int, taken: int, used: int, now: datetime
) -> None:
    """Record that ``used`` of the ``taken`` emails reserved under ``minute`` were sent, and return the rest.

    They count from the minute of the response: the server, which counts too, may have accepted them only
    then.
    """
    present = max(minute, minute_of(now))
    if present == minute:
        if used != taken:
            _add_usage(session, sender_id, account_id, minute, used - taken)
        return
    if taken:
        _add_usage(session, sender_id, account_id, minute, -taken)
    if used:
        _add_usage(session, sender_id, account_id, present, used)


def move_used(session: Session, sender_id: int, *, minute: int, emails: int) -> None:
    """Remove emails from a minute's count that turned out not to have been sent."""
    session.execute(
        update(Usage)
        .where(Usage.sender_id == sender_id, Usage.minute == minute, Usage.emails >= emails)
        .values(emails=Usage.emails - emails)
    )


def note_left(session: Session, campaign_id: int, sender_id: int, emails: int, now: datetime) -> None:
    """Count emails that a server accepted, for the campaign's report; separate from the quota.

    A doubtful email is never among them, whatever it turns out to be, so no email is counted twice.
    """
    if emails:
        noted = {
            "campaign_id": campaign_id,
            "sender_id": sender_id,
            "minute": minute_of(now),
            "emails": emails,
        }
        session.execute(_NOTE_LEFT[session.get_bind().dialect.name], noted)


# The statements are built once: they run in every window.


def _emails_added(model: type[Base], *key: str) -> dict[str, Any]:
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


_ADD_USAGE = _emails_added(Usage, "sender_id", "minute")
_NOTE_LEFT = _emails_added(SentPerMinute, "campaign_id", "sender_id", "minute")


def _locked(model: type[Base]) -> Any:
    # FOR NO KEY UPDATE: rows that only refer to these can still be written.
    table = cast(Table, model.__table__)
    return select(table.c.id).where(table.c.id == bindparam("id")).with_for_update(key_share=True)


_LOCK_SENDER, _LOCK_ACCOUNT = _locked(Sender), _locked(Account)
