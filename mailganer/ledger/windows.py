"""Open a window of a batch, and settle it with the results of its emails."""

import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import SKIP_REASONS, Batch, Delivery, DeliveryStatus, Reason, SubscriberStatus, Window
from .claims import Claim, RecipientSelection, of_other_domain, reopen
from .delivery_state_changes import (
    LONGEST_DEFERRED,
    MARK,
    MARK_UNTRIED,
    NEW_WINDOW,
    RECIPIENTS,
    UNTRIED_RECIPIENTS,
    DeliveryChange,
    affected,
    apply,
    count,
    forget,
)


class Recipient(NamedTuple):
    """One delivery with its subscriber's values, in the order of ``RECIPIENTS``.

    ``address`` is where the email goes, ``email`` the subscriber's present address. For an erased subscriber
    everything from ``status`` to ``fields`` is None.
    """

    id: int
    subscriber_id: int | None
    address: str
    token: bytes
    dated_at: datetime
    attempts: int
    first_tried_at: datetime | None
    status: SubscriberStatus
    email: str
    first_name: str
    last_name: str
    birthday: date | None
    fields: Mapping[str, Any]
    returned_at: datetime | None = None


@dataclass(frozen=True)
class OpenWindow:
    """Deliveries marked ``sending``, in the order of their ids."""

    id: int
    claim: Claim
    items: Sequence[Recipient]


def open_window(
    session: Session,
    claim: Claim,
    *,
    sender_id: int,
    frozen_email_id: int,
    size: int,
    host: str,
    process: str,
    journal: str,
    now: datetime,
    until: datetime,
    selection: RecipientSelection = RecipientSelection.in_order,
    other_than: Collection[str] = (),
) -> OpenWindow | None:
    """Mark the next ``size`` due recipients of a batch locked by :func:`hold`; return None when none is due.

    Recipients who have unsubscribed since the campaign was planned are skipped on the way. ``other_than`` are
    the domains of ``RecipientSelection.other_domain``.
    """
    items = _next(session, claim, size, now, selection, other_than)
    if not items:
        return None
    _mark(session, claim, items, sender_id, frozen_email_id, now, selection)
    # Not the database's own number: SQLite gives that of a settled window to the next one, and what a journal
    # or a late report of a lane about the old one would be taken for the new one's.
    window_id = secrets.randbits(62)
    session.execute(
        NEW_WINDOW,
        {
            "id": window_id,
            "batch_id": claim.batch_id,
            "campaign_id": claim.campaign_id,
            "sender_id": sender_id,
            "epoch": claim.epoch,
            "first_id": items[0].id,
            "last_id": items[-1].id,
            "size": len(items),
            "host": host,
            "process": process,
            "journal": journal,
            "opened_at": now,
            "lease_until": until,
        },
    )
    count(session, claim.batch_id, Counter(pending=-len(items), sending=len(items)))
    return OpenWindow(window_id, claim, items)


def _next(
    session: Session,
    claim: Claim,
    size: int,
    now: datetime,
    selection: RecipientSelection,
    other_than: Collection[str],
) -> list[Recipient]:
    """Return the next due deliveries that may be sent; empty if none is due."""
    wanted = {"first": claim.first_id, "last": claim.last_id, "now": now, "size": size}
    # A row of SQLAlchemy's finds its values by name, several times slower than a tuple of our own.
    while found := [Recipient._make(row) for row in _select(session, wanted, selection, other_than)]:
        if items := _leave_out(session, claim, found, now):
            return items
    return []


def _select(
    session: Session, wanted: dict[str, Any], selection: RecipientSelection, other_than: Collection[str]
) -> Sequence[Any]:
    if selection is RecipientSelection.longest_deferred:
        oldest = session.scalar(LONGEST_DEFERRED, wanted)
        return session.execute(RECIPIENTS, {**wanted, "first": oldest, "last": oldest, "size": 1}).all()
    if selection in (RecipientSelection.sample, RecipientSelection.other_domain):
        query = UNTRIED_RECIPIENTS.where(*of_other_domain(other_than)) if other_than else UNTRIED_RECIPIENTS
        first = wanted["first"] + secrets.randbelow(wanted["last"] - wanted["first"] + 1)
        if found := session.execute(query, {**wanted, "first": first, "size": 1}).all():
            return found
        return session.execute(query, {**wanted, "size": 1}).all()
    return session.execute(
        RECIPIENTS if selection is RecipientSelection.in_order else UNTRIED_RECIPIENTS, wanted
    ).all()


def _mark(
    session: Session,
    claim: Claim,
    items: Sequence[Recipient],
    sender_id: int,
    frozen_email_id: int,
    now: datetime,
    selection: RecipientSelection,
) -> None:
    ours = {
        "first": items[0].id,
        "last": items[-1].id,
        "now": now,
        "sender": sender_id,
        "frozen_email": frozen_email_id,
    }
    retries = selection in (RecipientSelection.in_order, RecipientSelection.longest_deferred)
    mark = MARK if retries else MARK_UNTRIED
    marked = affected(session.execute(mark, ours))
    if marked != len(items):
        raise RuntimeError(f"batch {claim.batch_id}: {marked} marked instead of {len(items)}")


def _leave_out(session: Session, claim: Claim, found: Sequence[Recipient], now: datetime) -> list[Recipient]:
    """Skip recipients who must not get the email any more; return the others."""
    stay = [row for row in found if row.status is SubscriberStatus.active]
    if len(stay) == len(found):
        return stay
    skipped = [
        DeliveryChange(row.id, DeliveryStatus.skipped, SKIP_REASONS.get(row.status, Reason.erased))
        for row in found
        if row.status is not SubscriberStatus.active
    ]
    apply(session, skipped, DeliveryStatus.pending, now)
    count(session, claim.batch_id, Counter(pending=-len(skipped), skipped=len(skipped)))
    return stay


class SettleResult(Enum):
    """How a window was settled."""

    whole = "whole"
    late = "late"  # the window was taken over: only what the server has accepted is recorded, over a doubt
    # Taken over in a restored database, which lost the window: it is recorded over "pending".
    forgotten = "forgotten"


def settle(
    session: Session, window: OpenWindow, changes: Sequence[DeliveryChange], now: datetime
) -> SettleResult:
    """Settle a window with the results of its emails, unless it has been taken over."""
    claim = window.claim
    if not forget(session, window.id):
        return _settle_late(session, claim.batch_id, changes, now)
    _close(session, claim.batch_id, changes, now)
    return SettleResult.whole


def settle_left_over(
    session: Session, batch_id: int, window_id: int, changes: Sequence[DeliveryChange], now: datetime
) -> bool:
    """Settle the window of a dead lane, and release its batch. Used by the sweep."""
    session.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update())
    if not forget(session, window_id):
        return False
    _close(session, batch_id, changes, now)
    reopen(session, batch_id, Batch.id == batch_id)
    return True


def _close(session: Session, batch_id: int, changes: Sequence[DeliveryChange], now: datetime) -> None:
    moved = apply(session, changes, DeliveryStatus.sending, now)
    if moved != len(changes):
        raise RuntimeError(f"batch {batch_id}: {moved} settled instead of {len(changes)}")
    counts = Counter(change.status.value for change in changes)
    counts[DeliveryStatus.sending.value] -= len(changes)
    count(session, batch_id, counts)


def _settle_late(
    session: Session, batch_id: int, changes: Sequence[DeliveryChange], now: datetime
) -> SettleResult:
    session.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update())
    accepted = [change for change in changes if change.status is DeliveryStatus.sent]
    doubtful = [change for change in changes if change.status is DeliveryStatus.in_doubt]
    proven = apply(session, accepted, DeliveryStatus.in_doubt, now)
    sent = apply(session, accepted, DeliveryStatus.pending, now)
    doubts = apply(session, doubtful, DeliveryStatus.pending, now)
    counts = Counter(in_doubt=doubts - proven, sent=proven + sent, pending=-sent - doubts)
    count(session, batch_id, counts)
    # Taking a window over returns no delivery that was handed over: only a restored copy can have it pending.
    return SettleResult.forgotten if sent or doubts else SettleResult.late


def windows_of_journal(session: Session, journal: str) -> Sequence[Any]:
    """Return the unsettled windows opened under this journal's name."""
    return session.execute(
        select(
            Window.id, Window.batch_id, Window.first_id, Window.last_id, Window.size, Window.opened_at
        ).where(Window.journal == journal)
    ).all()


def untouched(session: Session, first_id: int, last_id: int) -> list[DeliveryChange]:
    """Return changes that make a whole range pending again, as if it had not been in a window."""
    ids = session.scalars(
        select(Delivery.id).where(
            Delivery.id.between(first_id, last_id), Delivery.status == DeliveryStatus.sending
        )
    )
    return [DeliveryChange(each, DeliveryStatus.pending) for each in ids]
