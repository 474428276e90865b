"""Report pages: the report, the recipients behind each number, and one delivery."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import campaigns, reports
from mailganer.campaigns.counts import campaign_counts
from mailganer.db import utcnow
from mailganer.errors import _
from mailganer.models import Campaign, CampaignStatus, DeliveryStatus, Reason, make_message_id
from mailganer.reports import Filters, OpenFilter, TimelineBucket

from ..web.decorators import view_config
from ..web.explanation_text import explanation_context
from .agents import agent_words
from .charts import Chart, make_chart
from .explanation import step_sentences
from .forms import number_of
from .stepper import campaign_page, current_page
from .subject_lines import subject_of

PER_PAGE = 50
FIRST_DAYS = timedelta(days=2)  # shown by the hour
UNFINISHED = (CampaignStatus.sending, CampaignStatus.paused)  # statuses of campaigns that have a report


@view_config(route_name="campaign.report", renderer="report/report.jinja2")
def report(request: Request) -> Any:
    campaign: Campaign = request.context.campaign
    if campaign.started_at is None:
        return HTTPSeeOther(current_page(request, campaign))
    now = utcnow()
    found = reports.campaign_report(request.dbsession, campaign, now)
    return campaign_page(
        request,
        "report",
        report=found,
        days=campaigns.compared(
            campaigns.planned(campaign), campaigns.actual_days(request.dbsession, campaign)
        ),
        unfinished=campaign.status in UNFINISHED,
        first_days_over=now - campaign.started_at > FIRST_DAYS,
        first_days=_chart(request, [bucket for bucket in found.timeline if bucket.hours == 1]),
        later=_chart(request, [bucket for bucket in found.timeline if bucket.hours > 1]),
        sentence=reports.delivery_sentence,
    )


@view_config(route_name="campaign.recipients", renderer="report/recipients.jinja2")
def recipients(request: Request) -> Any:
    """Show all recipients or those behind a number: see ``asked_filters`` for the parameters."""
    campaign: Campaign = request.context.campaign
    if campaign.started_at is None:
        return HTTPSeeOther(current_page(request, campaign))
    session, filters = request.dbsession, asked_filters(request)
    return campaign_page(
        request,
        "recipients",
        page=reports.recipients_page(
            session, campaign, filters=filters, after=number_of(request.GET.get("after")), limit=PER_PAGE
        ),
        filters=filters,
        parameters=_query(request),
        link_url=_link_url(request, filters.link),
        counts=campaign_counts(session, [campaign.id])[campaign.id],
        statuses=tuple(DeliveryStatus),
        paged="after" in request.GET,
        sentence=reports.delivery_sentence,
    )


@view_config(route_name="campaign.recipients_csv")
def recipients_file(request: Request) -> Response:
    """Send the same recipients as CSV. It is streamed after this request's transaction."""
    campaign: Campaign = request.context.campaign
    rows = reports.recipients_csv(
        request.registry["readers"], campaign.id, asked_filters(request), translate=_translator(request)
    )
    response = Response(app_iter=rows, content_type="text/csv", charset="utf-8")
    name = quote(f"{campaign.name or subject_of(campaign) or campaign.id}.csv".replace("/", "-")[:120])
    response.headers["Content-Disposition"] = f"attachment; filename=\"people.csv\"; filename*=UTF-8''{name}"
    response.headers["Cache-Control"] = "no-store"
    return response


@view_config(route_name="campaign.delivery", renderer="report/delivery.jinja2")
def delivery(request: Request) -> dict[str, Any]:
    """Show what happened to one email."""
    campaign, row = request.context.campaign, request.context.delivery
    return campaign_page(
        request,
        "recipients",
        delivery=row,
        sentences=step_sentences(request, reports.why_email(explanation_context(request, campaign), row)),
        story=reports.delivery_timeline(request.dbsession, campaign, row),
        agent_words=agent_words,
        message_id=f"<{make_message_id(row.id, row.token, campaign.message_domain)}>",
    )


def asked_filters(request: Request) -> Filters:
    """Parse filters from the query. Invalid values filter nothing."""
    parameters = request.GET
    return Filters(
        status=_word(DeliveryStatus, parameters.get("status")),
        reason=_word(Reason, parameters.get("reason")),
        query=parameters.get("query", "").strip(),
        opened=_word(OpenFilter, parameters.get("opened")),
        clicked={"yes": True, "no": False}.get(parameters.get("clicked", "")),
        link=parameters.get("link", "")[:40],
        left=parameters.get("left") == "yes",
    )


def _query(request: Request) -> dict[str, str]:
    """Return the query parameters without the page position."""
    return {name: value for name, value in request.GET.items() if name not in ("after", "lang") and value}


def _link_url(request: Request, key: str) -> str:
    if not key:
        return ""
    links = reports.links(request.dbsession, request.context.campaign)
    return next((link.url for link in links if link.key == key), "")


def _chart(request: Request, buckets: Sequence[TimelineBucket]) -> Chart | None:
    """Return a chart of opens and clicks, or None without any: a sentence is clearer than a flat line."""
    if not any(bucket.opens or bucket.clicks for bucket in buckets):
        return None
    campaign: Campaign = request.context.campaign
    series = [(request.translate(_("Clicks")), [bucket.clicks for bucket in buckets])]
    if campaign.track_opens:
        series.insert(0, (request.translate(_("Opens")), [bucket.opens for bucket in buckets]))
    labels = [_label(request, bucket) for bucket in buckets]
    return make_chart(request.translate(_("Opens and clicks")), labels, series)


def _label(request: Request, bucket: TimelineBucket) -> str:
    pattern = "EEE HH:mm" if bucket.hours == 1 else "d MMM"
    return str(request.localizer.format_datetime_by(bucket.at, pattern))


def _translator(request: Request) -> Any:
    """Return a translator that also works after the request."""
    localizer = request.localizer
    return lambda message: localizer.translate(message) if message else ""


def _word(words: Any, text: str | None) -> Any:
    return words(text) if text in set(words) else None
