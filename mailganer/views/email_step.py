"""Email step of a campaign: editing, templates and files, preview, test email."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from markupsafe import escape
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import campaigns, rendering
from mailganer.audience.fields import known_fields
from mailganer.audience.recipients import audience_of
from mailganer.backends import Outcome, Receipt
from mailganer.campaigns import EmailState, Readiness, VariableUse, replacing, templates
from mailganer.campaigns.check import AnalysedEmail, EmailFindings, email_key
from mailganer.campaigns.counts import campaign_counts
from mailganer.campaigns.drafts import EDITABLE
from mailganer.campaigns.frozen_emails import compile_of, parts_of
from mailganer.campaigns.preview import hardest_reader, previous_recipient, recipient_page, sample_recipient
from mailganer.campaigns.test_email import PreparedTest
from mailganer.campaigns.values import Variable, variables
from mailganer.campaigns.variables import VariableOrigin, variable_uses
from mailganer.db import utcnow, without_transaction
from mailganer.errors import (
    BackendError,
    Busy,
    Conflict,
    EmailError,
    FileRefused,
    InputError,
    LimitReached,
    SecretUnreadable,
    _,
)
from mailganer.i18n.ready_templates import ready_template, ready_templates
from mailganer.i18n.sentences import reply_beside
from mailganer.models import Campaign, CampaignStatus, Subscriber, Template, owned
from mailganer.web import ask_outside, email_response, has_waited, in_time
from mailganer.web.routes import CampaignContext

from ..web.decorators import view_config
from ..web.error_status import status_of
from .forms import number_of
from .stepper import campaign_page, next_step, readiness_of, readiness_with, step_url, steps_of_email

LARGEST_FILE = 1_000_000  # bytes of an uploaded email, the same limit as for a written one
LONGEST_TO = 500  # characters of addresses for a test email that are kept in a URL


@view_config(route_name="campaign.email", request_method="GET", renderer="campaigns/email.jinja2")
def email(request: Request) -> dict[str, Any]:
    return _page(request)


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
        return _answer(request, problems=error.fields)
    except Conflict as error:
        request.response.status_int = 409
        return _answer(request, problems={"": error.message})
    if request.headers.get("HX-Request"):
        return _answer(request)
    if "go" in request.POST and campaign.status is CampaignStatus.draft:
        return HTTPSeeOther(next_step(request, "email"))
    return HTTPSeeOther(request.route_path("campaign.email", id=campaign.id, _query=_reader_query(request)))


@view_config(route_name="campaign.frame", request_method="GET")
def frame(request: Request) -> Response:
    """Render the email for one recipient as a page for its frame."""
    campaign: Campaign = request.context.campaign
    if not _is_written(campaign):
        return email_response(request, _note(request.translate(_("The email is empty so far."))))
    try:
        ours = request.registry["settings"].public_url
        shown = campaigns.preview(request.dbsession, campaign, _recipient(request), now=utcnow(), ours=ours)
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
        written=_is_written(request.context.campaign),
    )


@view_config(route_name="campaign.template", request_method="POST")
def start_from(request: Request) -> Response:
    """Start from a ready-made template (``ready=KIND``), an own one (``template=ID``), or an empty email."""
    campaign: Campaign = request.context.campaign
    written = _is_written(campaign)
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
    written = _is_written(request.context.campaign)
    replacing.replace_email(request.dbsession, request.context.campaign, changes, utcnow())
    if written:
        request.flash(_("File uploaded. You can restore the previous version."))
    else:
        request.flash(_("File uploaded."))
    return HTTPSeeOther(step_url(request, "email"))


@view_config(route_name="campaign.test", request_method="POST", renderer="campaigns/email.jinja2")
def test_email(request: Request) -> Any:
    """Send a test email through the real sender. An invalid address is reported at its field."""
    campaign: Campaign = request.context.campaign
    # Browsers keep "#test" of the form's URL: the result is shown there, beside the button.
    back = request.route_path(
        "campaign.email", id=campaign.id, _query=_reader_query(request) | _typed(request)
    )
    try:
        # The quota is used and the emails are rendered once, before the mail server is called.
        prepared = None if has_waited(request) else _prepared_test(request)
    except InputError as error:
        request.response.status_int = 422
        return _page(request, test_wrong=error.fields["to"])
    except (Conflict, EmailError, LimitReached, SecretUnreadable) as error:
        request.flash(error.message, "bad", "test")
        return HTTPSeeOther(back)
    try:
        receipts, recipients = ask_outside(request, _sending(request, prepared))
    except BackendError as error:
        request.flash(_said(error.message, reply_beside(error)), "bad", "test")
        return HTTPSeeOther(back)
    _tell(request, receipts, recipients)
    return HTTPSeeOther(back)


def _prepared_test(request: Request) -> PreparedTest:
    to = request.POST.get("to", "").replace(";", ",").split(",")
    return campaigns.prepare_test(
        request.dbsession,
        request.context.campaign,
        [address for address in to if address.strip()],
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        vault=request.registry["vault"],
        now=utcnow(),
        recipient=_recipient(request),
    )


def _sending(
    request: Request, prepared: PreparedTest | None
) -> Callable[[], tuple[tuple[Receipt, ...], int]]:
    """Return the call that sends the test emails; one that was waited for is not repeated."""
    if prepared is None:
        return lambda: ((), 0)
    return in_time(request, prepared.backend, lambda: (prepared.send(), len(prepared.messages)))


def read_email_file(posted: Any) -> str:
    """Return the text of an uploaded HTML file. Raise ``FileRefused``."""
    if posted is None or not hasattr(posted, "file"):
        raise FileRefused(_("Choose an HTML file first."))
    with posted.file:
        content = posted.file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise FileRefused(_("This file is larger than 1 MB. Link images instead of embedding them."))
    if not content.strip():
        raise FileRefused(_("This file is empty."))
    if _is_no_text(content):
        raise FileRefused(_("This is not a text file. Save the email as HTML and choose that file."))
    return _decoded(content)


def _is_no_text(content: bytes) -> bool:
    """Return whether it is an archive, a PDF, an old Word file, or has zero bytes without being UTF-16."""
    if content.startswith((b"PK\x03\x04", b"%PDF", b"\xd0\xcf\x11\xe0")):
        return True
    return b"\x00" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff"))


def _decoded(content: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1251."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1251", "replace")


# --- page


def _answer(request: Request, problems: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the parts of the page that a save while typing changes, or the whole page without htmx."""
    if not request.headers.get("HX-Request"):
        return _page(request, problems)
    request.override_renderer = "campaigns/email_saved.jinja2"
    email = _email(request, problems)
    if _is_counted(request, email):
        unusable, elsewhere = (request.POST.get(name, "").split() for name in ("unusable", "elsewhere"))
        readiness = Readiness(campaigns.blocking_codes(email["email"], unusable), tuple(elsewhere))
    else:
        email |= (counts := _counts(request, email))
        readiness = counts["readiness"]
    return email | {"email_steps": steps_of_email(request, readiness)}


def _page(
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
    compiled, letter_error = _compiled(campaign, request.registry["settings"].public_url)
    recipient = _recipient(request)
    shown, letter_error = _shown(request, recipient, compiled, letter_error)
    analysis, unread = _analysis(request, shown)
    letter_error = letter_error or unread
    guarded = None if unread else analysis.guarded
    return {
        "campaign": campaign,
        "email": _state(
            request,
            recipient,
            EmailFindings(key, AnalysedEmail(compiled, letter_error, shown=shown), guarded),
        ),
        "problems": problems or {},
        # A rejected save keeps the revision it was based on, so that the next one does not overwrite
        # another's.
        "revision": request.POST.get("revision", "") if problems else campaign.revision,
        "written": {name: request.POST.get(name, getattr(campaign, name)) for name in rendering.PARTS},
        "is_written": _is_written(campaign),
        "compiled": compiled,
        "letter_error": letter_error,
        "recipient": recipient,
        "shown": shown,
        "preview_size": analysis.size,
        "guarded": analysis.guarded,
        "sender": next(iter(campaign.senders), None),
        "arrives_at": campaign.send_at or utcnow(),
    }


def _counts(request: Request, email: Mapping[str, Any]) -> dict[str, Any]:
    """The email's variables, counted over all recipients, which may be a million. Beside them
    the problems of the other steps."""
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
    unfinished = email["compiled"] is None and email["letter_error"] is not None
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
    if not _is_written(campaign):
        return None, None
    try:
        return compile_of(campaign, ours), None
    except EmailError as error:
        return None, error


def _shown(
    request: Request,
    recipient: Subscriber | None,
    compiled: rendering.CompiledEmail | None,
    letter_error: EmailError | None,
) -> tuple[rendering.Rendered | None, EmailError | None]:
    if compiled is None:
        return None, letter_error
    try:
        campaign, session = request.context.campaign, request.dbsession
        return campaigns.preview(session, campaign, recipient, now=utcnow(), email=compiled), None
    except EmailError as error:
        return None, error


def _analysis(
    request: Request, shown: rendering.Rendered | None
) -> tuple[rendering.PageAnalysis, EmailError | None]:
    campaign: Campaign = request.context.campaign
    if not _is_written(campaign):
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


def _is_written(campaign: Campaign) -> bool:
    return bool(campaign.html.strip() or campaign.text.strip())


def _variable_rows(campaign: Campaign, uses: Sequence[VariableUse]) -> list[Variable]:
    """Return the campaign's variables, then those of the email with gaps, to be filled in here."""
    rows = list(variables(campaign.variables))
    named = {row.name for row in rows}
    gaps = [
        use for use in uses if (use.bare or not use.known) and use.name not in named and "." not in use.name
    ]
    return rows + [Variable(use.name, "", False) for use in gaps]


def _recipient(request: Request) -> Subscriber | None:
    """Return the recipient of the preview: ``as=ID``, ``as=hardest``, else the first."""
    context: CampaignContext = request.context
    wish = request.params.get("as", "")
    if wish == "hardest":
        return hardest_reader(request.dbsession, context.campaign)
    number = number_of(wish)
    named = recipient_page(request.dbsession, context.campaign, number) if number else None
    return named or sample_recipient(request.dbsession, context.campaign)


def _neighbour(recipient: Subscriber | None) -> int | None:
    return recipient.id if recipient else None


def _reader_query(request: Request) -> dict[str, str]:
    wish = request.params.get("as", "")
    return {"as": wish} if number_of(wish) is not None else {}


def _typed(request: Request) -> dict[str, str]:
    """Return the address of a test email, if not the user's own, for the redirect."""
    to = request.POST.get("to", "").strip()[:LONGEST_TO]
    return {"to": to} if to and to != request.viewer.email else {}


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


# --- messages


def broken_email(request: Request, error: EmailError) -> str:
    """Return a page for the frame of an email that cannot be rendered."""
    line = _("Line ${line}.", mapping={"line": error.line}) if error.line else ""
    words = [
        request.translate(_("This email cannot be previewed yet.")),
        request.translate(error.message),
        request.translate(line),
    ]
    return _note(" ".join(word for word in words if word))


def busy_email(request: Request, error: Busy) -> Response:
    """Return a page for the frame of an email that has to wait: other pages may not be framed."""
    response = email_response(request, _note(request.translate(error.message)))
    response.status_int = status_of(error)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _note(text: str) -> str:
    return (
        '<meta name="color-scheme" content="light dark">'
        f'<body style="margin:32px;font:24px/1.5 sans-serif;opacity:.8">{escape(text)}'
    )


def _said(sentence: str, reply: str) -> str:
    if not reply or reply in str(sentence):
        return sentence
    return _("${sentence} Server reply: ${reply}", mapping={"sentence": sentence, "reply": reply})


def _tell(request: Request, receipts: tuple[Receipt, ...], recipients: int) -> None:
    refused = [receipt for receipt in receipts if receipt.outcome is not Outcome.accepted]
    if not refused and len(receipts) == recipients:
        message = _("Test email sent. Check the inbox and the spam folder.")
        request.flash(message, place="test")
        return
    reply = next((receipt.reply for receipt in refused if receipt.reply), "")
    request.flash(_said(_("The test email was not accepted."), reply), "bad", "test")
