"""Error pages: what happened, what is safe, what to do.

The domain raises, pages respond: every domain error has its status here, so views need not handle it. Raised
errors have changed nothing, because their transaction is aborted.
"""

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import structlog
from pyramid.exceptions import BadCSRFOrigin, BadCSRFToken, PredicateMismatch
from pyramid.httpexceptions import (
    HTTPException,
    HTTPRequestEntityTooLarge,
    HTTPSeeOther,
)
from pyramid.renderers import render_to_response
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy.orm.exc import ObjectDeletedError

from mailganer.db import DATABASE, OUT_OF_REACH, trouble_of
from mailganer.errors import (
    Busy,
    MailganerError,
    NoRoom,
    NotFound,
    Throttled,
    _,
    is_full,
)

from ..web.decorators import exception_view_config, forbidden_view_config, notfound_view_config
from ..web.error_status import RETRY_AFTER, status_of, without_database

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ErrorPage:
    """An error page: a title, a sentence or two, and one action."""

    title: str
    text: str
    action: str
    href: str
    reply: str = ""
    number: str = ""


@forbidden_view_config(renderer="error.jinja2")
def forbidden(request: Request) -> Any:
    """Redirect to sign-in and back to this page afterwards; 403 for a signed-in user."""
    if request.account is None:
        return _to_sign_in(request)
    return _page(
        request,
        403,
        ErrorPage(
            _("Access denied"),
            _(
                "This account has no access to this page. Sign in with another account or go back to "
                "your campaigns."
            ),
            _("Go to campaigns"),
            request.route_path("campaigns"),
        ),
    )


def _to_sign_in(request: Request) -> Response:
    back = request.path_qs if request.method == "GET" else request.path
    where = request.route_path("sign_in") + "?" + urlencode({"next": back})
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": request.route_path("sign_in")})
    return HTTPSeeOther(where)


@notfound_view_config(renderer="error.jinja2", append_slash=False)
@exception_view_config(NotFound, renderer="error.jinja2")
@exception_view_config(ObjectDeletedError, renderer="error.jinja2")
def not_found(request: Request) -> dict[str, Any]:
    if isinstance(request.exception, PredicateMismatch) and request.matched_route:
        return _wrong_method(request)
    return _page(
        request,
        404,
        ErrorPage(
            _("Page not found"),
            _("The address may be mistyped, or the page was deleted or belongs to another account."),
            _("Go to the home page"),
            request.route_path("home"),
        ),
    )


def _wrong_method(request: Request) -> dict[str, Any]:
    """Respond to a GET of a URL that accepts only forms, or the other way round."""
    return _page(
        request,
        405,
        ErrorPage(
            _("This page cannot be opened directly"),
            _("It is used only by a button on another page. Nothing was changed."),
            _("Go to the home page"),
            request.route_path("home"),
        ),
    )


@exception_view_config(BadCSRFToken, renderer="error.jinja2")
@exception_view_config(BadCSRFOrigin, renderer="error.jinja2")
def forged(request: Request) -> dict[str, Any]:
    back = _previous_page(request)
    known = back != request.route_path("home")
    return _page(
        request,
        400,
        ErrorPage(
            _("This form has expired"),
            _("The page was open for too long, or you have signed in or out since. Nothing was "
"changed. Open the page again and repeat the action."),
            _("Reload page") if known else _("Go to the home page"),
            back,
        ),
    )  # fmt: skip


@exception_view_config(HTTPRequestEntityTooLarge, renderer="error.jinja2")
def too_large(request: Request) -> dict[str, Any]:
    if request.matched_route and request.matched_route.name == "subscribers.import":
        return _too_large_file(request)
    return _page(
        request,
        413,
        ErrorPage(
            _("The form is too large"),
            _("It has more fields or text than this page accepts. Nothing was saved."),
            _("Go to the home page"),
            request.route_path("home"),
        ),
    )


def _too_large_file(request: Request) -> dict[str, Any]:
    return _page(
        request,
        413,
        ErrorPage(
            _("The file is too large"),
            _("Nothing was imported. Split the file and import the parts one by one."),
            _("Go to subscribers"),
            request.route_path("subscribers"),
        ),
    )


@exception_view_config(HTTPException)
def plain_http(error: HTTPException, request: Request) -> Any:
    """Pass redirects through; render other HTTP errors as our page."""
    if error.status_int < 400:
        return error
    text = _("The server rejected the request: ${reason}.", mapping={"reason": error.title})
    trouble = ErrorPage(_("The action failed"), text, _("Go to the home page"), request.route_path("home"))
    return _rendered(request, error.status_int, trouble)


@exception_view_config(MailganerError)
def refused(error: MailganerError, request: Request) -> Response:
    """Render a domain error that the view did not handle."""
    title = _("The action failed")
    trouble = ErrorPage(
        title, error.message, _("Back"), _previous_page(request), reply=_unquoted_reply(error)
    )
    response = _rendered(request, status_of(error), trouble)
    if isinstance(error, Throttled):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Busy) and request.method == "GET":
        response.headers["Refresh"] = str(error.retry_after)  # the browser reloads automatically
    return response


def _previous_page(request: Request) -> str:
    """Return the page of ours the user came from, or the start page."""
    came_from = request.referer or ""
    ours = came_from.startswith(request.host_url + "/")
    return came_from if ours else str(request.route_path("home"))


def _unquoted_reply(error: MailganerError) -> str:
    """Return the server's reply, unless our sentence quotes it already."""
    reply = getattr(error, "reply", "")
    return "" if reply in str(error) else reply


def database_unavailable(error: Exception, request: Request) -> Response:
    """Return 503: the database is unreachable, full or busy, which is temporary."""
    DATABASE.began(log, "page.database", path=request.path, method=request.method, trouble=trouble_of(error))
    without_database(request, error)
    trouble = ErrorPage(
        _("Mailganer cannot access its data right now"),
        _("Campaigns wait and resume automatically. Go back in a minute and check whether your "
"last change was saved. If the problem persists, contact the operator."),
        _("Go to the home page"),
        "/",
    )  # fmt: skip
    response = _rendered(request, 503, trouble)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


for _kind in OUT_OF_REACH:
    exception_view_config(_kind)(database_unavailable)


@exception_view_config(OSError)
def file_error(error: OSError, request: Request) -> Response:
    """Return the page for a full disk; any other error is a bug."""
    if not is_full(error):
        return internal_error(error, request)
    log.warning("page.no_room", path=request.path, method=request.method, trouble=str(error))
    return refused(NoRoom(), request)


@exception_view_config(Exception)
def internal_error(error: Exception, request: Request) -> Response:
    """Return 500 with a number that identifies the error in the log."""
    number = secrets.token_hex(4)
    log.error("page.broken", number=number, path=request.path, method=request.method, exc_info=error)
    # The database may be the cause, so the page is rendered without it.
    without_database(request, error)
    trouble = ErrorPage(
        _("Something went wrong"),
        _("Your saved data is safe, and campaigns continue automatically. Try again in a "
"minute. If the problem persists, report this number to the operator."),
        _("Go to the home page"),
        "/",
        number=number,
    )  # fmt: skip
    return _rendered(request, 500, trouble)


def _rendered(request: Request, status: int, trouble: ErrorPage) -> Response:
    response = render_to_response("error.jinja2", {"trouble": trouble}, request=request)
    response.status_int = status
    return response


def _page(request: Request, status: int, trouble: ErrorPage) -> dict[str, Any]:
    request.response.status_int = status
    return {"trouble": trouble}
