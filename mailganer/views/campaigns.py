"""Campaign list, and the first step of a campaign. See also email_step, schedule_step and sending_step."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import campaigns
from mailganer.accounts import account_senders
from mailganer.audience.lists import list_counts, lists_of
from mailganer.audience.recipients import audience_of, excluded_counts
from mailganer.billing import plan_quota
from mailganer.db import utcnow
from mailganer.errors import Conflict, InputError, _
from mailganer.models import CampaignStatus, SubscriberStatus

from ..web.decorators import view_config
from .forms import number_of
from .senders import quota_of
from .stepper import campaign_page, current_page, next_step, readiness_of, step_url

PER_PAGE = 50


@view_config(route_name="campaigns", renderer="campaigns/list.jinja2")
def show_list(request: Request) -> dict[str, Any]:
    """List the campaigns, active ones first; ``?status=`` filters, ``?after=`` is the cursor."""
    account_id = request.account.id
    status = _status(request.GET.get("status"))
    page = campaigns.list_campaigns(
        request.dbsession,
        account_id,
        status=status,
        after=number_of(request.GET.get("after")),
        limit=PER_PAGE,
        under_way_first=status is None,
        emails=False,
        now=utcnow(),
    )
    return {
        "page": page,
        "plan_frees_at": _plan_frees_at(request),
        "status": status,
        "by_status": campaigns.count_by_status(request.dbsession, account_id),
        "statuses": tuple(CampaignStatus),
        "paged": "after" in request.GET,
    }


def _plan_frees_at(request: Request) -> datetime | None:
    """Return when the used-up plan has room for emails again; None while it has some."""
    quota = plan_quota(request.dbsession, request.account, request.registry["settings"], utcnow())
    return quota.waits_until


@view_config(route_name="campaigns.new", request_method="GET")
def redirect_to_list(request: Request) -> Response:
    """Redirect to the list, where a button creates a draft: a new campaign has no form."""
    return HTTPSeeOther(request.route_path("campaigns"))


@view_config(route_name="campaigns.new", request_method="POST")
def new(request: Request) -> Response:
    """Create an empty draft; ``list`` chooses its lists, for the button on a list's page."""
    draft = campaigns.create_draft(request.dbsession, request.account, utcnow())
    if lists := _numbers(request.POST.getall("list")):
        campaigns.update_draft(request.dbsession, draft, {"lists": lists}, utcnow())
    return HTTPSeeOther(request.route_path("campaign.target", id=draft.id))


@view_config(route_name="campaign")
def open_campaign(request: Request) -> Response:
    """Redirect to the page that is next for this campaign."""
    return HTTPSeeOther(current_page(request, request.context.campaign))


@view_config(route_name="campaign.target", request_method="GET", renderer="campaigns/target.jinja2")
def edit_target(request: Request) -> dict[str, Any]:
    return _target_page(request)


@view_config(route_name="campaign.target", request_method="POST", renderer="campaigns/target.jinja2")
def save_target(request: Request) -> Any:
    """Save name, lists, senders. ``go`` continues to the next step; an htmx request only saves."""
    campaign = request.context.campaign
    changes = {
        "name": request.POST.get("name", ""),
        "lists": _numbers(request.POST.getall("list")),
        "senders": _numbers(request.POST.getall("sender")),
    }
    try:
        campaigns.update_draft(request.dbsession, campaign, changes, utcnow())
    except (InputError, Conflict) as error:
        request.response.status_int = 422 if isinstance(error, InputError) else 409
        return _target_page(request, error)
    if request.headers.get("HX-Request"):
        return _target_page(request)
    if "go" not in request.POST or not audience_of(request.dbsession, campaign):
        return HTTPSeeOther(step_url(request, "target"))
    return HTTPSeeOther(next_step(request, "target"))


@view_config(route_name="campaign.duplicate", request_method="POST")
def duplicate(request: Request) -> Response:
    copy = campaigns.duplicate(request.dbsession, request.context.campaign, utcnow())
    request.flash(_("Campaign duplicated: a draft with the same recipients and email."))
    return HTTPSeeOther(request.route_path("campaign", id=copy.id))


@view_config(route_name="campaign.delete", request_method="POST")
def delete(request: Request) -> Response:
    campaigns.delete_draft(request.dbsession, request.context.campaign)
    request.flash(_("Draft deleted."))
    return HTTPSeeOther(request.route_path("campaigns"))


def _target_page(request: Request, error: InputError | Conflict | None = None) -> dict[str, Any]:
    campaign = request.context.campaign
    chosen = [each.id for each in campaign.lists]
    excluded = excluded_counts(request.dbsession, request.account.id, chosen)
    readiness = readiness_of(request, excluded.recipients)
    lists = lists_of(request.dbsession, request.account.id)
    counts = list_counts(request.dbsession, [each.id for each in lists])
    return campaign_page(
        request,
        "target",
        readiness=readiness,
        lists=[
            (each, counts[each.id].get(SubscriberStatus.active, 0), sum(counts[each.id].values()))
            for each in lists
        ],
        chosen=frozenset(chosen),
        senders=[
            (each, quota_of(request, each)) for each in account_senders(request.dbsession, request.account.id)
        ],
        sending_from=frozenset(sender.id for sender in campaign.senders),
        excluded=excluded,
        audience=excluded.recipients,
        error=error,
        editable=campaign.status is CampaignStatus.draft,
    )


def _status(text: str | None) -> CampaignStatus | None:
    return CampaignStatus(text) if text in set(CampaignStatus) else None


def _numbers(texts: Iterable[str]) -> list[int]:
    """Parse ids from a form; invalid ones become 0, which no row has."""
    return [number if (number := number_of(text)) is not None else 0 for text in texts]
