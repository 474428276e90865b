"""Template pages: a gallery of own and ready-made templates."""

from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from mailganer import campaigns, rendering
from mailganer.accounts import account_senders
from mailganer.audience.headings import other_values
from mailganer.campaigns import templates
from mailganer.campaigns.draft_fields import LONGEST_NAME
from mailganer.campaigns.frozen_emails import source_of
from mailganer.db import utcnow, without_transaction
from mailganer.errors import Busy, EmailError, _
from mailganer.i18n.footer_loader import footer_texts
from mailganer.i18n.languages import language_of
from mailganer.i18n.ready_templates import ready_template, ready_templates
from mailganer.i18n.sample_data import preview_subscriber
from mailganer.models import Account, Campaign, Template, owned
from mailganer.web import email_response

from ..web.decorators import view_config
from .email_files import read_email_file
from .email_step import BLANK
from .forms import Form, number_of
from .preview_errors import broken_email, busy_email


class TemplateForm(Form):
    name = StringField(
        _("Name"), [InputRequired(_("Enter a name for the template.")), Length(max=LONGEST_NAME)]
    )
    subject = StringField(_("Subject"), [Optional()])
    preheader = StringField(
        _("Preheader"), [Optional()], description=_("Text shown next to the subject in the inbox.")
    )
    html = TextAreaField(_("HTML of the email"), [Optional()])
    text = TextAreaField(
        _("Text part"), [Optional()], description=_("If empty, it is generated from the HTML.")
    )


@view_config(route_name="templates", renderer="templates_gallery/list.jinja2")
def gallery(request: Request) -> dict[str, Any]:
    return {
        "own": templates.list_templates(request.dbsession, request.account.id),
        "ready": ready_templates(request.locale_name),
    }


@view_config(route_name="templates.new", request_method="GET", renderer="templates_gallery/edit.jinja2")
def new(request: Request) -> dict[str, Any]:
    """Show an empty form, or one filled from ``?ready=KIND``."""
    kind = request.GET.get("ready")
    if not kind:
        return _form_page(request, TemplateForm.of(request, html=BLANK))
    ready = ready_template(kind, request.locale_name)
    begin = {name: getattr(ready, name) for name in ("name", "subject", "preheader", "html")}
    return _form_page(request, TemplateForm.of(request, **begin))


@view_config(route_name="templates.new", request_method="POST", renderer="templates_gallery/edit.jinja2")
def create(request: Request) -> Any:
    """Create a template from the form, or from the email of the campaign given by ``campaign``."""
    campaign_id = number_of(request.POST.get("campaign"))
    if campaign_id is not None:
        campaign = owned(request.dbsession, Campaign, request.account.id, campaign_id)
        kept = templates.keep_as_template(request.dbsession, request.account, campaign, utcnow())
        request.flash(_("Saved as a template."))
        return HTTPSeeOther(request.route_path("template", id=kept.id))
    form = _posted(request)
    if not form.validate():
        return _wrong(request, form)
    made = form.attempt(
        lambda: templates.create_template(request.dbsession, request.account, now=utcnow(), **_values(form))
    )
    return HTTPSeeOther(request.route_path("template", id=made.id)) if made else _wrong(request, form)


@view_config(route_name="template", request_method="GET", renderer="templates_gallery/edit.jinja2")
def edit(request: Request) -> dict[str, Any]:
    template: Template = request.context.template
    return _form_page(request, TemplateForm.of(request, template), template)


@view_config(route_name="template", request_method="POST", renderer="templates_gallery/edit.jinja2")
def save(request: Request) -> Any:
    template: Template = request.context.template
    form = _posted(request)
    if not form.validate():
        return _wrong(request, form, template)
    saved = form.attempt(
        lambda: templates.update_template(request.dbsession, template, _values(form), utcnow())
    )
    if saved is None:
        return _wrong(request, form, template)
    request.flash(_("Template saved."))
    return HTTPSeeOther(request.route_path("template", id=template.id))


@view_config(route_name="template.duplicate", request_method="POST")
def duplicate(request: Request) -> Response:
    copy = templates.duplicate_template(request.dbsession, request.context.template, utcnow())
    request.flash(_("Template duplicated."))
    return HTTPSeeOther(request.route_path("template", id=copy.id))


@view_config(route_name="template.delete", request_method="POST")
def delete(request: Request) -> Response:
    templates.delete_template(request.dbsession, request.context.template)
    request.flash(_("Template deleted. Campaigns created from it were not changed."))
    return HTTPSeeOther(request.route_path("templates"))


@view_config(route_name="template.use", request_method="POST")
def use(request: Request) -> Response:
    """Create a campaign from this template."""
    draft = campaigns.create_draft(request.dbsession, request.account, utcnow())
    changes = {"template_id": request.context.template.id, "name": request.context.template.name}
    campaigns.update_draft(request.dbsession, draft, changes, utcnow())
    return HTTPSeeOther(request.route_path("campaign.target", id=draft.id))


@view_config(route_name="templates.ready", request_method="GET", renderer="templates_gallery/ready.jinja2")
def ready(request: Request) -> dict[str, Any]:
    return {"email": ready_template(request.matchdict["kind"], request.locale_name)}


@view_config(route_name="templates.ready", request_method="POST")
def use_ready(request: Request) -> Response:
    """Create a campaign from a ready-made template, in the language of the page."""
    email = ready_template(request.matchdict["kind"], request.locale_name)
    draft = campaigns.create_draft(request.dbsession, request.account, utcnow())
    parts = {name: getattr(email, name) for name in ("name", "subject", "preheader", "html")}
    campaigns.update_draft(request.dbsession, draft, parts | {"locale": request.locale_name}, utcnow())
    return HTTPSeeOther(request.route_path("campaign.target", id=draft.id))


@view_config(route_name="template.frame", request_method="GET")
def frame(request: Request) -> Response:
    template: Template = request.context.template
    return _shown(request, source_of(template), request.account.locale)


@view_config(route_name="templates.ready_frame", request_method="GET")
def ready_frame(request: Request) -> Response:
    locale = language_of(request.GET.get("locale", request.locale_name)).code
    email = ready_template(request.matchdict["kind"], locale)
    source = rendering.Source(subject=email.subject, preheader=email.preheader, html=email.html)
    return _shown(request, source, locale, is_own=False)


def _shown(request: Request, source: rendering.Source, locale: str, *, is_own: bool = True) -> Response:
    """Render the email with sample data. Ready-made ones, often many on a page, are not counted."""
    account: Account = request.account
    sample = preview_subscriber(locale)
    values: dict[str, object] = {
        **sample,
        "campaign": {"name": ""},
        "list": {"name": ""},
        "sender": {"name": _sender_name(request), "email": account.email},
        "today": utcnow().astimezone(request.timezone).date(),
    }

    def render() -> rendering.Rendered:
        email = rendering.compile_email(source)
        filled = values | other_values(sample, email.variables)
        return rendering.safe_render(email, filled, locale=locale, footer=footer_texts(locale))

    try:
        work = rendering.for_account(account.id, render) if is_own else render
        return email_response(request, without_transaction(request.dbsession, work).html)
    except EmailError as error:
        return email_response(request, broken_email(request, error))
    except Busy as error:
        return busy_email(request, error)


def _sender_name(request: Request) -> str:
    """Return the sender name a campaign would have: of the first sender, or the address."""
    names = [sender.from_name for sender in account_senders(request.dbsession, request.account.id)]
    return next(filter(None, names), request.account.email)


def _posted(request: Request) -> Form:
    """Return the form as posted; an uploaded file replaces its HTML."""
    form = TemplateForm.of(request)
    posted: Any = request.POST.get("file")
    if hasattr(posted, "filename") and posted.filename:
        form["html"].data = read_email_file(posted)
    return form


def _values(form: Form) -> dict[str, str]:
    return {name: form[name].data or "" for name in ("name", *rendering.PARTS)}


def _wrong(request: Request, form: Form, template: Template | None = None) -> dict[str, Any]:
    request.response.status_int = 422
    return _form_page(request, form, template)


def _form_page(request: Request, form: Form, template: Template | None = None) -> dict[str, Any]:
    problem: EmailError | None = None
    names: tuple[str, ...] = ()
    if template is not None:
        try:
            names = templates.variables_of(template)
        except EmailError as error:
            problem = error
    return {"form": form, "template": template, "email_error": problem, "names": names}
