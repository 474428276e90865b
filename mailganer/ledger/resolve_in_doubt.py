"""Resolution of emails in doubt: by proof, by a look-up at the server, or by a user's decision.

Use of an email's token proves that it was sent.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from ..models import LARGEST_CAMPAIGN, Batch, Delivery, DeliveryStatus
from .decisions import end_doubt
from .delivery_state_changes import DeliveryChange

__all__ = [
    "conclude",
    "decide",
    "hold_batches",
    "prove_seen",
    "prove_sent",
    "set_look_up_time",
]


def prove_sent(session: Session, delivery_id: int, now: datetime) -> bool:
    """Change ``in_doubt`` to ``sent``. Return False if the delivery was not in doubt.

    ``settled_at`` stays: the email was sent when its connection broke, not when it was read.
    """
    return _prove(session, [delivery_id], now) == 1


def prove_seen(session: Session, first_id: int, last_id: int, now: datetime) -> int:
    """Resolve emails in doubt of a range that were opened, clicked or unsubscribed from. Return their number.

    A recipient may react before a sweep notices that the email is in doubt.
    """
    seen = select(Delivery.id).where(
        Delivery.id.between(first_id, last_id),
        Delivery.status == DeliveryStatus.in_doubt,
        or_(
            Delivery.opens > 0,
            Delivery.machine_opens > 0,
            Delivery.clicks > 0,
            Delivery.machine_clicks > 0,
            Delivery.unsubscribed_at.is_not(None),
        ),
    )
    return _prove(session, list(session.scalars(seen)), now)


def hold_batches(session: Session, tokens: Collection[bytes]) -> None:
    """Lock the batches of the emails in doubt among these, for this transaction.

    Call this before the emails themselves are locked: as in the ledger, a batch is locked before its
    deliveries, or a tracking request and the code that resolves the doubt would deadlock.
    """
    if session.get_bind().dialect.name == "sqlite":  # has one writer at a time
        return
    session.flush()
    if session.connection().scalar(_ANY_DOUBT):  # takes half as long as by the session
        session.execute(
            select(Batch.id)
            .join(Delivery, Delivery.id.between(Batch.first_id, Batch.last_id))
            .where(Batch.in_doubt > 0, Delivery.token.in_(tokens), Delivery.status == DeliveryStatus.in_doubt)
            .order_by(Batch.id)
            .with_for_update(of=Batch)
        ).all()


_ANY_DOUBT = select(select(Batch.id).where(Batch.in_doubt > 0).exists())
"""Usually there is none, which the partial index on batches with emails in doubt shows at once."""


def _prove(session: Session, ids: list[int], now: datetime) -> int:
    if not ids:
        return 0
    proven = session.scalars(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.status == DeliveryStatus.in_doubt)
        .values(status=DeliveryStatus.sent, reason=None, settled_at=func.coalesce(Delivery.settled_at, now))
        .returning(Delivery.id),
        execution_options=UNTRACKED,
    ).all()
    for delivery_id in proven:
        _move_count(session, delivery_id)
    return len(proven)


def _move_count(session: Session, delivery_id: int) -> None:
    session.execute(
        update(Batch)
        .where(
            Batch.campaign_id == delivery_id // LARGEST_CAMPAIGN,
            Batch.first_id <= delivery_id,
            Batch.last_id >= delivery_id,
        )
        .values(in_doubt=Batch.in_doubt - 1, sent=Batch.sent + 1),
        execution_options=UNTRACKED,
    )


# --- decisions and look-ups


def decide(session: Session, ids: Sequence[int], status: DeliveryStatus, *, by: str, now: datetime) -> int:
    """End doubts by the decision of a user, who is recorded. Return how many were in doubt.

    ``status`` is ``sent``, or ``pending`` to send them again, with a full day of retries.
    """
    decided = end_doubt(session, [DeliveryChange(each, status) for each in ids], now)
    kept: dict[str, Any] = {"decided_by": by[:320], "decided_at": now}
    if status is DeliveryStatus.pending:
        kept |= {"first_tried_at": None, "reason": None}
    session.execute(
        update(Delivery).where(Delivery.id.in_(ids), Delivery.status == status).values(kept),
        execution_options=UNTRACKED,
    )
    return decided


def conclude(session: Session, delivery_id: int, status: DeliveryStatus, now: datetime) -> bool:
    """End a doubt by what the server knows of the email. Return False if it was not in doubt."""
    ended = end_doubt(session, [DeliveryChange(delivery_id, status)], now)
    if ended:
        session.execute(
            update(Delivery).where(Delivery.id == delivery_id).values(decided_by=None, decided_at=now),
            execution_options=UNTRACKED,
        )
    return bool(ended)


def set_look_up_time(session: Session, ids: Sequence[int], at: datetime | None) -> None:
    """Set when emails in doubt are looked up next; None means never."""
    if not ids:
        return
    # Lock in the same order as the other changes, so that a concurrent transaction that ends the same doubts
    # waits instead of deadlocking.
    held = session.scalars(
        select(Delivery.id)
        .where(Delivery.id.in_(ids), Delivery.status == DeliveryStatus.in_doubt)
        .order_by(Delivery.id)
        .with_for_update()
    ).all()
    session.execute(
        update(Delivery).where(Delivery.id.in_(held)).values(not_before=at),
        execution_options=UNTRACKED,
    )
