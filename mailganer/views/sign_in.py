"""Sign-in, sign-out, and the language and theme menu."""

from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import web
from mailganer.accounts import SignIn, update_account
from mailganer.audience import add_sample_subscribers
from mailganer.db import utcnow
from mailganer.errors import BackendError, InputError, MailganerError, NotFound, Throttled, _
from mailganer.i18n.languages import is_language
from mailganer.settings import DEMO_ADDRESS
from mailganer.web import PUBLIC, local_path
from mailganer.web.localization import remember_choice

from ..web.decorators import view_config
from .forms import with_errors
from .mail_account import AccountForm, account_page, is_about_password, refused

THEMES = frozenset({"light", "dark", "auto"})


@view_config(route_name="home", renderer="home.jinja2", permission=PUBLIC)
def home(request: Request) -> Any:
    """Show the start page, or redirect a signed-in user to the campaigns."""
    if request.account is not None:
        return HTTPSeeOther(request.route_path("campaigns"))
    _remember_language(request)
    return {"demo": request.registry["settings"].demo}


@view_config(route_name="sign_in", request_method="GET", renderer="sign_in.jinja2", permission=PUBLIC)
def ask(request: Request) -> Any:
    """Ask for the address, or for the settings of its mail account."""
    if request.account is not None:
        return HTTPSeeOther(_next(request))
    _remember_language(request)
    return _page(request)


@view_config(route_name="sign_in", request_method="POST", renderer="sign_in.jinja2", permission=PUBLIC)
def sign_in(request: Request) -> Any:
    page = _page(request)
    form: AccountForm | None = page["form"]
    if form is None:
        return with_errors(request, page)
    try:
        timezone = request.POST.get("timezone", "")[:64]
        opened = web.sign_in(request, page["way"].name, page["email"], form.values(), timezone)
    except (InputError, Throttled, BackendError) as error:
        return _refused(request, page, error)
    return _enter(request, opened)


@view_config(route_name="sign_in.demo", request_method="POST", permission=PUBLIC)
def demo(request: Request) -> Response:
    """Sign in to the demo account on the local mail catcher, which accepts any password. Demo mode only."""
    settings = request.registry["settings"]
    if not settings.demo:
        raise NotFound
    host, _colon, port = settings.catcher.rpartition(":")
    fields = {"host": host, "port": int(port), "security": "none", "password": "demo"}
    timezone = request.POST.get("timezone", "")[:64]
    opened = web.sign_in(request, "smtp", DEMO_ADDRESS, fields, timezone)
    if opened.created:
        locale = opened.account.locale
        add_sample_subscribers(
            request.dbsession, opened.account, locale=locale, now=utcnow(), settings=settings
        )
    return _enter(request, opened)


@view_config(route_name="sign_out", request_method="POST", permission=PUBLIC)
def sign_out(request: Request) -> Response:
    web.sign_out_session(request)
    return HTTPSeeOther(request.route_path("home"))


@view_config(route_name="display_settings", request_method="POST", permission=PUBLIC)
def save_display_settings(request: Request) -> Response:
    """Save language and theme from the account menu."""
    locale, theme = request.POST.get("locale"), request.POST.get("theme")
    if is_language(locale):
        remember_choice(request, "locale", locale)
        if request.account is not None:
            update_account(request.account, locale=locale)
    if theme in THEMES:
        remember_choice(request, "theme", "" if theme == "auto" else theme)
    back = local_path(request.POST.get("back"), request.route_path("home"))
    return HTTPSeeOther(back, headers=request.response.headers)


def _remember_language(request: Request) -> None:
    """Keep the language that was chosen on this page for the next one, and for an account made there."""
    if is_language(chosen := request.GET.get("lang")):
        remember_choice(request, "locale", chosen)


def _page(request: Request) -> dict[str, Any]:
    """Return the page: a wrong or missing address is asked for again."""
    return account_page(request) | {
        "next": local_path(request.params.get("next"), ""),
        "hint": True,
        "demo": request.registry["settings"].demo,
    }


def _refused(request: Request, page: dict[str, Any], error: MailganerError) -> dict[str, Any]:
    return refused(request, page, error) | {"hint": is_about_password(error)}


def _enter(request: Request, opened: SignIn) -> Response:
    web.sign_in_session(request, opened.account)
    if opened.created:
        request.flash(_("Welcome! ${email} is connected.", mapping={"email": opened.sender.from_email}))
    return HTTPSeeOther(_next(request))


def _next(request: Request) -> str:
    return local_path(request.params.get("next"), request.route_path("campaigns"))
