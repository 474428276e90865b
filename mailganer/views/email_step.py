"""Email step of a campaign: editing, templates and files, preview, test email."""

from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import campaigns, rendering
from mailganer.campaigns import replacing, templates
from mailganer.campaigns.frozen_emails import parts_of
from mailganer.db import utcnow
from mailganer.errors import (
    Busy,
    Conflict,
    EmailError,
    InputError,
    _,
)
from mailganer.i18n.ready_templates import ready_template, ready_templates
from mailganer.models import Campaign, CampaignStatus, Template, owned
from mailganer.web import email_response

from ..web.decorators import view_config
from .email_files import read_email_file
from .email_page import email_page, is_written, recipient_of_preview, recipient_query, saved_email_page
from .forms import number_of
from .preview_errors import broken_email, busy_email, frame_note
from .stepper import campaign_page, next_step, readiness_of, step_url


@view_config(route_name="campaign.email", request_method="GET", renderer="campaigns/email.jinja2")
def email(request: Request) -> dict[str, Any]:
    return email_page(request)


@view_config(route_name="campaign.email", request_method="POST", renderer="campaigns/email.jinja2")
def save(request: Request) -> Any:
    """Save the email and the campaign's variables. htmx saves while typing and updates parts of the page."""
    campaign: Campaign = request.context.campaign
    try:
        changes = {name: request.POST.get(name, "") for name in rendering.PARTS} | {
            "variables": _posted_variables(request)
        }
        campaigns.update_draft(
            request.dbsession, campaign, changes, utcnow(), revision=number_of(request.POST.get("revision"))
        )
    except InputError as error:
        request.response.status_int = 422
        return saved_email_page(request, problems=error.fields)
    except Conflict as error:
        request.response.status_int = 409
        return saved_email_page(request, problems={"": error.message})
    if request.headers.get("HX-Request"):
        return saved_email_page(request)
    if "go" in request.POST and campaign.status is CampaignStatus.draft:
        return HTTPSeeOther(next_step(request, "email"))
    return HTTPSeeOther(request.route_path("campaign.email", id=campaign.id, _query=recipient_query(request)))


@view_config(route_name="campaign.frame", request_method="GET")
def frame(request: Request) -> Response:
    """Render the email for one recipient as a page for its frame."""
    campaign: Campaign = request.context.campaign
    if not is_written(campaign):
        return email_response(request, frame_note(request.translate(_("The email is empty so far."))))
    try:
        ours = request.registry["settings"].public_url
        shown = campaigns.preview(
            request.dbsession, campaign, recipient_of_preview(request), now=utcnow(), ours=ours
        )
    except EmailError as error:
        return email_response(request, broken_email(request, error))
    except Busy as error:
        return busy_email(request, error)
    return email_response(request, shown.html)


@view_config(route_name="campaign.template", request_method="GET", renderer="campaigns/start.jinja2")
def choose(request: Request) -> dict[str, Any]:
    """The gallery, as the beginning of this email."""
    readiness = readiness_of(request)
    return campaign_page(
        request,
        "email",
        readiness=readiness,
        own=templates.list_templates(request.dbsession, request.account.id),
        ready=ready_templates(request.context.campaign.locale),
        written=is_written(request.context.campaign),
    )


@view_config(route_name="campaign.template", request_method="POST")
def start_from(request: Request) -> Response:
    """Start from a ready-made template (``ready=KIND``), an own one (``template=ID``), or an empty email."""
    campaign: Campaign = request.context.campaign
    written = is_written(campaign)
    replacing.replace_email(request.dbsession, campaign, _beginning(request, campaign), utcnow())
    if written:
        request.flash(_("Email replaced. You can restore the previous version."))
    return HTTPSeeOther(step_url(request, "email"))


@view_config(route_name="campaign.earlier", request_method="POST")
def bring_back(request: Request) -> Response:
    """Restore the email that a template or a file replaced."""
    try:
        replacing.bring_back(request.dbsession, request.context.campaign, utcnow())
    except Conflict as error:
        request.flash(error.message, "wait")
    else:
        request.flash(_("Previous version restored."))
    return HTTPSeeOther(step_url(request, "email"))


@view_config(route_name="campaign.upload", request_method="POST")
def upload(request: Request) -> Response:
    """Replace the email with the HTML of a file."""
    html = read_email_file(request.POST.get("file"))
    changes = {"html": html, "text": ""}
    written = is_written(request.context.campaign)
    replacing.replace_email(request.dbsession, request.context.campaign, changes, utcnow())
    if written:
        request.flash(_("File uploaded. You can restore the previous version."))
    else:
        request.flash(_("File uploaded."))
    return HTTPSeeOther(step_url(request, "email"))


def _posted_variables(request: Request) -> dict[str, Any]:
    """Parse the rows of the variables' table: name, value, and mode. Rows without a name are ignored."""
    rows = zip(
        request.POST.getall("variable"),
        request.POST.getall("value"),
        request.POST.getall("mode"),
        strict=False,
    )
    kept: dict[str, Any] = {}
    for name, value, mode in rows:
        name = name.strip()
        if name and (value.strip() or mode == "replace" or name in request.context.campaign.variables):
            kept[name] = {"value": value.strip(), "override": mode == "replace"}
    for name in request.POST.getall("forget"):
        kept.pop(name, None)
    return kept


def _beginning(request: Request, campaign: Campaign) -> dict[str, Any]:
    kind = request.POST.get("ready")
    if kind:
        ready = ready_template(kind, campaign.locale)
        parts = {"subject": ready.subject, "preheader": ready.preheader, "html": ready.html, "text": ""}
    elif template_id := number_of(request.POST.get("template")):
        template = owned(request.dbsession, Template, campaign.account_id, template_id)
        return {"template_id": template_id, **parts_of(template)}  # may be the current one
    else:
        return {"html": BLANK, "text": ""}
    if campaign.name or campaign.subject:
        return parts
    return parts | {"name": ready.name}


BLANK = """\
<!doctype html>
<html>
<body style="margin: 0; padding: 24px; font: 16px/1.5 sans-serif">
<div style="max-width: 600px; margin: 0 auto">

<p>{{ first_name|default("") }}</p>

</div>
</body>
</html>
"""
