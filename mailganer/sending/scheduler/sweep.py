"""Putting right what was left over: windows of lanes that died, claims and leases nobody holds any more.

By the journal, where it can be trusted: what was not handed over goes back, what was answered is settled,
and only what was on the wire is in doubt. Without one (the machine is gone, or was restarted) the whole
window is.
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
from ...models import Batch, BatchState, Delivery, DeliveryStatus, Lane, Reason, Sender, Window
from ...quota import reservations
from ...quota.usage import minute_of
from ...tracking.resolve_in_doubt import prove_seen
from ..context import SendingContext
from ..worker import journal
from ..worker.journal import JournalEntry, LeftoverJournal
from ..worker.receipt_outcomes import WindowResult, change_for, mark_in_doubt

log = logging.getLogger(__name__)

ELSEWHERE = timedelta(minutes=15)
"""How long windows of a machine that is silent are left to it: when it comes back, its journals know more."""


def sweep(context: SendingContext) -> int:
    """Settles and frees whatever was left over; answers how many windows that were."""
    _free_lanes(context)
    swept = 0
    for row in _suspects(context):
        swept += _sweep_window(context, row)
    _free_batches(context)
    _clear_journals(context)
    return swept


def _suspects(context: SendingContext) -> Sequence[Any]:
    """All open windows but those whose journal is here and whose process lives in time."""
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
    late = now - row.lease_until - context.span(context.margin)
    # With the journal here, its process is alive and does not move; without, it is somewhere else.
    return late > (timedelta(0) if path.exists() else ELSEWHERE * context.speed)


def _sweep_window(context: SendingContext, row: Row[Any]) -> bool:
    with context.sessions.begin() as session:
        # In this order everywhere: sender, account, batch, deliveries, usage.
        account_id = session.scalar(
            select(Sender.account_id).where(Sender.id == row.sender_id).with_for_update(key_share=True)
        )
        batch_id = session.scalar(select(Window.batch_id).where(Window.id == row.id))
        if batch_id is None:
            return False  # settled by its lane meanwhile
        session.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update())
        window = session.execute(_window(row.id)).first()
        if window is None or not _may_be_swept(context, window, context.now()):
            return False
        remains = _trusted(context.journals / window.journal, window)
        now = context.now()
        window_result = _window_result(_items(session, window), remains, window, now)
        settled = ledger.settle_left_over(session, batch_id, window.id, window_result.changes, now)
        if settled and account_id is not None:
            reservations.settle(
                session,
                window.sender_id,
                account_id,
                minute=minute_of(window.opened_at),
                taken=len(window_result.changes),
                used=window_result.left,
                now=now,
            )
            reservations.note_left(session, window.campaign_id, window.sender_id, window_result.accepted, now)
            # A reader may have been quicker than we are.
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
    """The window's deliveries in the order of its slots."""
    return session.execute(
        select(Delivery.id, Delivery.subscriber_id, Delivery.attempts, Delivery.first_tried_at)
        .where(
            Delivery.id.between(window.first_id, window.last_id),
            Delivery.status == DeliveryStatus.sending,
        )
        .order_by(Delivery.id)
    ).all()


def _trusted(path: Path, window: Row[Any]) -> LeftoverJournal | None:
    """The journal, if what it says still holds."""
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
    """What is known of one slot. An own journal that is not at this window yet: nothing was handed over."""
    if remains is None:
        return JournalEntry(journal.HANDED)
    if remains.window_id != window.id:
        return JournalEntry(journal.UNTOUCHED)
    if len(remains.notes) != size:  # cannot be; and if it is, nothing is to be believed
        return JournalEntry(journal.HANDED)
    return remains.notes[slot]


def _change(item: Row[Any], note: JournalEntry, now: datetime, window_result: WindowResult) -> DeliveryChange:
    if note.state == journal.UNTOUCHED:
        return DeliveryChange(item.id, DeliveryStatus.pending)
    if note.state == journal.ANSWERED and isinstance(note.receipt, Receipt):
        return change_for(item, note.receipt, now, window_result)
    window_result.left += 1
    return mark_in_doubt(item.id, Reason.interrupted, now)


def _summary(changes: Sequence[DeliveryChange]) -> str:
    words = [change.status.value for change in changes]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


# --- claims, leases and files without anybody


def _free_lanes(context: SendingContext) -> None:
    """A lane whose process is gone is free at once: nobody has to wait for its lease to end."""
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
    """Claims without a window and without a living lane.

    A lease longer than any was given before the clock was set back: its lane, if it lives, renews it.
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


_UNFINISHED = text("batch.state <> 'done'")  # written out, so that both databases use the index of that name


def _clear_journals(context: SendingContext) -> None:
    """Removes the files of dead lanes whose windows are settled."""
    with context.readers() as session:
        needed = set(session.scalars(select(Window.journal)))
    for path in context.journals.glob("*.journal"):
        if path.name not in needed and journal.is_abandoned(path):
            path.unlink(missing_ok=True)
