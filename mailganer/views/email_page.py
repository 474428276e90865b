"""The page of a campaign's email: the saved email, its preview, its variables and problems."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from pyramid.request import Request

from mailganer import campaigns, rendering
from mailganer.audience.fields import known_fields
from mailganer.audience.recipients import audience_of
from mailganer.campaigns import EmailState, Readiness, VariableUse, replacing
from mailganer.campaigns.check import AnalysedEmail, EmailFindings, email_key
from mailganer.campaigns.counts import campaign_counts
from mailganer.campaigns.drafts import EDITABLE
from mailganer.campaigns.frozen_emails import compile_of, parts_of
from mailganer.campaigns.preview import (
    hardest_recipient,
    previous_recipient,
    recipient_page,
    sample_recipient,
)
from mailganer.campaigns.values import Variable, variables
from mailganer.campaigns.variables import VariableOrigin, variable_uses
from mailganer.db import utcnow, without_transaction
from mailganer.errors import EmailError
from mailganer.models import Campaign, CampaignStatus, Subscriber
from mailganer.web.routes import CampaignContext

from .forms import number_of
from .stepper import campaign_page, readiness_with, steps_of_email


def saved_email_page(request: Request, problems: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the parts of the page that a save while typing changes, or the whole page without htmx."""
    if not request.headers.get("HX-Request"):
        return email_page(request, problems)
    request.override_renderer = "campaigns/email_saved.jinja2"
    email = _email(request, problems)
    if _is_counted(request, email):
        unusable, elsewhere = (request.POST.get(name, "").split() for name in ("unusable", "elsewhere"))
        readiness = Readiness(campaigns.blocking_codes(email["email"], unusable), tuple(elsewhere))
    else:
        email |= (counts := _counts(request, email))
        readiness = counts["readiness"]
    return email | {"email_steps": steps_of_email(request, readiness)}


def email_page(
    request: Request, problems: Mapping[str, str] | None = None, test_wrong: str = ""
) -> dict[str, Any]:
    campaign: Campaign = request.context.campaign
    session = request.dbsession
    email = _email(request, problems)
    counts = _counts(request, email)
    recipient, uses = email["recipient"], counts["uses"]
    return campaign_page(
        request,
        "email",
        editable="html" in EDITABLE[campaign.status],
        test_wrong=test_wrong,
        waiting=campaign_counts(session, [campaign.id])[campaign.id].waiting,
        own_variables=_variable_rows(campaign, uses),
        has_earlier=replacing.has_earlier(session, campaign),
        before=_neighbour(previous_recipient(session, campaign, recipient.id)) if recipient else None,
        after=_neighbour(sample_recipient(session, campaign, recipient.id)) if recipient else None,
        **email,
        **counts,
    )


def _email(request: Request, problems: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the saved email, and the email as one recipient gets it."""
    campaign: Campaign = request.context.campaign
    key = _key(request)
    compiled, email_error = _compiled(campaign, request.registry["settings"].public_url)
    recipient = recipient_of_preview(request)
    shown, email_error = _shown(request, recipient, compiled, email_error)
    analysis, unread = _analysis(request, shown)
    email_error = email_error or unread
    guarded = None if unread else analysis.guarded
    return {
        "campaign": campaign,
        "email": _state(
            request,
            recipient,
            EmailFindings(key, AnalysedEmail(compiled, email_error, shown=shown), guarded),
        ),
        "problems": problems or {},
        # A rejected save keeps the revision it was based on, so that the next one does not overwrite
        # another's.
        "revision": request.POST.get("revision", "") if problems else campaign.revision,
        "written": {name: request.POST.get(name, getattr(campaign, name)) for name in rendering.PARTS},
        "is_written": is_written(campaign),
        "compiled": compiled,
        "email_error": email_error,
        "recipient": recipient,
        "shown": shown,
        "preview_size": analysis.size,
        "guarded": analysis.guarded,
        "sender": next(iter(campaign.senders), None),
        "arrives_at": campaign.send_at or utcnow(),
    }


def _counts(request: Request, email: Mapping[str, Any]) -> dict[str, Any]:
    """Return the uses of the variables, counted over all recipients, and the problems of all steps."""
    compiled: rendering.CompiledEmail | None = email["compiled"]
    campaign, session = request.context.campaign, request.dbsession
    audience = audience_of(session, campaign)
    names = compiled.variables if compiled else ()
    uses = variable_uses(session, campaign, names, audience, email["guarded"])
    unusable = [use.name for use in uses if use.unusable]
    readiness = readiness_with(request, email["email"], audience, unusable)
    return {
        "audience": audience,
        "uses": [use for use in uses if use.origin is not VariableOrigin.mailganer],
        "unusable": unusable,
        "readiness": readiness,
        "known": [each.name for each in known_fields(session, campaign.account_id)],
        "counted": _fingerprint(campaign, email),
    }


def _is_counted(request: Request, email: Mapping[str, Any]) -> bool:
    """Return whether the page shows the current counts. A broken email is not counted while typing."""
    unfinished = email["compiled"] is None and email["email_error"] is not None
    return unfinished or request.POST.get("counted") == _fingerprint(request.context.campaign, email)


def _fingerprint(campaign: Campaign, email: Mapping[str, Any]) -> str:
    """Return a hash of everything that the counts depend on, except the subscribers."""
    compiled: rendering.CompiledEmail | None = email["compiled"]
    own = [(each.name, bool(each.value.strip()), each.override) for each in variables(campaign.variables)]
    lists = sorted(each.id for each in campaign.lists)
    named = sorted(compiled.variables) if compiled else []
    seen = repr((named, sorted(email["guarded"]), sorted(own), lists))
    return sha256(seen.encode()).hexdigest()[:16]


def _compiled(campaign: Campaign, ours: str) -> tuple[rendering.CompiledEmail | None, EmailError | None]:
    if not is_written(campaign):
        return None, None
    try:
        return compile_of(campaign, ours), None
    except EmailError as error:
        return None, error


def _shown(
    request: Request,
    recipient: Subscriber | None,
    compiled: rendering.CompiledEmail | None,
    email_error: EmailError | None,
) -> tuple[rendering.Rendered | None, EmailError | None]:
    if compiled is None:
        return None, email_error
    try:
        campaign, session = request.context.campaign, request.dbsession
        return campaigns.preview(session, campaign, recipient, now=utcnow(), email=compiled), None
    except EmailError as error:
        return None, error


def _analysis(
    request: Request, shown: rendering.Rendered | None
) -> tuple[rendering.PageAnalysis, EmailError | None]:
    campaign: Campaign = request.context.campaign
    if not is_written(campaign):
        return rendering.PageAnalysis("small"), None
    parts, html = parts_of(campaign), shown.html if shown else ""
    try:
        work = rendering.for_account(campaign.account_id, lambda: rendering.analyse_for_page(parts, html))
        return without_transaction(request.dbsession, work), None
    except EmailError as error:
        return rendering.PageAnalysis(), error


def _key(request: Request) -> str:
    """Return what identifies the draft's email as it is now, before it is compiled."""
    campaign: Campaign = request.context.campaign
    if campaign.status is not CampaignStatus.draft:
        return ""
    ours = request.registry["settings"].public_url
    return email_key(request.dbsession, campaign, ours=ours, now=utcnow())


def _state(request: Request, recipient: Subscriber | None, seen: EmailFindings) -> EmailState | None:
    """Return what the steps of a draft show of its email, which was ``seen`` as ``recipient`` gets it."""
    campaign, session = request.context.campaign, request.dbsession
    if campaign.status is not CampaignStatus.draft:
        return None
    email = seen.email
    if email.compiled is not None and _neighbour(recipient) != _neighbour(
        sample_recipient(session, campaign)
    ):
        seen = replace(seen, email=AnalysedEmail(email.compiled))  # the steps are about the first recipient
    ours = request.registry["settings"].public_url
    return campaigns.email_state(session, campaign, ours=ours, now=utcnow(), seen=seen)


def is_written(campaign: Campaign) -> bool:
    """Return whether the email has HTML or text."""
    return bool(campaign.html.strip() or campaign.text.strip())


def _variable_rows(campaign: Campaign, uses: Sequence[VariableUse]) -> list[Variable]:
    """Return the campaign's variables, then those of the email with gaps, to be filled in here."""
    rows = list(variables(campaign.variables))
    named = {row.name for row in rows}
    gaps = [
        use for use in uses if (use.bare or not use.known) and use.name not in named and "." not in use.name
    ]
    return rows + [Variable(use.name, "", False) for use in gaps]


def recipient_of_preview(request: Request) -> Subscriber | None:
    """Return the recipient of the preview: ``as=ID``, ``as=hardest``, else the first."""
    context: CampaignContext = request.context
    wish = request.params.get("as", "")
    if wish == "hardest":
        return hardest_recipient(request.dbsession, context.campaign)
    number = number_of(wish)
    named = recipient_page(request.dbsession, context.campaign, number) if number else None
    return named or sample_recipient(request.dbsession, context.campaign)


def _neighbour(recipient: Subscriber | None) -> int | None:
    return recipient.id if recipient else None


def recipient_query(request: Request) -> dict[str, str]:
    wish = request.params.get("as", "")
    return {"as": wish} if number_of(wish) is not None else {}
