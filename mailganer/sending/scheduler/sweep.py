"""Repair what dead lanes left: open windows, claims and leases.

Where the journal can be trusted, emails not handed over return to pending, those with a receipt are settled,
and only those on the wire are in doubt. Without a journal (the machine is gone or was restarted) the whole
window is in doubt.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row, exists, or_, select, text, update
from sqlalchemy.orm import Session

from ... import ledger
from ...backends import Receipt
from ...db import UNTRACKED
from ...ledger import DeliveryChange
from ...ledger.resolve_in_doubt import prove_seen
from ...models import Batch, BatchState, Delivery, DeliveryStatus, Lane, Reason, Sender, Window
from ...quota import reservations
from ...quota.plan_and_sender_usage import minute_of
from ..context import SendingContext
from ..worker import journal
from ..worker.journal import JournalEntry, LeftoverJournal
from ..worker.receipt_outcomes import WindowResult, change_for, mark_in_doubt

log = logging.getLogger(__name__)

ELSEWHERE = timedelta(minutes=15)
"""How long windows of a silent machine are left to it: when it comes back, its journals know more."""


def sweep(context: SendingContext) -> int:
    """Settle or release everything that dead lanes left; return how many windows were settled."""
    _free_lanes(context)
    swept = 0
    for row in _suspects(context):
        swept += _sweep_window(context, row)
    _free_batches(context)
    _clear_journals(context)
    return swept


def _suspects(context: SendingContext) -> Sequence[Any]:
    """Return all open windows except those whose journal is here and whose process renews its lease."""
    now = context.now()
    with context.readers() as session:
        rows = session.execute(
            select(Window.id, Window.journal, Window.host, Window.lease_until, Window.sender_id)
        ).all()
    return [row for row in rows if _may_be_swept(context, row, now)]


def _may_be_swept(context: SendingContext, row: Any, now: datetime) -> bool:
    path = context.journals / row.journal
    if journal.is_abandoned(path):
        return True
    late: timedelta = now - row.lease_until - context.span(context.margin)
    # With the journal here, the process is alive but stopped; without it, the process is on another machine.
    return late > (timedelta(0) if path.exists() else ELSEWHERE * context.speed)


def _sweep_window(context: SendingContext, row: Row[Any]) -> bool:
    with context.sessions.begin() as session:
        # The lock order everywhere: sender, account, batch, deliveries, usage.
        account_id = session.scalar(
            select(Sender.account_id).where(Sender.id == row.sender_id).with_for_update(key_share=True)
        )
        batch_id = session.scalar(select(Window.batch_id).where(Window.id == row.id))
        if batch_id is None:
            return False  # settled by its lane in the meantime
        session.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update())
        window = session.execute(_window(row.id)).first()
        if window is None or not _may_be_swept(context, window, context.now()):
            return False
        remains = _trusted(context.journals / window.journal, window)
        now = context.now()
        window_result = _window_result(_items(session, window), remains, window, now)
        settled = ledger.settle_left_over(session, batch_id, window.id, window_result.changes, now)
        if settled and account_id is not None:
            reservations.settle_reservation(
                session,
                window.sender_id,
                account_id,
                minute=minute_of(window.opened_at),
                taken=len(window_result.changes),
                used=window_result.quota_used,
                now=now,
            )
            reservations.note_left(session, window.campaign_id, window.sender_id, window_result.accepted, now)
            # A recipient may have opened or clicked before this.
            prove_seen(session, window.first_id, window.last_id, now)
    log.warning(
        "window %s of sender %s was left over: %s", row.id, row.sender_id, _summary(window_result.changes)
    )
    return settled


def _window(window_id: int) -> Any:
    return select(
        Window.id,
        Window.campaign_id,
        Window.sender_id,
        Window.first_id,
        Window.last_id,
        Window.size,
        Window.host,
        Window.journal,
        Window.opened_at,
        Window.lease_until,
    ).where(Window.id == window_id)


def _items(session: Session, window: Row[Any]) -> Sequence[Any]:
    """Return the window's deliveries in the order of its slots."""
    return session.execute(
        select(Delivery.id, Delivery.subscriber_id, Delivery.attempts, Delivery.first_tried_at)
        .where(
            Delivery.id.between(window.first_id, window.last_id),
            Delivery.status == DeliveryStatus.sending,
        )
        .order_by(Delivery.id)
    ).all()


def _trusted(path: Path, window: Row[Any]) -> LeftoverJournal | None:
    """Return the journal, if the machine has not been restarted since it was written."""
    return journal.read(path) if journal.same_boot(window.host) else None


def _window_result(
    items: Sequence[Row[Any]], remains: LeftoverJournal | None, window: Row[Any], now: datetime
) -> WindowResult:
    window_result = WindowResult()
    for slot, item in enumerate(items):
        change = _change(item, _note(remains, window, slot, len(items)), now, window_result)
        window_result.changes.append(change)
    return window_result


def _note(remains: LeftoverJournal | None, window: Row[Any], slot: int, size: int) -> JournalEntry:
    """Return what is known of one slot.

    A journal that has not reached this window means that nothing of the window was handed over.
    """
    if remains is None:
        return JournalEntry(journal.HANDED)
    if remains.window_id != window.id:
        return JournalEntry(journal.UNTOUCHED)
    if len(remains.notes) != size:  # cannot happen; if it does, the journal cannot be trusted
        return JournalEntry(journal.HANDED)
    return remains.notes[slot]


def _change(item: Row[Any], note: JournalEntry, now: datetime, window_result: WindowResult) -> DeliveryChange:
    if note.state == journal.UNTOUCHED:
        return DeliveryChange(item.id, DeliveryStatus.pending)
    if note.state == journal.ANSWERED and isinstance(note.receipt, Receipt):
        return change_for(item, note.receipt, now, window_result)
    window_result.quota_used += 1
    return mark_in_doubt(item.id, Reason.interrupted, now)


def _summary(changes: Sequence[DeliveryChange]) -> str:
    words = [change.status.value for change in changes]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


# --- abandoned claims, leases and files


def _free_lanes(context: SendingContext) -> None:
    """Release the lanes of dead processes now, instead of waiting for their leases to end."""
    now = context.now()
    with context.readers() as session:
        held = session.execute(
            select(Lane.sender_id, Lane.number, Lane.epoch, Lane.process).where(Lane.lease_until > now)
        ).all()
    for lane in held:
        if lane.process and journal.is_abandoned(context.journals / f"{lane.process}.journal"):
            with context.sessions.begin() as session:
                session.execute(
                    update(Lane)
                    .where(
                        Lane.sender_id == lane.sender_id,
                        Lane.number == lane.number,
                        Lane.epoch == lane.epoch,
                    )
                    .values(lease_until=now, host=None, process=None),
                    execution_options=UNTRACKED,
                )


def _free_batches(context: SendingContext) -> None:
    """Release claims that have no window and no live lane.

    A lease that ends later than any lease could was given before the clock was set back; if its lane lives,
    it renews the lease.
    """
    now = context.now()
    over = or_(
        Batch.lease_until < now - context.span(context.margin),
        Batch.lease_until > now + context.span(context.lease + context.margin),
    )
    no_window = ~exists().where(Window.batch_id == Batch.id)
    with context.readers() as session:
        lost = session.scalars(
            select(Batch.id).where(Batch.state == BatchState.claimed, _UNFINISHED, over, no_window)
        ).all()
    for batch_id in lost:
        with context.sessions.begin() as session:
            ledger.reopen_lost(session, batch_id, over)


# A literal, so that both databases use the partial index with this condition.
_UNFINISHED = text("batch.state <> 'done'")


def _clear_journals(context: SendingContext) -> None:
    """Remove the files of dead lanes whose windows are settled."""
    with context.readers() as session:
        needed = set(session.scalars(select(Window.journal)))
    for path in context.journals.glob("*.journal"):
        if path.name not in needed and journal.is_abandoned(path):
            path.unlink(missing_ok=True)
