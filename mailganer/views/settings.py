"""Settings page: language, time zone, postal address, API tokens, sessions."""

from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from wtforms import SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import Length, Optional

from mailganer import accounts, web
from mailganer.db import utcnow
from mailganer.errors import InputError, _
from mailganer.i18n.languages import language_names
from mailganer.i18n.time_zones import check_time_zone, time_zone_choices, time_zone_name
from mailganer.web.localization import remember_choice

from ..web.decorators import view_config
from .forms import Form, choices


class AccountSettings(Form):
    locale = SelectField(_("Language"), choices=lambda: choices(language_names()))
    timezone = SelectField(
        _("Time zone"), description=_("Used for all times on the pages and for scheduled campaigns.")
    )
    postal_address = TextAreaField(
        _("Postal address"),
        [Optional(), Length(max=500)],
        description=_("Added to the end of every email. Some countries require it by law."),
        render_kw={"rows": "3", "autocomplete": "street-address"},
    )


class TokenForm(Form):
    name = StringField(
        _("Token name"),
        [Length(min=1, max=200, message=_("Enter a token name of at most 200 characters."))],
        render_kw={"autocomplete": "off", "placeholder": "CRM"},
    )


@view_config(route_name="settings", request_method="GET", renderer="settings.jinja2")
def settings(request: Request) -> dict[str, Any]:
    return _page(request)


@view_config(route_name="settings", request_method="POST", renderer="settings.jinja2")
def save(request: Request) -> Any:
    form = _account_form(request, posted=True)
    if not form.validate():
        return _page(request, form=form)
    timezone = form.attempt(lambda: check_time_zone(form.timezone.data))
    if timezone is None:
        return _page(request, form=form)
    accounts.update_account(
        request.context.account, timezone=timezone, **form.texts("locale", "postal_address")
    )
    remember_choice(request, "locale", form.locale.data)
    request.locale_name = form.locale.data
    request.flash(_("Saved."))
    return HTTPSeeOther(request.route_path("settings"), headers=request.response.headers)


@view_config(route_name="settings.tokens", request_method="POST", renderer="settings.jinja2")
def create_token(request: Request) -> dict[str, Any]:
    """Show the new token. No redirect, because this is the only response that contains it."""
    form = TokenForm.of(request)
    if not form.validate():
        return _page(request, token_form=form)
    account = request.context.account
    try:
        token, _row = accounts.create_api_token(request.dbsession, account, name=form.name.data, now=utcnow())
    except InputError as error:
        form.take(error)
        return _page(request, token_form=form)
    return _page(request, token=token)


@view_config(route_name="settings.token_delete", request_method="POST")
def delete_token(request: Request) -> Response:
    context = request.context
    accounts.delete_api_token(request.dbsession, context.account.id, context.token.id)
    request.flash(_("Token “${name}” revoked.", mapping={"name": context.token.name}))
    return HTTPSeeOther(request.route_path("settings"))


@view_config(route_name="settings.log_out_everywhere", request_method="POST")
def log_out_everywhere(request: Request) -> Response:
    accounts.log_out_everywhere(request.dbsession, request.context.account)
    web.sign_out_session(request)
    return HTTPSeeOther(request.route_path("sign_in"))


@view_config(route_name="settings.close", request_method="POST")
def close(request: Request) -> Response:
    accounts.close_account(request.dbsession, request.context.account, now=utcnow())
    web.sign_out_session(request)
    return HTTPSeeOther(request.route_path("home"))


def _page(
    request: Request,
    *,
    form: AccountSettings | None = None,
    token_form: TokenForm | None = None,
    token: str = "",
) -> dict[str, Any]:
    if (form and form.errors) or (token_form and token_form.errors):
        request.response.status_int = 422
    return {
        "form": form or _account_form(request, posted=False),
        "token_form": token_form or TokenForm(meta={"locales": [request.locale_name]}),
        "token": token,
        "tokens": accounts.account_tokens(request.dbsession, request.context.account.id),
    }


def _account_form(request: Request, *, posted: bool) -> AccountSettings:
    form = AccountSettings(
        request.POST if posted else None,
        obj=request.context.account,
        meta={"locales": [request.locale_name]},
    )
    form.timezone.choices = _zones(request, request.context.account.timezone)
    return form


def _zones(request: Request, current: str) -> list[SelectChoice]:
    """Return every time zone, and the current one if it is an old name not among them."""
    zones = time_zone_choices(request.locale_name, utcnow())
    known = any(name == current for name, _title in zones)
    return choices(zones if known else [(current, time_zone_name(current, request.locale_name)), *zones])
