"""The progress page of a scheduled or started campaign."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request

from mailganer import campaigns
from mailganer.audience.recipients import audience_of
from mailganer.campaigns.campaign_forecast import usable_sender
from mailganer.campaigns.counts import Counts, campaign_counts
from mailganer.campaigns.forecast import Forecast
from mailganer.campaigns.throughput import emails_a_minute
from mailganer.db import utcnow
from mailganer.models import Campaign, CampaignStatus

from ..web.decorators import view_config
from .stepper import campaign_page, current_page

MOST_SECONDS_SHOWN = 90


@dataclass(frozen=True)
class UndoCountdown:
    """Remaining time in which "now" can be undone."""

    seconds: int
    part: float  # fraction that has passed

    @property
    def minutes(self) -> int:
        """Return the minutes to show, or 0 to show seconds."""
        return ceil(self.seconds / 60) if self.seconds > MOST_SECONDS_SHOWN else 0


@dataclass(frozen=True)
class SendingProgress:
    """Progress of a scheduled or started campaign."""

    counts: Counts
    per_minute: int
    forecast: Forecast | None  # None: no recipients wait, or nothing is being sent
    failing: tuple[Any, ...]  # senders that need a user's attention
    moving: bool  # reload soon
    countdown: UndoCountdown | None  # None: it has started, or waits for a set time
    due: bool  # its set time has come, and it is about to start
    recipients: int  # number of recipients, while it waits for a decision to start

    @property
    def refresh(self) -> int:
        """Return the seconds until the page is loaded again without scripts.

        Not before "Undo" has become useless: a reload would take the focus from it.
        """
        return 15 if self.countdown is None else self.countdown.seconds + 1

    @property
    def waits(self) -> bool:
        """Return whether nothing can be sent now.

        While other campaigns send, a pause of this one is noted later than it begins.
        """
        if self.forecast is None:
            return False
        pause, days = self.forecast.first_pause, self.forecast.days
        if pause is None:
            return not days
        return pause.since <= self.forecast.starts_at or not days or days[0].starts_at >= pause.until

    @property
    def held(self) -> str:
        """Return "waiting", "stuck" or "", as in the campaign list."""
        if not self.waits:
            return ""
        return "waiting" if self.forecast and self.forecast.first_pause else "stuck"

    @property
    def at_once(self) -> bool:
        """Return whether everything is sent within the minute after the pause."""
        pause = self.forecast.first_pause if self.forecast else None
        end = self.forecast.finishes_at if self.forecast else None
        return pause is not None and end is not None and end - pause.until <= timedelta(minutes=1)


@view_config(route_name="campaign.progress", renderer="campaigns/progress.jinja2")
def progress(request: Request) -> Any:
    campaign: Campaign = request.context.campaign
    if campaign.status is CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, campaign))
    found = progress_of(request)
    if found.countdown is None and request.headers.get("HX-Target") == "countdown":
        request.response.headers["HX-Refresh"] = "true"  # it has started: there is no countdown to replace
    return campaign_page(request, "progress", progress=found, held=found.held)


def progress_of(request: Request) -> SendingProgress:
    """Return the progress of the context's campaign."""
    campaign: Campaign = request.context.campaign
    session, now = request.dbsession, utcnow()
    counts = campaign_counts(session, [campaign.id])[campaign.id]
    if campaign.status is CampaignStatus.cancelled:
        counts = counts.cancelled()
    speed = emails_a_minute(session, campaign, counts, now)
    forecast = None
    if counts.waiting and campaign.status in (CampaignStatus.sending, CampaignStatus.paused):
        forecast = campaigns.forecast(
            session,
            campaign,
            counts.waiting,
            settings=request.registry["settings"],
            registry=request.registry["backends"],
            now=now,
            per_minute=speed,
        )
    return SendingProgress(
        counts=counts,
        per_minute=speed,
        forecast=forecast,
        failing=tuple(sender for sender in campaign.senders if not usable_sender(sender)),
        moving=campaign.status in (CampaignStatus.scheduled, CampaignStatus.sending)
        or (campaign.status in (CampaignStatus.paused, CampaignStatus.cancelled) and counts.sending > 0),
        countdown=countdown_of(campaign, now),
        due=campaign.send_at is not None and campaign.send_at <= now,
        recipients=audience_of(session, campaign)
        if campaign.status is CampaignStatus.paused and not campaign.started_at
        else 0,
    )


def countdown_of(campaign: Campaign, now: datetime) -> UndoCountdown | None:
    """Return how long "Undo" is offered; after that a tick or two more, until the campaign has started."""
    if campaign.status is not CampaignStatus.scheduled or not campaign.pressed_at or not campaign.send_at:
        return None
    left = max(timedelta(0), campaign.send_at - now)
    whole = max(timedelta(seconds=1), campaign.send_at - campaign.pressed_at)
    return UndoCountdown(ceil(left.total_seconds()), 1 - left / whole)
