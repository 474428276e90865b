"""Changes to deliveries by a user's decision, by proof, or because their campaign is cancelled."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from ..models import LARGEST_CAMPAIGN, Batch, BatchState, Delivery, DeliveryStatus, Reason
from .claims import reopen
from .delivery_state_changes import DeliveryChange, affected, apply, count


def give_back(session: Session, ids: Sequence[int], now: datetime, not_before: datetime | None) -> list[int]:
    """Make deliveries pending again that failed or were deferred by a response that was not about them.

    Each delivery only once: its day of retries and the attempt do not count. Return the ids of those given
    back.
    """
    there = session.scalars(
        select(Delivery.id).where(Delivery.id.in_(ids), Delivery.returned_at.is_(None))
    ).all()
    given: list[int] = []
    wanted = [DeliveryChange(each, DeliveryStatus.pending, not_before=not_before) for each in there]
    for batch_id, changes in _by_batch(session, wanted):
        failed = _still(session, changes, DeliveryStatus.failed)
        waiting = _still(session, changes, DeliveryStatus.pending)
        chosen = [change.id for change in (*failed, *waiting)]
        session.execute(
            update(Delivery)
            .where(Delivery.id.in_(chosen))
            .values(
                attempts=case((Delivery.attempts > 0, Delivery.attempts - 1), else_=0),
                not_before=not_before,
                returned_at=now,
                first_tried_at=None,
            ),
            execution_options=UNTRACKED,
        )
        done = apply(session, failed, DeliveryStatus.failed, now)
        count(session, batch_id, Counter(pending=done, failed=-done))
        _reopen_free(session, batch_id)
        given += chosen
    return given


def note_returned(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Record the same for deliveries whose window was settled as pending."""
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.status == DeliveryStatus.pending)
        .values(returned_at=func.coalesce(Delivery.returned_at, now), first_tried_at=None),
        execution_options=UNTRACKED,
    )


def end_doubt(session: Session, changes: Sequence[DeliveryChange], now: datetime) -> int:
    """Change deliveries in doubt to sent, or to pending. Return how many were in doubt."""
    return _move(session, changes, DeliveryStatus.in_doubt, now)


def cancel_batch(session: Session, batch_id: int, now: datetime) -> None:
    """Skip all pending deliveries of an open batch."""
    row = session.execute(
        select(Batch.first_id, Batch.last_id, Batch.state).where(Batch.id == batch_id).with_for_update()
    ).one()
    if row.state is not BatchState.open:
        return
    skipped = session.execute(
        update(Delivery)
        .where(Delivery.id.between(row.first_id, row.last_id), Delivery.status == DeliveryStatus.pending)
        .values(status=DeliveryStatus.skipped, reason=Reason.cancelled, settled_at=now, not_before=None),
        execution_options=UNTRACKED,
    )
    number = affected(skipped)
    count(session, batch_id, Counter(pending=-number, skipped=number))
    reopen(session, batch_id, Batch.id == batch_id)


def _move(session: Session, changes: Sequence[DeliveryChange], source: DeliveryStatus, now: datetime) -> int:
    """Change settled deliveries, batch by batch, and reopen batches that have pending deliveries again."""
    moved = 0
    for batch_id, of_batch in _by_batch(session, changes):
        still = _still(session, of_batch, source)
        done = apply(session, still, source, now)
        counts = Counter(change.status.value for change in still)
        counts[source.value] -= done
        count(session, batch_id, counts)
        _reopen_free(session, batch_id)
        moved += done
    return moved


def _reopen_free(session: Session, batch_id: int) -> None:
    state = session.scalar(select(Batch.state).where(Batch.id == batch_id))
    if state is not BatchState.claimed:
        reopen(session, batch_id, Batch.id == batch_id)


def _still(
    session: Session, changes: Sequence[DeliveryChange], source: DeliveryStatus
) -> list[DeliveryChange]:
    """Return the changes whose delivery has this status, and lock those deliveries."""
    ids = set(
        session.scalars(
            select(Delivery.id)
            .where(Delivery.id.in_([change.id for change in changes]), Delivery.status == source)
            .order_by(Delivery.id)
            .with_for_update()
        )
    )
    return [change for change in changes if change.id in ids]


def _by_batch(
    session: Session, changes: Sequence[DeliveryChange]
) -> Iterable[tuple[int, list[DeliveryChange]]]:
    left = sorted(changes, key=lambda change: change.id)
    while left:
        row = session.execute(
            select(Batch.id, Batch.last_id)
            .where(
                Batch.campaign_id == left[0].id // LARGEST_CAMPAIGN,
                Batch.first_id <= left[0].id,
                Batch.last_id >= left[0].id,
            )
            .with_for_update()
        ).one()
        own = [change for change in left if change.id <= row.last_id]
        left = left[len(own) :]
        yield row.id, own
