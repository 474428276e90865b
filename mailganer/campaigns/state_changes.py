"""State changes of campaigns by users: schedule, unschedule, pause, resume, cancel.

Each function changes a row in one transaction and does nothing else; ``schedule`` and ``resume`` compile the
email before it begins (``db.without_transaction``). The pipeline reads the row at its next tick (at once if
the view enqueues one after the commit) and within one email of a lane that is sending.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.orm import Session

from ..backends import Registry
from ..errors import Conflict, NotReady, _
from ..models import Campaign, CampaignStatus, DelayCause, delays
from ..models import state_changes as states
from ..settings import Settings
from . import frozen_emails
from .actuals import kept_forecast
from .check import Check, check, read
from .draft_fields import check_start_time
from .drafts import CHANGED, lock
from .event_log import note_campaigns

T = TypeVar("T")


def schedule(
    session: Session,
    campaign: Campaign,
    send_at: datetime | None,
    now: datetime,
    *,
    settings: Settings,
    registry: Registry,
    grace: timedelta = timedelta(0),
    audience: int | None = None,
    tell: Callable[[Check], None] | None = None,
) -> Campaign:
    """Schedule a draft for now (``send_at`` None) or a given time.

    "Now" on a page is after ``grace``: until then it can be undone, and no email has been sent. ``audience``
    is the number of recipients shown to the user; ``tell`` is called with the check. Raise ``Conflict`` when
    that number has changed or the campaign is no draft any more, ``InputError`` for a time in the past, and
    ``NotReady`` with the blocking problems of its check.
    """
    session.flush()
    session.refresh(campaign)
    _require_draft(campaign)
    at = check_start_time(send_at, now) if send_at else now + grace
    email = _unchanged(session, campaign, lambda: read(session, campaign, ours=settings.public_url, now=now))
    _require_draft(campaign)
    found = check(session, campaign, settings=settings, registry=registry, now=now, send_at=at, email=email)
    if tell:
        tell(found)
    if audience is not None and audience != found.audience:
        raise Conflict(_("The number of recipients has changed since this page was opened. Check it again."))
    if not found.ok:
        raise NotReady(_("This campaign has problems that must be fixed before sending."), found.blocking)
    campaign.move(CampaignStatus.scheduled)
    campaign.send_at = at
    campaign.pressed_at = None if send_at else now
    campaign.forecast = kept_forecast(found.forecast)
    campaign.updated_at = now
    session.flush()
    return campaign


def _require_draft(campaign: Campaign) -> None:
    if campaign.status is CampaignStatus.finished:
        raise Conflict(_("This campaign is finished. To send its email again, duplicate the campaign."))
    if campaign.status is CampaignStatus.cancelled:
        raise Conflict(_("This campaign is cancelled. To send its email, duplicate the campaign."))
    if campaign.status is not CampaignStatus.draft:
        raise Conflict(_("This campaign is already being sent."))


def _unchanged(session: Session, campaign: Campaign, read_email: Callable[[], T]) -> T:
    """Lock the campaign in the state in which its email was read; reading happens without the lock.

    Raise ``Conflict`` when it is changed each time.
    """
    for _attempt in range(3):
        revision = campaign.revision
        email = read_email()
        lock(session, campaign)
        if campaign.revision == revision:
            return email
    raise Conflict(CHANGED)


def unschedule(session: Session, campaign: Campaign, now: datetime) -> Campaign:
    """Turn a scheduled campaign back into a draft. Raise ``Conflict`` when it has started."""
    lock(session, campaign)
    if campaign.status is not CampaignStatus.scheduled:
        raise Conflict(_("Only a campaign that has not started can be returned to draft."))
    campaign.move(CampaignStatus.draft)
    if campaign.pressed_at or (campaign.send_at and campaign.send_at <= now):
        campaign.send_at = None  # "now" is over; the next attempt starts with the choice of time
    campaign.pressed_at = None
    campaign.updated_at = now
    session.flush()
    return campaign


def pause(session: Session, campaign: Campaign, now: datetime) -> Campaign:
    """Pause a campaign that is being sent. Idempotent. Raise ``Conflict`` in other states."""
    lock(session, campaign)
    if campaign.status is CampaignStatus.paused:
        return campaign
    if campaign.status is not CampaignStatus.sending:
        raise Conflict(_("Only a campaign that is being sent can be paused."))
    campaign.move(CampaignStatus.paused)
    delays.note_pause(session, campaign.id, DelayCause.paused, now)
    note_campaigns("paused", [campaign.id], by="account")
    campaign.paused_reason = None
    campaign.updated_at = now
    session.flush()
    return campaign


def resume(session: Session, campaign: Campaign, now: datetime, ours: str = "") -> Campaign:
    """Resume a campaign with its current email: an edited one becomes a new version. Idempotent.

    ``ours`` is the public address of the installation. Raise ``Conflict``, and ``EmailError`` when the edited
    email cannot be used.
    """
    session.flush()
    session.refresh(campaign)
    email = None
    if campaign.status is CampaignStatus.paused and campaign.frozen_email_id is not None:
        email = _unchanged(session, campaign, lambda: frozen_emails.compile_to_send(campaign, ours))
    else:
        lock(session, campaign)
    if campaign.status is CampaignStatus.sending:
        return campaign
    if campaign.status is not CampaignStatus.paused:
        raise Conflict(_("Only a paused campaign can be resumed."))
    if email is not None:
        frozen_emails.store_frozen_email(session, campaign, email, now)
    campaign.move(CampaignStatus.sending)
    delays.end_pause(session, campaign.id, now)
    campaign.started_at = campaign.started_at or now  # one paused for being late starts now
    campaign.paused_reason = None
    campaign.updated_at = now
    session.flush()
    return campaign


def cancel(session: Session, campaign: Campaign, now: datetime) -> Campaign:
    """Cancel a campaign for good: waiting recipients get no email. Idempotent. Raise ``Conflict``."""
    lock(session, campaign)
    if campaign.status is CampaignStatus.cancelled:
        return campaign
    if campaign.status in (CampaignStatus.draft, CampaignStatus.finished):
        raise Conflict(_("This campaign cannot be cancelled, because it is not being sent."))
    states.cancel_campaign(session, campaign, now)
    session.flush()
    return campaign
