"""Resolution of emails in doubt: use of an email's token proves that it was sent.

The counts of a batch change in the same transaction as its deliveries, as in the ledger.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from ..models import LARGEST_CAMPAIGN, Batch, Delivery, DeliveryStatus


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
    if session.scalar(_ANY_DOUBT):
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
