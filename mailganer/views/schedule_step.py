"""The page on which the start of a campaign is chosen: now, or a date and time."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request

from mailganer import campaigns
from mailganer.db import utcnow
from mailganer.errors import InputError, _
from mailganer.models import Campaign, CampaignStatus

from ..web.decorators import view_config
from .sending_step import check_of
from .stepper import campaign_page, current_page, next_step, step_url


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
            "not_after": _latest_start(request),
            "hours": _chosen_hours(request),
        }
        campaigns.update_draft(request.dbsession, campaign, changes, utcnow())
    except InputError as error:
        request.response.status_int = 422
        return _when_page(request, error.fields)
    if request.headers.get("HX-Request"):
        return _when_page(request)
    return HTTPSeeOther(next_step(request, "when") if "go" in request.POST else step_url(request, "when"))


def _when_page(request: Request, wrong: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    campaign: Campaign = request.context.campaign
    found = check_of(request)
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


def _latest_start(request: Request) -> datetime | None:
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
    return local_datetime(local, zone, field)


def local_datetime(local: datetime, zone: Any, field: str = "send_at") -> datetime:
    """Convert local time to a datetime. Raise ``InputError`` for a time that the clock skips."""
    start = local.replace(tzinfo=zone)
    if start.astimezone(ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None) != local:
        raise InputError(
            {field: _("This time does not exist, because clocks move forward then. Choose another.")}
        )
    return start
