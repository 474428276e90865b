"""Why? For any person and any campaign: asked by an address, from a row of a table, or from the person."""

from dataclasses import dataclass
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config

from mailganer import audience, campaigns, i18n, reports
from mailganer.audience import AddressError
from mailganer.db import utcnow
from mailganer.models import Campaign
from mailganer.reports import Asked, Code, Step, Why

from .forms import number_of
from .rail import campaign_page

LONGEST_ASKED = 400  # an address fits, and what is none is shown again


@dataclass(frozen=True)
class Told:
    """A step in words."""

    step: Step
    sentence: str
    reply: str  # the server's words, or what was wrong with the letter
    ahead: bool  # waited for, and not there yet
    tone: str = ""  # bad or wait, where it is no good news


@view_config(route_name="campaign.why", request_method="GET", renderer="report/why.jinja2")
def why(request: Request) -> dict[str, Any]:
    """``?email=`` or ``?person=`` says who; without either it asks."""
    campaign: Campaign = request.context.campaign
    text, wrong, found = request.GET.get("email", "").strip()[:LONGEST_ASKED], "", None
    try:
        found = _asked_for(request, text)
    except AddressError as error:
        request.response.status_int = 422
        wrong = error.fields["email"]
    return campaign_page(
        request,
        "recipients" if campaign.started_at else "people",
        found=found,
        told=tell(request, found) if found else (),
        email=text or (found.address if found else ""),
        wrong=wrong,
    )


@view_config(route_name="person.why", request_method="GET")
def choose(request: Request) -> Response:
    """``?campaign=`` of this person's page leads to the answer."""
    account_id, person = request.context.account.id, request.context.person
    campaign_id = number_of(request.GET.get("campaign"))
    if campaign_id is None:
        return HTTPSeeOther(request.route_path("person", id=person.id))
    campaign = campaigns.owned_campaign(request.dbsession, account_id, campaign_id)
    query = {"person": person.id}
    return HTTPSeeOther(request.route_path("campaign.why", id=campaign.id, _query=query))


def asking(request: Request, campaign: Campaign) -> Asked:
    """What every question about this campaign needs."""
    registry = request.registry
    return Asked(request.dbsession, campaign, utcnow(), registry["settings"], registry["backends"])


def tell(request: Request, found: Why) -> tuple[Told, ...]:
    """The steps in the language, the time zone and the numbers of the request."""
    return tuple(_told(request, step) for step in found.steps)


def said(request: Request, step: Step) -> str:
    return request.translate(step.sentence(i18n.plain_datetime, i18n.number)).strip()


def _told(request: Request, step: Step) -> Told:
    known = step.details()
    reply = known.get("reply") or (request.translate(step.words) if step.cause else "")
    ahead = step.until is not None and step.until > utcnow()
    return Told(step, said(request, step), reply, ahead, _TONES.get(step.code, ""))


_TONES = dict.fromkeys((Code.refused, Code.expired, Code.not_sent, Code.bounced, Code.complained), "bad")
_TONES |= dict.fromkeys((Code.interrupted, Code.disconnected, Code.in_doubt), "wait")


def _asked_for(request: Request, email: str) -> Why | None:
    asked, person_id = asking(request, request.context.campaign), number_of(request.GET.get("person"))
    if email:
        return reports.why_address(asked, email)
    if person_id is None:
        return None
    account_id = request.context.account.id
    return reports.why_person(asked, audience.owned_subscriber(request.dbsession, account_id, person_id))
