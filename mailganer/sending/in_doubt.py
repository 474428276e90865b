"""Resolve emails in doubt: look them up where the backend can, let a user decide where it cannot.

Nothing here sends. An email is sent again only when its server has certainly not accepted it, or when a user
who knows the risk decides so; that user's name is recorded.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ..campaigns.drafts import lock
from ..db import OUT_OF_REACH
from ..errors import BackendError, Conflict, InputError, _
from ..ledger.resolve_in_doubt import conclude, decide, set_look_up_time
from ..models import (
    Batch,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Sender,
    make_message_id,
)
from ..monotonic import elapsed
from ..periodic_jobs import due_ids
from .context import SendingContext
from .worker.backoff import LOOK_UP_FOR, LOOK_UP_LAST, LOOK_UP_PAUSE, requested_delay

log = logging.getLogger(__name__)

LOOK_UP_EVERY = timedelta(seconds=20)
AT_ONCE = 50  # emails of one sender that are looked up before other senders get their turn
TURN = 15.0  # seconds per turn; shorter than the time between two look-ups (``LOOK_UP_EVERY``)
MOST = 10_000  # doubtful emails of one campaign that one request decides; the user can repeat it


def resolve(
    session: Session,
    campaign: Campaign,
    what: str,
    *,
    by: str,
    now: datetime,
    delivery_ids: Sequence[int] | None = None,
) -> int:
    """End doubts by a user's decision: ``what`` is "sent" (treat as sent) or "again" (send again).

    Applies to ``delivery_ids`` of this campaign, or to all of its doubtful emails (at most ``MOST``). ``by``
    names the user who decided and is recorded. Return how many were in doubt. Raise ``InputError``, and
    ``Conflict`` for "again" in a cancelled campaign.
    """
    if what not in ("sent", "again"):
        raise InputError({"decision": _("Choose “mark as sent” or “resend”.")})
    if what == "again":
        _refuse_cancelled(campaign)
    ids = _doubtful(session, campaign.id, delivery_ids)
    status = DeliveryStatus.sent if what == "sent" else DeliveryStatus.pending
    decided = decide(session, ids, status, by=by, now=now)
    if decided and what == "again":
        _reopen_if_finished(session, campaign)
    return decided


def _reopen_if_finished(session: Session, campaign: Campaign) -> None:
    """Reopen the campaign if it is finished.

    Its row may have changed since it was read, so lock and reload it. The lock comes after those of the
    batches, in the same order as in the lanes.
    """
    lock(session, campaign)
    _refuse_cancelled(campaign)
    if campaign.status is CampaignStatus.finished:
        campaign.move(CampaignStatus.sending)
        campaign.finished_at = None
    session.flush()


def _refuse_cancelled(campaign: Campaign) -> None:
    if campaign.status is CampaignStatus.cancelled:
        raise Conflict(_("This campaign was cancelled, so nothing more is sent."))


def _doubtful(session: Session, campaign_id: int, delivery_ids: Sequence[int] | None) -> Sequence[int]:
    batches = select(Batch.first_id, Batch.last_id).where(
        Batch.campaign_id == campaign_id, Batch.in_doubt > 0
    )
    if delivery_ids is not None:
        query = select(Delivery.id).where(
            Delivery.id.in_(list(delivery_ids)[:MOST]),
            Delivery.campaign_id == campaign_id,
            Delivery.status == DeliveryStatus.in_doubt,
        )
        return session.scalars(query.order_by(Delivery.id)).all()
    found: list[int] = []
    for first_id, last_id in session.execute(batches.order_by(Batch.number)):
        found += session.scalars(
            select(Delivery.id)
            .where(Delivery.id.between(first_id, last_id), Delivery.status == DeliveryStatus.in_doubt)
            .order_by(Delivery.id)
        )
        if len(found) >= MOST:
            break
    return found[:MOST]


# --- look-ups at the server


@due_ids("look_up", LOOK_UP_EVERY)
def senders_in_doubt(session: Session, now: datetime) -> list[int]:
    """Return up to 100 senders that have doubtful emails due for a look-up."""
    return list(session.scalars(select(Delivery.sender_id).distinct().where(*_due(now)).limit(100)))


def look_up(context: SendingContext, sender_id: int) -> int:
    """Look up a sender's doubtful emails on its server; return how many doubts were ended.

    Limited to ``TURN`` seconds, so that a slow or unreachable server does not occupy a worker. No second
    worker looks up the same emails at the same time.
    """
    with context.sessions.begin() as session:
        sender = session.get(Sender, sender_id)
        rows = _take(session, sender_id, context.now(), AT_ONCE) if sender else []
    if sender is None or not rows:
        return 0
    ended, until, left = 0, elapsed() + TURN, list(rows)
    try:
        backend = context.open_backend(sender)
        while left and elapsed() < until:
            row = left[0]
            message_id = f"<{make_message_id(row.id, row.token, row.message_domain)}>"
            ended += _conclude(context, row, backend.was_accepted(message_id))
            del left[0]
    except OUT_OF_REACH:
        raise  # the database failed, not the server: the emails stay taken and become due again
    except Exception as error:  # a third-party backend may raise anything
        log.warning("sender %s: doubtful emails could not be looked up: %s", sender_id, error)
        wait = requested_delay(error.retry_after) if isinstance(error, BackendError) else LOOK_UP_PAUSE
        _put_off(context, sender_id, left, max(wait, LOOK_UP_PAUSE))
    else:
        _ask_at(context, [row.id for row in left], context.now())
    return ended


def _take(
    session: Session, sender_id: int, now: datetime, most: int, pause: timedelta = LOOK_UP_PAUSE
) -> Sequence[Any]:
    """Return the next emails to look up, and postpone them by ``pause``.

    Other workers do not take them until then.
    """
    rows = session.execute(
        select(
            Delivery.id,
            Delivery.token,
            Delivery.settled_at,
            Delivery.campaign_id,
            Campaign.message_domain,
        )
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(*_due(now), Delivery.sender_id == sender_id)
        .order_by(Delivery.id)
        .limit(most)
        .with_for_update(of=Delivery, skip_locked=True)
    ).all()
    set_look_up_time(session, [row.id for row in rows], now + pause)
    return rows


def _put_off(context: SendingContext, sender_id: int, rows: Sequence[Any], wait: timedelta) -> None:
    """Postpone the look-ups of a sender's doubtful emails after one failed.

    A server that cannot be asked about one email is not asked about the others either. ``wait`` is the delay
    the server requested, or the usual pause. Emails in doubt for longer than ``LOOK_UP_FOR`` are not looked
    up any more.
    """
    now = context.now()

    def too_old(rows: Sequence[Any]) -> list[int]:
        return [row.id for row in rows if now - row.settled_at > LOOK_UP_FOR]

    _ask_at(context, [row.id for row in rows], now + wait)
    _ask_at(context, too_old(rows), None)
    with context.sessions.begin() as session:
        set_look_up_time(session, too_old(_take(session, sender_id, now, MOST, wait)), None)


def _conclude(context: SendingContext, row: Any, accepted: bool | None) -> bool:
    now = context.now()
    age = now - row.settled_at
    if accepted is None:
        _ask_at(context, [row.id], None)
        return False
    if not accepted and age < LOOK_UP_LAST:
        _ask_at(context, [row.id], row.settled_at + LOOK_UP_LAST)
        return False
    status = DeliveryStatus.sent if accepted else DeliveryStatus.pending
    with context.sessions.begin() as session:
        if not accepted and _is_another_doubt(session, row):
            return False
        ended = conclude(session, row.id, status, now)
        if ended and not accepted:
            reopen_campaign(session, row.campaign_id, now)
    return ended


def _is_another_doubt(session: Session, row: Any) -> bool:
    """Return whether the email was sent again during the look-up: "no" is about the earlier attempt then."""
    since = session.scalar(select(Delivery.settled_at).where(Delivery.id == row.id))
    return bool(since != row.settled_at)


def reopen_campaign(session: Session, campaign_id: int, now: datetime) -> None:
    """Reopen a finished campaign that has pending recipients again.

    Wait for a transaction that is just finishing it.
    """
    session.execute(select(Campaign.id).where(Campaign.id == campaign_id).with_for_update(key_share=True))
    session.execute(
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.finished)
        .values(status=CampaignStatus.sending, finished_at=None, updated_at=now)
    )


def _ask_at(context: SendingContext, ids: Sequence[int], at: datetime | None) -> None:
    with context.sessions.begin() as session:
        set_look_up_time(session, ids, at)


def _due(now: datetime) -> tuple[Any, ...]:
    """Return the conditions for doubtful emails that are due for a look-up.

    They are found through their batches, few of which have any.
    """
    return (
        Delivery.id.between(Batch.first_id, Batch.last_id),
        Batch.in_doubt > text("0"),  # a literal: otherwise SQLite does not use the index on doubts
        Delivery.status == DeliveryStatus.in_doubt,
        Delivery.not_before <= now,
    )
