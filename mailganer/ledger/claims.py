"""Claim a batch and release it. Only the holder of its newest epoch may change its deliveries."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from ..models import Batch, BatchState, Campaign, Delivery, DeliveryStatus, Window
from .delivery_state_changes import HOLD, UNTRIED, affected

LOOKED_AT = 100_000  # recipients, in whole batches, among whom one of another domain is looked for


@dataclass(frozen=True)
class Claim:
    """A claimed batch, valid until its lease ends or another claim raises its epoch."""

    batch_id: int
    campaign_id: int
    epoch: int
    first_id: int
    last_id: int


class RecipientSelection(Enum):
    """How the recipients of a window are selected."""

    in_order = "in_order"
    untried = "untried"  # only deliveries without an answer of a server yet
    sample = "sample"  # one of them, from anywhere in the campaign
    other_domain = "other_domain"  # one of them, from anywhere, of another domain than given ones
    longest_deferred = "longest_deferred"  # the one deferred longest ago


def claim(
    session: Session,
    sender_id: int,
    campaign_id: int,
    now: datetime,
    until: datetime,
    selection: RecipientSelection = RecipientSelection.in_order,
    other_than: Collection[str] = (),
) -> Claim | None:
    """Claim the campaign's next batch that has due deliveries; return None if no such batch is free.

    ``other_than`` are the domains of ``RecipientSelection.other_domain``.
    """
    found = _find(session, campaign_id, now, selection, other_than)
    if found is None:
        return None
    epoch = found.epoch + 1
    session.execute(
        update(Batch)
        .where(Batch.id == found.id)
        .values(state=BatchState.claimed, sender_id=sender_id, epoch=epoch, lease_until=until),
        execution_options=UNTRACKED,
    )
    return Claim(found.id, found.campaign_id, epoch, found.first_id, found.last_id)


def _find(
    session: Session,
    campaign_id: int,
    now: datetime,
    selection: RecipientSelection,
    other_than: Collection[str],
) -> Any:
    query = (
        select(Batch.id, Batch.campaign_id, Batch.epoch, Batch.first_id, Batch.last_id)
        .where(Batch.campaign_id == campaign_id, Batch.state == BatchState.open, _due(Batch, now))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if selection is RecipientSelection.longest_deferred:
        query = query.order_by(Batch.not_before.is_not(None), Batch.not_before)
    query = query.order_by(Batch.number)
    if selection in (RecipientSelection.untried, RecipientSelection.sample):
        query = query.where(untried(now))
    if selection is RecipientSelection.other_domain:
        planned = select(Campaign.planned).where(Campaign.id == campaign_id).scalar_subquery()
        query = query.where(spread_batches(planned), untried(now, other_than))
    if selection in (RecipientSelection.sample, RecipientSelection.other_domain):
        batches = session.scalar(select(func.max(Batch.number)).where(Batch.campaign_id == campaign_id)) or 0
        found = session.execute(query.where(Batch.number >= secrets.randbelow(batches + 1))).first()
        if found is not None:
            return found
    return session.execute(query).first()


def spread_batches(planned: Any) -> ColumnElement[bool]:
    """Return a condition that holds for some batches from everywhere in a campaign, together ``LOOKED_AT``.

    ``planned`` is an expression for the size of the campaign.
    """
    step = planned // LOOKED_AT + 1
    chosen: ColumnElement[bool] = (Batch.number + secrets.randbelow(1000)) % step == 0
    return chosen


def of_other_domain(domains: Collection[str]) -> list[ColumnElement[bool]]:
    """Return conditions: the delivery's address is of none of these domains."""
    return [~Delivery.email_key.endswith(f"@{each}", autoescape=True) for each in sorted(domains)]


def untried(now: datetime, other_than: Collection[str] = ()) -> ColumnElement[bool]:
    """Return a condition: the batch has a due delivery without an answer of a server yet.

    ``other_than`` are domains of which it must not be.
    """
    return exists().where(
        Delivery.id.between(Batch.first_id, Batch.last_id),
        Delivery.status == DeliveryStatus.pending,
        _due(Delivery, now),
        UNTRIED,
        *of_other_domain(other_than),
    )


def has_untried(session: Session, claim: Claim, now: datetime) -> bool:
    """Return whether the claimed batch has a due delivery without an answer of a server yet."""
    return bool(session.scalar(select(untried(now)).where(Batch.id == claim.batch_id)))


def hold(session: Session, claim: Claim, until: datetime) -> bool:
    """Lock the batch's row for this transaction and renew the lease; return False when the claim is lost."""
    held = {"batch": claim.batch_id, "our_epoch": claim.epoch, "until": until}
    return affected(session.execute(HOLD, held)) == 1


def release(session: Session, claim: Claim) -> None:
    """Release the batch: open again, with the time its next recipient is due, or done."""
    reopen(session, claim.batch_id, Batch.epoch == claim.epoch)


def reopen_lost(session: Session, batch_id: int, over: ColumnElement[bool]) -> None:
    """Release a batch whose claim meets the condition ``over`` and that has no window."""
    no_window = ~exists().where(Window.batch_id == Batch.id)
    reopen(session, batch_id, and_(Batch.state == BatchState.claimed, over, no_window))


def reopen(session: Session, batch_id: int, condition: ColumnElement[bool]) -> None:
    row = session.execute(
        select(Batch.first_id, Batch.last_id, Batch.pending, Batch.sending)
        .where(Batch.id == batch_id, condition)
        .with_for_update()
    ).first()
    if row is None:
        return
    state, due = BatchState.done, None
    if row.pending:
        state, due = BatchState.open, _next_due(session, row.first_id, row.last_id)
    elif row.sending:
        state = BatchState.claimed
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(state=state, not_before=due, epoch=Batch.epoch + 1, lease_until=None),
        execution_options=UNTRACKED,
    )


def _next_due(session: Session, first_id: int, last_id: int) -> datetime | None:
    """Return when the first pending recipient of the range is due; None means at once."""
    pending = (Delivery.id.between(first_id, last_id), Delivery.status == DeliveryStatus.pending)
    at_once = session.scalar(select(Delivery.id).where(*pending, Delivery.not_before.is_(None)).limit(1))
    return None if at_once else session.scalar(select(func.min(Delivery.not_before)).where(*pending))


def _due(table: Any, now: datetime) -> ColumnElement[bool]:
    return or_(table.not_before.is_(None), table.not_before <= now)
