"""The check and the confirmation of a campaign, and its later states: undo, pause, resume, cancel."""

from datetime import timedelta
from functools import partial
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import campaigns
from mailganer.campaigns import Check
from mailganer.db import utcnow
from mailganer.errors import Conflict, EmailError, InputError, NotReady, _
from mailganer.models import Campaign, CampaignStatus
from mailganer.sending import enqueue_after_commit

from ..web.decorators import view_config
from .forms import number_of
from .stepper import campaign_page, current_page, next_step, step_url


@view_config(route_name="campaign.check", request_method="GET", renderer="campaigns/check.jinja2")
def check(request: Request) -> Any:
    if request.context.campaign.status is not CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, request.context.campaign))
    return campaign_page(request, "check", check_of(request))


@view_config(route_name="campaign.check", request_method="POST")
def continue_from_check(request: Request) -> Response:
    return HTTPSeeOther(next_step(request, "check"))


@view_config(route_name="campaign.send", request_method="GET", renderer="campaigns/send.jinja2")
def confirm(request: Request) -> Any:
    if request.context.campaign.status is not CampaignStatus.draft:
        return HTTPSeeOther(current_page(request, request.context.campaign))
    return campaign_page(request, "send", check_of(request))


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


def check_of(request: Request) -> Check:
    """Return what the check of the campaign finds now."""
    return campaigns.check(
        request.dbsession,
        request.context.campaign,
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        now=utcnow(),
    )
