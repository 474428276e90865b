"""Sender pages: the mail accounts with their status and daily usage."""

from dataclasses import dataclass
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from wtforms import StringField
from wtforms.validators import Length, NumberRange, Optional

from mailganer import accounts, web
from mailganer.backends import Backend
from mailganer.db import utcnow
from mailganer.errors import BackendError, Conflict, InputError, Throttled, _
from mailganer.models import Sender, owned
from mailganer.quota.plan_and_sender_usage import QuotaUsage, sender_quota

from ..web.decorators import view_config
from .forms import Form, WholeNumberField, with_errors
from .mail_account import account_form, account_page, is_about_server, refused, way_of


class SenderForm(Form):
    from_name = StringField(
        _("From name"),
        [Optional(), Length(max=200)],
        description=_("Shown next to the address in the inbox: your name or your company's name."),
        render_kw={"autocomplete": "organization"},
    )
    name = StringField(
        _("Internal name"),
        [Optional(), Length(max=200)],
        description=_("Visible only to you."),
        render_kw={"autocomplete": "off"},
    )
    per_day = WholeNumberField(
        _("Emails per 24 hours"),
        [Optional(), NumberRange(1, 10_000_000)],
        description=_("Leave empty to use the provider's known limit."),
        render_kw={"inputmode": "numeric"},
    )


@dataclass(frozen=True)
class SenderRow:
    """A sender with its daily usage, for the list."""

    sender: Sender
    title: str
    quota: QuotaUsage


@view_config(route_name="senders", renderer="senders.jinja2")
def senders(request: Request) -> dict[str, Any]:
    rows = accounts.account_senders(request.dbsession, request.context.account.id)
    return {"lines": [_line(request, row) for row in rows]}


@view_config(route_name="senders.new", request_method="GET", renderer="sender_new.jinja2")
def ask(request: Request) -> dict[str, Any]:
    return _new_page(request)


@view_config(route_name="senders.new", request_method="POST", renderer="sender_new.jinja2")
def add(request: Request) -> Any:
    page = _new_page(request)
    form, names = page["form"], page["names"]
    if form is None or not names.validate():
        return with_errors(request, page)
    registry, account_id = request.registry["backends"], request.context.account.id
    try:
        proven = registry.open(page["way"].name, page["email"], form.values())
        proven = web.verify_account(request, proven)
        sender = accounts.create_sender(
            request.dbsession,
            registry,
            request.registry["vault"],
            account_id,
            backend=proven.name,
            email=proven.email,
            fields={},
            now=utcnow(),
            proven=proven,
            **names.texts("name", "from_name"),
        )
    except (InputError, Conflict, Throttled, BackendError) as error:
        return refused(request, page, error)
    request.flash(_("${email} is connected.", mapping={"email": sender.from_email}))
    return HTTPSeeOther(request.route_path("senders"))


@view_config(route_name="sender", request_method="GET", renderer="sender.jinja2")
def sender(request: Request) -> dict[str, Any]:
    return _page(request, request.context.sender)


@view_config(route_name="sender", request_method="POST", renderer="sender.jinja2")
def change(request: Request) -> Any:
    """Save names and the daily limit: fields that need no call to the mail server."""
    row = request.context.sender
    page = _page(request, row)
    names = page["names"]
    if not names.validate():
        return with_errors(request, page)
    session, vault = request.dbsession, request.registry["vault"]
    try:
        accounts.update_sender(session, vault, row, now=utcnow(), **names.texts("name", "from_name"))
        accounts.limit_sender(row, per_day=names.per_day.data)
    except InputError as error:
        names.take(error)
        return with_errors(request, page)
    request.flash(_("Saved."))
    return HTTPSeeOther(request.route_path("sender", id=row.id))


@view_config(route_name="sender.verify", request_method="POST", renderer="sender.jinja2")
def verify(request: Request) -> Any:
    """Verify the sender again, with the settings of the form if there are any."""
    row = request.context.sender
    page = _page(request, row)
    vault = request.registry["vault"]
    try:
        proven = accounts.changed_backend(row, request.registry["backends"], vault, page["form"].values())
        proven = web.verify_account(request, proven)
    except InputError as error:
        page["form"].take(error)
        return with_errors(request, page)
    except Throttled as error:
        return refused(request, page, error)
    except BackendError as error:
        return _failing(request, page, error)
    row = owned(request.dbsession, Sender, row.account_id, row.id, lock=True)
    changed = accounts.update_sender(request.dbsession, vault, row, now=utcnow(), proven=proven)
    request.flash(_("${email} is connected.", mapping={"email": row.from_email}))
    if changed:
        web.end_other_access(request, row.account_id)
        request.flash(
            _(
                "Because you sign in with this password, all other sessions were ended and all API "
                "tokens were revoked."
            ),
            "news",
        )
    return HTTPSeeOther(request.route_path("sender", id=row.id))


@view_config(route_name="sender.delete", request_method="POST")
def delete(request: Request) -> Response:
    row = request.context.sender
    accounts.delete_sender(request.dbsession, row, now=utcnow())
    registry = request.registry["backends"]
    has_password = "password" in registry.get(row.backend).Settings.model_fields
    words = _("${email} was removed and its password deleted.")
    if not has_password:
        words = _("${email} was removed.")
    request.flash(words % {"email": row.from_email})
    return HTTPSeeOther(request.route_path("senders"))


def quota_of(request: Request, row: Sender) -> QuotaUsage:
    """Return what a sender may still send in these 24 hours."""
    limit = accounts.day_limit(row, request.registry["backends"])
    return sender_quota(request.dbsession, row.id, limit, utcnow())


def _line(request: Request, row: Sender) -> SenderRow:
    registry = request.registry["backends"]
    title = registry.get(row.backend).title if row.backend in registry.names else row.backend
    return SenderRow(row, title, quota_of(request, row))


def _page(request: Request, row: Sender) -> dict[str, Any]:
    registry = request.registry["backends"]
    kind: type[Backend] = registry.get(row.backend)
    verifying = request.matched_route.name == "sender.verify"
    given = "csrf_token" in request.POST and len(request.POST) > 1
    return {
        "line": _line(request, row),
        "way": way_of(kind, row.from_email),
        "names": SenderForm(
            None if verifying or request.method != "POST" else request.POST,
            obj=row,
            meta={"locales": [request.locale_name]},
        ),
        "form": account_form(kind, request, row.settings, keep=True, posted=verifying and given),
        "refusal": None,
        "open_server": False,
    }


def _new_page(request: Request) -> dict[str, Any]:
    return account_page(request) | {"names": SenderForm.of(request)}


def _failing(request: Request, page: dict[str, Any], error: BackendError) -> dict[str, Any]:
    """Store why the sender fails. The status is 200, because an error status would roll that back."""
    row = page["line"].sender
    row = owned(request.dbsession, Sender, row.account_id, row.id, lock=True)
    accounts.mark_failing(request.dbsession, row, error, now=utcnow())
    return page | {
        "line": _line(request, row),
        "refusal": error,
        "open_server": is_about_server(error),
    }
