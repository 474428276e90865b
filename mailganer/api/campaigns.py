"""Campaigns: create, change, check, schedule, pause, cancel, and reports."""

from typing import Any

from pyramid.request import Request
from pyramid.response import Response

from .. import campaigns as verbs
from .. import reports, web
from ..campaigns.counts import Counts, campaign_counts
from ..campaigns.drafts import EDITABLE
from ..campaigns.preview import sample_recipient
from ..db import utcnow
from ..errors import Conflict, _
from ..models import Campaign, CampaignStatus, DeliveryStatus, Subscriber, owned
from ..rendering import PARTS
from ..sending import enqueue_after_commit
from ..web.explanation_text import explanation_context, step_sentence
from .paging import asked_after, asked_limit, page
from .problems import check_problem
from .serializers import Shape, campaign_shape, delivery_shape, why_shape
from .view import api_view


@api_view("api.campaigns", "GET")
def campaigns(request: Request) -> dict[str, Any]:
    status = request.GET.get("status")
    found = verbs.list_campaigns(
        request.dbsession,
        request.context.account.id,
        status=CampaignStatus(status) if status else None,
        after=asked_after(request),
        limit=asked_limit(request),
    )
    return page(found.items, found.next, lambda line: campaign_shape(line.campaign, _numbers(line.counts)))


@api_view("api.campaigns", "POST")
def create_campaign(request: Request) -> Shape:
    now = utcnow()
    campaign = verbs.create_draft(request.dbsession, request.context.account, now)
    verbs.update_draft(request.dbsession, campaign, request.openapi_validated.body, now)
    request.response.status = 201
    return _campaign(request, campaign)


@api_view("api.campaign", "GET")
def campaign(request: Request) -> Shape:
    return _campaign(request, request.context.campaign)


@api_view("api.campaign", "PATCH")
def change_campaign(request: Request) -> Shape:
    campaign = request.context.campaign
    try:
        verbs.update_draft(request.dbsession, campaign, _changes(request, campaign), utcnow())
    except Conflict as error:
        if campaign.status is not CampaignStatus.scheduled:
            raise
        path = request.route_path("api.campaign.unschedule", id=campaign.id)
        raise Conflict(
            _(
                "A scheduled campaign cannot be changed. POST ${path} returns it to a draft first.",
                mapping={"path": path},
            )
        ) from error
    return _campaign(request, campaign)


@api_view("api.campaign", "DELETE")
def delete_campaign(request: Request) -> Response:
    verbs.delete_draft(request.dbsession, request.context.campaign)
    return Response(status=204)


@api_view("api.campaign.check", "POST")
def check_campaign(request: Request) -> Shape:
    found = verbs.check(
        request.dbsession,
        request.context.campaign,
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        now=utcnow(),
    )
    uses = [
        {"name": use.name, "filled": use.filled, "empty": use.empty, "known": use.known}
        for use in found.variables
    ]
    return {
        "ok": found.ok,
        "problems": [check_problem(request, problem) for problem in found.problems],
        "audience": found.audience,
        "variables": uses,
        "forecast": verbs.forecast_json(found.forecast),
    }


@api_view("api.campaign.preview", "POST")
def preview_campaign(request: Request) -> Shape:
    body = request.openapi_validated.body or {}
    rendered = verbs.preview(
        request.dbsession,
        request.context.campaign,
        _preview_recipient(request, body.get("subscriber_id")),
        now=utcnow(),
        ours=request.registry["settings"].public_url,
    )
    return {part: getattr(rendered, part) for part in PARTS}


@api_view("api.campaign.test", "POST")
def test_campaign(request: Request) -> Shape:
    emails = verbs.prepare_test(
        request.dbsession,
        request.context.campaign,
        request.openapi_validated.body["to"],
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        vault=request.registry["vault"],
        now=utcnow(),
        recipient=sample_recipient(request.dbsession, request.context.campaign),
    )
    receipts = web.ask_outside(request, web.in_time(request, emails.backend, emails.send))
    return {
        "receipts": [
            {
                "to": str(each.message_id),
                "outcome": each.outcome.value,
                "reply": request.translate(each.reply),
            }
            for each in receipts
        ]
    }


@api_view("api.campaign.schedule", "POST")
def schedule_campaign(request: Request) -> Shape:
    body = request.openapi_validated.body or {}
    campaign = verbs.schedule(
        request.dbsession,
        request.context.campaign,
        body.get("send_at"),
        utcnow(),
        settings=request.registry["settings"],
        registry=request.registry["backends"],
    )
    return _enqueued(request, campaign)


@api_view("api.campaign.unschedule", "POST")
def unschedule_campaign(request: Request) -> Shape:
    return _campaign(request, verbs.unschedule(request.dbsession, request.context.campaign, utcnow()))


@api_view("api.campaign.pause", "POST")
def pause_campaign(request: Request) -> Shape:
    return _campaign(request, verbs.pause(request.dbsession, request.context.campaign, utcnow()))


@api_view("api.campaign.resume", "POST")
def resume_campaign(request: Request) -> Shape:
    ours = request.registry["settings"].public_url
    return _enqueued(request, verbs.resume(request.dbsession, request.context.campaign, utcnow(), ours))


@api_view("api.campaign.cancel", "POST")
def cancel_campaign(request: Request) -> Shape:
    return _enqueued(request, verbs.cancel(request.dbsession, request.context.campaign, utcnow()))


@api_view("api.campaign.deliveries", "GET")
def deliveries(request: Request) -> dict[str, Any]:
    campaign, status = request.context.campaign, request.GET.get("status")
    found = reports.recipients_page(
        request.dbsession,
        campaign,
        status=DeliveryStatus(status) if status else None,
        query=request.GET.get("query", ""),
        after=asked_after(request),
        limit=asked_limit(request),
    )
    return page(
        found.items, found.next, lambda each: delivery_shape(each, campaign.message_domain, request.account)
    )


@api_view("api.campaign.report", "GET")
def report(request: Request) -> Shape:
    return reports.campaign_report(request.dbsession, request.context.campaign).as_json()


@api_view("api.campaign.why", "GET")
def why(request: Request) -> Shape:
    found = _explanation(request, explanation_context(request, request.context.campaign))
    sentences = [(step, step_sentence(request, step)) for step in found.steps]
    return why_shape(found, sentences, request.context.account)


def _changes(request: Request, campaign: Campaign) -> dict[str, Any]:
    """Return the changes, without fields that cannot be changed now and equal their current value.

    A client may send a whole campaign back to change only some fields of it.
    """
    posted, known, free = request.json_body, campaign_shape(campaign, {}), EDITABLE[campaign.status]
    return {
        name: value
        for name, value in request.openapi_validated.body.items()
        if name in free or posted[name] != known[name]
    }


def _explanation(request: Request, context: reports.ExplanationContext) -> reports.Explanation:
    """Return the explanation for the recipient in the query: by id, else by address."""
    subscriber_id = request.openapi_validated.parameters.query.get("subscriber_id")
    if subscriber_id is None:
        return reports.why_address(context, request.GET.get("email", ""))
    return reports.why_subscriber(
        context, owned(request.dbsession, Subscriber, request.context.account.id, subscriber_id)
    )


def _preview_recipient(request: Request, subscriber_id: int | None) -> Subscriber | None:
    """Return the subscriber to render for: the requested one, else the campaign's first recipient."""
    if subscriber_id is None:
        return sample_recipient(request.dbsession, request.context.campaign)
    return owned(request.dbsession, Subscriber, request.context.account.id, subscriber_id)


def _campaign(request: Request, campaign: Campaign) -> Shape:
    counts = campaign_counts(request.dbsession, [campaign.id])[campaign.id]
    return campaign_shape(campaign, _numbers(counts))


def _enqueued(request: Request, campaign: Campaign) -> Shape:
    """Return the campaign and run a tick after the commit, so that the change takes effect at once."""
    enqueue_after_commit(request, "tick")
    return _campaign(request, campaign)


def _numbers(counts: Counts) -> Shape:
    return {
        "total": counts.total,
        **{status.value: getattr(counts, status.value) for status in DeliveryStatus},
    }
