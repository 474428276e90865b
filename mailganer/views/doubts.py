"""Emails in doubt of a campaign, and the decisions about them."""

from dataclasses import dataclass
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer.campaigns.counts import campaign_counts
from mailganer.campaigns.doubts import doubtful
from mailganer.db import utcnow
from mailganer.i18n.sentences import ngettext
from mailganer.models import Campaign, Delivery, make_message_id
from mailganer.reports import delivery_sentence
from mailganer.sending import enqueue_after_commit, resolve

from ..web.decorators import view_config
from .forms import number_of
from .stepper import campaign_page, step_url

MOST_DOUBTS = 100


@dataclass(frozen=True)
class Doubt:
    """An email in doubt with its details."""

    delivery: Delivery
    sentence: str
    message_id: str


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
def resolve_doubts(request: Request) -> Response:
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
    request.flash(_decision_sentence(request, verdict, decided))
    enqueue_after_commit(request, "tick")
    return HTTPSeeOther(step_url(request, "in_doubt"))


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


def _decision_sentence(request: Request, verdict: str, number: int) -> str:
    if verdict == "again":
        forms = ngettext("${number} email will be resent.", "${number} emails will be resent.")
    else:
        forms = ngettext("${number} email marked as sent.", "${number} emails marked as sent.")
    return str(request.localizer.counted(forms, number))
