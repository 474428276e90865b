"""Explanation pages ("why?") for a subscriber and a campaign.

Reached by an address, from a row of the recipients, or from a subscriber.
"""

from dataclasses import dataclass
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import reports
from mailganer.audience import AddressError
from mailganer.db import utcnow
from mailganer.models import Campaign, Subscriber, owned
from mailganer.reports import Explanation, ExplanationCode, ExplanationStep

from ..web.decorators import view_config
from ..web.explanation_text import explanation_context, step_sentence
from .forms import number_of
from .stepper import campaign_page

LONGEST_ASKED = 400  # longer than any address; invalid input is shown again


@dataclass(frozen=True)
class StepSentence:
    """A step with its text."""

    step: ExplanationStep
    sentence: str
    reply: str  # of the server, or what was wrong with the email
    ahead: bool  # the end of the wait is in the future
    tone: str = ""  # bad or wait for problems


@view_config(route_name="campaign.why", request_method="GET", renderer="report/why.jinja2")
def why(request: Request) -> dict[str, Any]:
    """Show the explanation for ``?email=`` or ``?person=``; without either, a form."""
    campaign: Campaign = request.context.campaign
    text, wrong, found = request.GET.get("email", "").strip()[:LONGEST_ASKED], "", None
    try:
        found = _asked_for(request, text)
    except AddressError as error:
        request.response.status_int = 422
        wrong = error.fields["email"]
    return campaign_page(
        request,
        "recipients" if campaign.started_at else "target",
        found=found,
        sentences=step_sentences(request, found) if found else (),
        email=text or (found.address if found else ""),
        wrong=wrong,
    )


@view_config(route_name="subscriber.why", request_method="GET")
def choose(request: Request) -> Response:
    """Redirect from the subscriber's page to the explanation for ``?campaign=``."""
    account_id, subscriber = request.context.account.id, request.context.subscriber
    campaign_id = number_of(request.GET.get("campaign"))
    if campaign_id is None:
        return HTTPSeeOther(request.route_path("subscriber", id=subscriber.id))
    campaign = owned(request.dbsession, Campaign, account_id, campaign_id)
    query = {"person": subscriber.id}
    return HTTPSeeOther(request.route_path("campaign.why", id=campaign.id, _query=query))


def step_sentences(request: Request, found: Explanation) -> tuple[StepSentence, ...]:
    """Return the steps in the language, time zone and number format of the request."""
    return tuple(_step_sentence(request, step) for step in found.steps)


def _step_sentence(request: Request, step: ExplanationStep) -> StepSentence:
    known = step.details()
    reply = known.get("reply") or (request.translate(step.words) if step.cause else "")
    ahead = step.until is not None and step.until > utcnow()
    return StepSentence(step, step_sentence(request, step), reply, ahead, _TONES.get(step.code, ""))


_TONES = dict.fromkeys(
    (
        ExplanationCode.refused,
        ExplanationCode.expired,
        ExplanationCode.not_sent,
        ExplanationCode.bounced,
        ExplanationCode.complained,
    ),
    "bad",
)
_TONES |= dict.fromkeys(
    (ExplanationCode.interrupted, ExplanationCode.disconnected, ExplanationCode.in_doubt), "wait"
)


def _asked_for(request: Request, email: str) -> Explanation | None:
    context, subscriber_id = (
        explanation_context(request, request.context.campaign),
        number_of(request.GET.get("person")),
    )
    if email:
        return reports.why_address(context, email)
    if subscriber_id is None:
        return None
    account_id = request.context.account.id
    return reports.why_subscriber(context, owned(request.dbsession, Subscriber, account_id, subscriber_id))
