"""Insertion of a campaign's deliveries, and of the batches over them."""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, func, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..db import upsert
from ..models import Batch, Campaign, Delivery, first_delivery_id
from ..models.meta import Token

__all__ = ["add_batches", "add_deliveries"]


def add_deliveries(session: Session, campaign: Campaign, subscribers: Any, now: datetime) -> None:
    """Insert a pending delivery for every row of ``subscribers``, a query for id, address and its key."""
    subscriber = subscribers.order_by(None).subquery()
    number = first_delivery_id(campaign.id) + campaign.planned - 1
    rows = select(
        literal(number, BigInteger) + func.row_number().over(order_by=subscriber.c.id),
        literal(campaign.id, BigInteger),
        subscriber.c.id,
        subscriber.c.email,
        subscriber.c.email_key,
        _token(session, subscriber.c.id),
        literal(now, Delivery.dated_at.type),
    ).where(subscriber.c.id > 0)  # SQLite parses ON CONFLICT after a SELECT only if that has a WHERE
    columns = ("id", "campaign_id", "subscriber_id", "email", "email_key", "token", "dated_at")
    try:
        with session.begin_nested():
            session.execute(insert(Delivery).from_select(columns, rows))
    except IntegrityError:
        # Another subscriber has taken over the address of one planned a moment ago; one email is enough. It
        # is rare, and checking for it up front would make every row cost a sixth more.
        session.execute(upsert(session, Delivery).from_select(columns, rows).on_conflict_do_nothing())


def _token(session: Session, subscriber_id: ColumnElement[int]) -> ColumnElement[bytes]:
    """Return an expression for 128 random bits per row.

    PostgreSQL asks the system for each random number, which takes longer than the rest of the row. So hash
    the subscriber's id with 256 random bits that belong to this chunk alone and are not stored.
    """
    if session.get_bind().dialect.name == "sqlite":
        return func.randomblob(16, type_=Token)
    key = literal(secrets.token_bytes(32), LargeBinary)
    return func.substring(func.sha256(key.concat(func.int8send(subscriber_id))), 1, 16, type_=Token)


def add_batches(session: Session, campaign: Campaign, size: int) -> int:
    """Create batches over the rows just inserted; return how many delivery numbers they span."""
    first = first_delivery_id(campaign.id) + campaign.planned
    group = ((Delivery.id - first) // size).label("number")
    found = session.execute(
        select(group, func.min(Delivery.id), func.max(Delivery.id), func.count())
        .where(Delivery.id >= first, Delivery.id < first_delivery_id(campaign.id + 1))
        .group_by(group)
        .order_by(group)
    ).all()
    if not found:
        return 0
    before = session.scalar(select(func.max(Batch.number)).where(Batch.campaign_id == campaign.id)) or 0
    rows = [
        {
            "campaign_id": campaign.id,
            "number": before + 1 + number,
            "first_id": lowest,
            "last_id": highest,
            "pending": subscribers,
        }
        for number, lowest, highest, subscribers in found
    ]
    session.execute(insert(Batch), rows)
    return int(found[-1][2]) - first + 1
