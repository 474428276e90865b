"""Plan a campaign: freeze its email, and create a delivery for each recipient.

Resumable: every chunk of recipients is one transaction that also records how far it got. Two planners of the
same campaign take turns; a killed planner is replaced by another.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session

from ...audience.recipients import recipients
from ...campaigns import frozen_emails
from ...campaigns.event_log import note_campaigns
from ...campaigns.names import host_of_ids
from ...campaigns.sending_hours import begins_too_late
from ...errors import Busy, EmailError, _
from ...ledger.new_deliveries import add_batches, add_deliveries
from ...models import (
    LARGEST_CAMPAIGN,
    Campaign,
    CampaignStatus,
    DelayCause,
    Subscriber,
    SubscriberStatus,
    campaign_list,
    campaign_sender,
    delays,
    list_member,
)
from ...periodic_jobs import Tick, periodic_job
from ..context import SendingContext
from ..worker.pausing import pause_campaign_with_reason
from .due_work import note_planning

log = logging.getLogger(__name__)

CHUNK = 20_000  # recipients per transaction: a fraction of a second, for which SQLite's other writers wait
FIRST_CHUNK = 1_000  # of the first transaction, so that the first emails leave at once
LARGEST_BATCH = 500
SMALLEST_BATCH = 20
BATCHES_PER_SENDER = 8  # in a small campaign, so that several senders finish at about the same time


@periodic_job("start_campaigns")
def _start(tick: Tick) -> None:
    started = start_due(tick.session, tick.now, tick.latest_start)
    tick.after_commit.append(partial(note_campaigns, "started", started))


def start_due(session: Session, now: datetime, latest_start: timedelta) -> list[int]:
    """Start the campaigns whose time has come; return their ids.

    A campaign later than it may start is paused before its first email, and its user is asked: the machine
    was off, or a backup was restored, and an invitation to yesterday's event is worse than none.
    """
    due = session.execute(
        select(Campaign.id, Campaign.send_at, Campaign.not_after)
        .where(Campaign.status == CampaignStatus.scheduled, Campaign.send_at <= now)
        .order_by(Campaign.send_at)
        .with_for_update(skip_locked=True)
    ).all()
    started = []
    for each in due:
        latest = each.not_after or each.send_at + latest_start
        if begins_too_late(now, latest):
            sentence = _too_late(each.send_at, each.not_after)
            _begin(session, each.id, status=CampaignStatus.paused, paused_reason=sentence, updated_at=now)
            delays.note_pause(session, each.id, DelayCause.halted, now)
        else:
            started.append(each.id)
            _begin(
                session,
                each.id,
                status=CampaignStatus.sending,
                started_at=func.coalesce(Campaign.started_at, now),
                finished_at=None,
                updated_at=now,
            )
    return started


def _begin(session: Session, campaign_id: int, **values: Any) -> None:
    session.execute(
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.scheduled)
        .values(**values)
    )


def _too_late(send_at: datetime, not_after: datetime | None) -> str:
    if not_after is None:
        return _(
            "The campaign could not start on ${moment}. Nothing was sent. Start it now or cancel it.",
            mapping={"moment": send_at},
        )
    return _(
        "The campaign could not start between ${moment} and ${latest}. Nothing was sent. "
        "Start it now or cancel it.",
        mapping={"moment": send_at, "latest": not_after},
    )


def plan(
    context: SendingContext,
    campaign_id: int,
    stopped: Callable[[], bool] = lambda: False,
    yields: Callable[[], bool] = lambda: False,
) -> bool:
    """Plan a started campaign; return False when it is not to be planned (now).

    After each chunk its emails can be sent, by any process. ``yields`` is called then: when it returns True,
    the rest is left for later, for this process or another one.
    """
    if not _freeze(context, campaign_id):
        return False
    while not stopped():
        with context.sessions.begin() as session:
            done = _plan_some(session, campaign_id, context.now())
        if done is not None:
            return done
        if yields():
            _leave(context, campaign_id)
            return True
    return False


def _leave(context: SendingContext, campaign_id: int) -> None:
    """Record that no process plans this campaign now."""
    with context.sessions.begin() as session:
        note_planning(session, campaign_id, context.now(), done=True)


def _freeze(context: SendingContext, campaign_id: int) -> bool:
    """Freeze the campaign's email; return whether it is to be planned.

    The email is compiled while no transaction is open.
    """
    with context.readers() as session:
        campaign = session.get(Campaign, campaign_id)
        if campaign is None or campaign.status is not CampaignStatus.sending:
            return False
        if campaign.frozen_email_id is not None:
            return campaign.planned_at is None  # a repeated message: everything is done
        senders = [sender.from_email for sender in campaign.senders]
        targets = frozen_emails.copied_targets(session, campaign, context.public_url)
        tokens = frozen_emails.tokens_of(session, campaign)
    try:
        email = frozen_emails.compile_of(campaign, context.public_url, targets)
        with context.readers() as session:
            tokens |= frozen_emails.tokens_of_text(session, email)
        frozen_emails.reject_foreign_links(email, tokens, context.public_url)
    except Busy as error:
        log.info("campaign %s is planned later: %s", campaign_id, error)
        return False
    except EmailError as error:
        with context.sessions.begin() as session:
            pause_campaign_with_reason(session, campaign_id, _broken(error), context.now())
        return False
    domain = host_of_ids(context.public_url, senders[0] if senders else "localhost")
    with context.sessions.begin() as session:
        current = _lock(session, campaign_id)
        if current is None or current.status is not CampaignStatus.sending:
            return False
        if current.frozen_email_id is None and current.revision == campaign.revision:
            frozen_emails.store_frozen_email(session, current, email, context.now())
            current.message_domain = domain
            note_planning(session, campaign_id, context.now())
        return current.frozen_email_id is not None


def _broken(error: EmailError) -> str:
    return _("The email cannot be sent. ${reason}", mapping={"reason": error.message})


def _lock(session: Session, campaign_id: int) -> Campaign | None:
    return session.scalar(
        select(Campaign)
        .where(Campaign.id == campaign_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


def _plan_some(session: Session, campaign_id: int, now: datetime) -> bool | None:
    """Plan the next chunk of recipients.

    Return True when it was the last, False when nothing is to be planned, and None to continue.
    """
    campaign = _lock(session, campaign_id)
    if campaign is None or campaign.status is not CampaignStatus.sending:
        return False
    if campaign.planned_at is not None:
        return True
    lists = session.scalars(
        select(campaign_list.c.list_id).where(campaign_list.c.campaign_id == campaign_id)
    ).all()
    piece = _next_piece(session, campaign, lists)
    note_planning(session, campaign_id, now, done=piece.is_last)
    if not piece.ids and piece.is_last:
        campaign.planned_at = now
        note_campaigns("planned", [campaign_id], recipients=campaign.planned)
        return True
    add_deliveries(session, campaign, _rows_of(session, campaign, lists, piece), now)
    senders = session.scalar(
        select(func.count()).select_from(campaign_sender).where(campaign_sender.c.campaign_id == campaign_id)
    )
    known = campaign.planned + len(piece.ids)
    size = _batch_size(known if piece.is_last else 2 * known, senders or 1)
    campaign.planned += add_batches(session, campaign, size)
    campaign.planned_after = piece.upto
    if piece.is_last:
        campaign.planned_at = now
        note_campaigns("planned", [campaign_id], recipients=campaign.planned)
        return True
    return None


class _Piece(NamedTuple):
    """Recipients planned in one transaction, the id up to which it reads, and whether it is the last."""

    ids: Sequence[int]
    upto: int
    is_last: bool


def _next_piece(session: Session, campaign: Campaign, lists: Sequence[int]) -> _Piece:
    """Return the next recipients in the order of their ids, at most ``CHUNK``.

    Begin with few, so that their emails can be sent while the others are planned.

    On PostgreSQL, select members of the lists first, and then which of them are recipients. Just after an
    import it has no statistics yet, and a join of two ranges that it estimates to be empty compares each
    recipient with each member of the list.
    """
    after, remaining = campaign.planned_after, LARGEST_CAMPAIGN - campaign.planned
    chunk = CHUNK if after else min(FIRST_CHUNK, CHUNK)
    if session.get_bind().dialect.name == "sqlite":
        everybody = recipients(campaign.account_id, lists, after).with_only_columns(Subscriber.id)
        ids = session.scalars(everybody.limit(min(chunk, remaining))).all()
        return _Piece(ids, ids[-1] if ids else after, len(ids) < chunk)
    of_lists = select(list_member.c.subscriber_id).where(
        list_member.c.list_id.in_(lists), list_member.c.subscriber_id > after
    )
    in_order = of_lists.distinct().order_by(list_member.c.subscriber_id)
    members = session.scalars(in_order.limit(chunk)).all()
    if not members:
        return _Piece((), after, is_last=True)
    found = select(Subscriber.id).where(*_are_recipients(campaign.account_id, members))
    ids = session.scalars(found.order_by(Subscriber.id).limit(remaining)).all()
    return _Piece(ids, members[-1], len(members) < chunk or len(ids) == remaining)


def _rows_of(
    session: Session, campaign: Campaign, lists: Sequence[int], piece: _Piece
) -> Select[int, str, str]:
    """Return the query for the recipients of one chunk."""
    if session.get_bind().dialect.name == "sqlite":
        return recipients(campaign.account_id, lists, campaign.planned_after, piece.upto)
    return select(Subscriber.id, Subscriber.email, Subscriber.email_key).where(
        *_are_recipients(campaign.account_id, piece.ids)
    )


def _are_recipients(account_id: int, ids: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    return (
        Subscriber.account_id == account_id,
        Subscriber.status == SubscriberStatus.active,
        Subscriber.id == func.any(literal(ids, ARRAY(BigInteger))),
    )


def _batch_size(emails: int, senders: int) -> int:
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, ceil(emails / (BATCHES_PER_SENDER * senders))))
