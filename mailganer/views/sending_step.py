"""Pages from the check to the last email: check, schedule, send, progress, emails in doubt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import campaigns
from mailganer.audience.recipients import audience_of
from mailganer.campaigns import Check
from mailganer.campaigns.campaign_forecast import usable_sender
from mailganer.campaigns.counts import Counts, campaign_counts
from mailganer.campaigns.doubts import doubtful
from mailganer.campaigns.forecast import Forecast
from mailganer.campaigns.throughput import emails_a_minute
from mailganer.db import utcnow
from mailganer.errors import Conflict, EmailError, InputError, NotReady, _
from mailganer.i18n.sentences import ngettext
from mailganer.models import Campaign, CampaignStatus, Delivery, make_message_id
from mailganer.reports import delivery_sentence
from mailganer.sending import enqueue_after_commit, resolve

from ..web.decorators import view_config
from .forms import number_of
from .stepper import campaign_page, current_page, next_step, step_url

MOST_DOUBTS = 100
SECONDS_SAY_MORE = 90


@dataclass(frozen=True)
class UndoCountdown:
    """Remaining time in which "now" can be undone."""

    seconds: int
    part: float  # fraction that has passed

    @property
    def minutes(self) -> int:
        """Return the minutes to show, or 0 to show seconds."""
        return ceil(self.seconds / 60) if self.seconds > SECONDS_SAY_MORE else 0


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
        """Return whether nothing can be sent now."""
        if self.forecast is None:
            return False
        pause = self.forecast.first_pause
        return not self.forecast.days or (pause is not None and pause.since <= self.forecast.starts_at)

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


@dataclass(frozen=True)
class Doubt:
    """An email in doubt with its details."""

    delivery: Delivery
    sentence: str
    message_id: str


@view_config(route_name="campaign.check", request_method="GET", renderer="campaigns/check.jinja2")
def check(request: Request) -> Any:
    if request.context.campaign.status is not CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, request.context.campaign))
    return campaign_page(request, "check", _check(request))


@view_config(route_name="campaign.check", request_method="POST")
def continue_from_check(request: Request) -> Response:
    return HTTPSeeOther(next_step(request, "check"))


@view_config(route_name="campaign.when", request_method="GET", renderer="campaigns/when.jinja2")
def when(request: Request) -> Any:
    if request.context.campaign.status is not CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, request.context.campaign))
    return _when_page(request)


@view_config(route_name="campaign.when", request_method="POST", renderer="campaigns/when.jinja2")
def save_when(request: Request) -> Any:
    """Save the choice: now, or a date and time in the user's time zone."""
    campaign: Campaign = request.context.campaign
    try:
        send_at = _chosen_time(request) if request.POST.get("when") == "later" else None
        changes = {
            "send_at": send_at,
            "not_after": _latest_moment(request),
            "hours": _chosen_hours(request),
        }
        campaigns.update_draft(request.dbsession, campaign, changes, utcnow())
    except InputError as error:
        request.response.status_int = 422
        return _when_page(request, error.fields)
    if request.headers.get("HX-Request"):
        return _when_page(request)
    return HTTPSeeOther(next_step(request, "when") if "go" in request.POST else step_url(request, "when"))


@view_config(route_name="campaign.send", request_method="GET", renderer="campaigns/send.jinja2")
def confirm(request: Request) -> Any:
    if request.context.campaign.status is not CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, request.context.campaign))
    return campaign_page(request, "send", _check(request))


@view_config(route_name="campaign.send", request_method="POST")
def send(request: Request) -> Response:
    """Schedule the campaign. If the number of recipients has changed, show the new number first."""
    campaign: Campaign = request.context.campaign
    if campaign.status is not CampaignStatus.draft:  # a second click
        return HTTPSeeOther(current_page(request, campaign))
    try:
        campaigns.schedule(
            request.dbsession,
            campaign,
            campaign.send_at,
            utcnow(),
            settings=request.registry["settings"],
            registry=request.registry["backends"],
            grace=timedelta(seconds=request.registry["settings"].grace_seconds),
            audience=number_of(request.POST.get("audience")) or 0,
        )
    except NotReady as error:
        request.flash(error.message, "bad")
        return HTTPSeeOther(step_url(request, "check"))
    except Conflict as error:  # the number has changed, or another tab was faster
        request.flash(error.message, "wait")
        return HTTPSeeOther(step_url(request, "send"))
    except InputError as error:
        request.flash(error.fields["send_at"], "wait")
        return HTTPSeeOther(step_url(request, "when"))
    enqueue_after_commit(request, "tick")
    return HTTPSeeOther(step_url(request, "progress"))


@view_config(route_name="campaign.progress", renderer="campaigns/progress.jinja2")
def progress(request: Request) -> Any:
    campaign: Campaign = request.context.campaign
    if campaign.status is CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, campaign))
    found = progress_of(request)
    if found.countdown is None and request.headers.get("HX-Target") == "countdown":
        request.response.headers["HX-Refresh"] = "true"  # it has started: there is no countdown to replace
    return campaign_page(request, "progress", progress=found, held=found.held)


@view_config(route_name="campaign.unschedule", request_method="POST")
def unschedule(request: Request) -> Response:
    return _change_state(
        request, campaigns.unschedule, "check", _("The campaign is a draft again. No emails were sent.")
    )


@view_config(route_name="campaign.pause", request_method="POST")
def pause(request: Request) -> Response:
    return _change_state(request, campaigns.pause, "progress")


@view_config(route_name="campaign.resume", request_method="POST")
def resume(request: Request) -> Response:
    try:
        ours = request.registry["settings"].public_url
        return _change_state(request, partial(campaigns.resume, ours=ours), "progress")
    except EmailError as error:
        request.flash(error.message, "bad")
        return HTTPSeeOther(step_url(request, "email"))


@view_config(route_name="campaign.cancel", request_method="POST")
def cancel(request: Request) -> Response:
    return _change_state(request, campaigns.cancel, "progress")


@view_config(route_name="campaign.in_doubt", request_method="GET", renderer="campaigns/in_doubt.jinja2")
def in_doubt(request: Request) -> dict[str, Any]:
    """List emails in doubt, with the choices for each."""
    campaign: Campaign = request.context.campaign
    counts = campaign_counts(request.dbsession, [campaign.id])[campaign.id]
    return campaign_page(
        request,
        "report",
        doubts=[_doubt(campaign, each) for each in doubtful(request.dbsession, campaign, MOST_DOUBTS)],
        number=counts.in_doubt,
    )


@view_config(route_name="campaign.in_doubt", request_method="POST")
def end_doubts(request: Request) -> Response:
    """Resolve doubts with ``as=sent`` or ``as=again``, for the email ``delivery``, or for all."""
    campaign: Campaign = request.context.campaign
    verdict = "again" if request.POST.get("as") == "again" else "sent"
    decided = resolve(
        request.dbsession,
        campaign,
        verdict,
        by=request.account.email,
        now=utcnow(),
        delivery_ids=_named_delivery(request),
    )
    request.flash(_decided_words(request, verdict, decided))
    enqueue_after_commit(request, "tick")
    return HTTPSeeOther(step_url(request, "in_doubt"))


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


def _change_state(request: Request, verb: Any, step: str, message: str = "") -> Response:
    """Change the campaign's state, enqueue a tick, and redirect to the page for it."""
    try:
        verb(request.dbsession, request.context.campaign, utcnow())
    except Conflict as error:
        request.flash(error.message, "wait")
        return HTTPSeeOther(current_page(request, request.context.campaign))
    if message:
        request.flash(message)
    enqueue_after_commit(request, "tick")
    return HTTPSeeOther(step_url(request, step))


def _check(request: Request) -> Check:
    return campaigns.check(
        request.dbsession,
        request.context.campaign,
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        now=utcnow(),
    )


def _when_page(request: Request, wrong: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    campaign: Campaign = request.context.campaign
    found = _check(request)
    start = (campaign.send_at or _next_morning(request)).astimezone(request.timezone)
    later = request.POST.get("when", "later" if campaign.send_at else "now") == "later"
    latest = campaign.not_after.astimezone(request.timezone) if campaign.not_after else None
    return campaign_page(
        request,
        "when",
        found,
        broken=("when",) if "send_at" in wrong else (),
        later=later,
        day=request.POST.get("day", start.date().isoformat()),
        time=request.POST.get("time", start.strftime("%H:%M")),
        limited=bool(latest or campaign.hours or wrong.keys() & {"not_after", "hours"}),
        weekdays=_chosen_days(request) if request.POST else (campaign.hours or {}).get("days", ()),
        hours_from=request.POST.get("from", campaign.hours["from"] if campaign.hours else "09:00"),
        hours_to=request.POST.get("to", campaign.hours["to"] if campaign.hours else "18:00"),
        latest_day=request.POST.get("latest_day", latest.date().isoformat() if latest else ""),
        latest_time=request.POST.get("latest_time", latest.strftime("%H:%M") if latest else ""),
        today=utcnow().astimezone(request.timezone).date(),
        wrong=wrong,
    )


def _next_morning(request: Request) -> datetime:
    """Return the default of the form: tomorrow at ten."""
    here = utcnow().astimezone(request.timezone)
    return datetime.combine(here.date() + timedelta(days=1), time(10, 0), request.timezone)


def _chosen_time(request: Request) -> datetime:
    return _datetime_of(
        "send_at", request.POST.get("day", ""), request.POST.get("time", ""), request.timezone
    )


def _latest_moment(request: Request) -> datetime | None:
    """Return the latest start, or None; a date alone lasts until its end."""
    day, clock = request.POST.get("latest_day", ""), request.POST.get("latest_time", "")
    if not day and not clock:
        return None
    return _datetime_of("not_after", day, clock or "23:59", request.timezone)


def _chosen_hours(request: Request) -> dict[str, Any] | None:
    """Return the sending hours in the user's time zone; None without a weekday."""
    days = _chosen_days(request)
    if not days:
        return None
    clock = {"from": request.POST.get("from", ""), "to": request.POST.get("to", "")}
    return {"days": days, **clock, "timezone": request.viewer.timezone}


def _chosen_days(request: Request) -> list[int]:
    return [number for number in range(1, 8) if str(number) in request.POST.getall("weekday")]


def _datetime_of(field: str, day: str, clock: str, zone: Any) -> datetime:
    try:
        local = datetime.fromisoformat(f"{day}T{clock}")
    except ValueError:
        raise InputError({field: _("Choose a date and time.")}) from None
    if local.tzinfo is not None:
        raise InputError({field: _("Choose a date and time.")})
    return local_moment(local, zone, field)


def local_moment(local: datetime, zone: Any, field: str = "send_at") -> datetime:
    """Convert local time to a datetime. Raise ``InputError`` for a time that the clock skips."""
    start = local.replace(tzinfo=zone)
    if start.astimezone(ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None) != local:
        raise InputError(
            {field: _("This time does not exist, because clocks move forward then. Choose another.")}
        )
    return start


def _doubt(campaign: Campaign, delivery: Delivery) -> Doubt:
    message_id = make_message_id(delivery.id, delivery.token, campaign.message_domain)
    return Doubt(delivery, delivery_sentence(delivery.reason), f"<{message_id}>")


def _named_delivery(request: Request) -> list[int] | None:
    """Return the email that the form names; None for all that are in doubt."""
    named = request.POST.get("delivery")
    if named is None:
        return None
    number = number_of(named)
    return [] if number is None else [number]


def _decided_words(request: Request, verdict: str, number: int) -> str:
    if verdict == "again":
        forms = ngettext("${number} email will be resent.", "${number} emails will be resent.")
    else:
        forms = ngettext("${number} email marked as sent.", "${number} emails marked as sent.")
    return str(request.localizer.counted(forms, number))
