"""Pause what cannot succeed: a campaign with a broken email, a sender whose server refuses.

Recipients stay pending, and none of them is lost.
"""

from datetime import datetime, timedelta

from sqlalchemy import Update, select, update
from sqlalchemy.orm import Session

from ...campaigns.event_log import note_campaigns
from ...db import changed_rows
from ...models import Campaign, CampaignStatus, DelayCause, Sender, SenderStatus, delays, state_changes
from .backoff import RETRY_FAILING_AFTER, SERVER_STEPS, server_pause


def pause_campaign_with_reason(session: Session, campaign_id: int, reason: str, now: datetime) -> None:
    """Pause a campaign that is being sent, and record the reason."""
    if _changed(
        session,
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.sending)
        .values(status=CampaignStatus.paused, paused_reason=reason, updated_at=now),
    ):
        delays.note_pause(session, campaign_id, DelayCause.halted, now)
        note_campaigns("paused", [campaign_id], by="mailganer")


def wait_for_sending_hours(session: Session, campaign_id: int, until: datetime) -> None:
    """Let the campaign rest until its sending hours begin again."""
    session.execute(update(Campaign).where(Campaign.id == campaign_id).values(resting_until=until))


def put_sender_to_sleep(session: Session, sender_id: int, until: datetime, now: datetime) -> None:
    """Put a sender that has used up its quota to sleep; it continues by itself."""
    if _changed(
        session,
        update(Sender)
        .where(Sender.id == sender_id, Sender.status == SenderStatus.ready)
        .values(status=SenderStatus.sleeping, sleeps_until=until),
    ):
        delays.note_sender(session, sender_id, DelayCause.quota, now, until)


def mark_sender_failing(session: Session, sender_id: int, error: str, now: datetime) -> None:
    """Mark a sender failing whose server does not let it send, until a user acts.

    It is not retried automatically, because providers lock accounts that keep trying with a wrong password.
    """
    state_changes.fail(session, sender_id, error, now)


def back_off(
    session: Session,
    sender_id: int,
    error: str,
    now: datetime,
    *,
    at_least: timedelta = timedelta(0),
    may_fail: bool = True,
) -> None:
    """Back off after the server could not be reached, closed the connection or asked to slow down.

    After several times in a row the sender is marked failing, unless it is only slowed down (``may_fail``
    False).
    """
    row = session.execute(
        select(Sender.failures, Sender.status, Sender.sleeps_until)
        .where(Sender.id == sender_id)
        .with_for_update(key_share=True)
    ).one()
    if row.status is SenderStatus.sleeping and row.sleeps_until and row.sleeps_until > now:
        # Several lanes meet the same outage: count it once, since the first lane has put the sender to sleep.
        _sleep_longer(session, sender_id, row.sleeps_until, now + at_least, now)
        return
    failures = row.failures + 1
    pause = server_pause(failures if may_fail else min(failures, len(SERVER_STEPS)))
    until = now + max(RETRY_FAILING_AFTER if pause is None else pause, at_least)
    session.execute(
        update(Sender)
        .where(Sender.id == sender_id)
        .values(
            failures=failures,
            error=error,
            status=SenderStatus.failing if pause is None else SenderStatus.sleeping,
            sleeps_until=until,
        )
    )
    if failures == 1:
        delays.note_sender(session, sender_id, DelayCause.trouble, now, until)
    else:
        delays.prolong_trouble(session, sender_id, now, until)


def _sleep_longer(
    session: Session, sender_id: int, until: datetime, at_least: datetime, now: datetime
) -> None:
    if at_least <= until:
        return
    session.execute(update(Sender).where(Sender.id == sender_id).values(sleeps_until=at_least))
    delays.prolong_trouble(session, sender_id, now, at_least)


def end_trouble(session: Session, sender_id: int) -> None:
    """Clear the sender's failures after an email was accepted."""
    session.execute(
        update(Sender).where(Sender.id == sender_id, Sender.failures > 0).values(failures=0, error=None)
    )


def _changed(session: Session, statement: Update) -> bool:
    return changed_rows(session, statement) == 1
