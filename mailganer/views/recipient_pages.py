"""Readers' pages: no login, no cookie, no menu. Whoever holds the token in an email holds the email.

What a mail program fetches by itself changes nothing but a count: only a POST unsubscribes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup
from pyramid.httpexceptions import HTTPFound
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import exception_view_config, view_config
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import ObjectDeletedError

from mailganer import tracking
from mailganer.db import OUT_OF_REACH, utcnow
from mailganer.errors import Busy, Conflict, NotFound, _
from mailganer.tracking import RecipientPage
from mailganer.web import PUBLIC, RateLimit, email_response, localization, network

from ..web.error_status import RETRY_AFTER, without_database

SEEN = ("GET", "HEAD")
# A cut-off address is tried a few times; sixty in a minute are guesses.
MISSES = RateLimit("unknown tokens", 60, 60)
PAGES = ("click", "unsubscribe", "unsubscribe_undo", "email_in_browser")


@view_config(route_name="click", request_method=SEEN, permission=PUBLIC)
def click(request: Request) -> Response:
    """On to where the email says. A HEAD is somebody who looks where it leads: answered, not counted."""
    # What was opened a moment ago comes first: whether a click was a person's is told from their order.
    request.registry["opens"].flush()
    session, token, number = request.dbsession, request.matchdict["token"], _number(request)
    with _known(request):
        if request.method == "HEAD":
            target = tracking.link_target(session, tracking.find(session, token), number)
        else:
            target = tracking.record_click(
                session,
                token,
                number,
                agent=_agent(request),
                now=utcnow(),
                fetched_ahead=tracking.is_fetched_ahead(request.headers),
            )
    return _private(HTTPFound(target))


@view_config(
    route_name="unsubscribe", request_method=SEEN, permission=PUBLIC, renderer="readers/unsubscribe.jinja2"
)
def ask(request: Request) -> dict[str, Any]:
    with _known(request):
        reader = tracking.reader_of(request.dbsession, request.matchdict["token"])
    return _page(request, reader)


@view_config(
    route_name="unsubscribe",
    request_method="POST",
    permission=PUBLIC,
    require_csrf=False,
    renderer="readers/unsubscribe.jinja2",
)
def unsubscribe(request: Request) -> dict[str, Any]:
    """The page's button, or the mail program's own (RFC 8058). What is posted does not matter."""
    with _known(request):
        reader = tracking.unsubscribe_by_token(request.dbsession, request.matchdict["token"], now=utcnow())
    return _page(request, reader)


@view_config(
    route_name="unsubscribe_undo",
    request_method="POST",
    permission=PUBLIC,
    require_csrf=False,
    renderer="readers/unsubscribe.jinja2",
)
def undo(request: Request) -> dict[str, Any]:
    session, token = request.dbsession, request.matchdict["token"]
    with _known(request):
        try:
            reader = tracking.resubscribe_by_token(session, token, now=utcnow())
        except Conflict:  # the page says how it stands, and offers no undo
            return _page(request, tracking.reader_of(session, token))
    return _page(request, reader, back=True)


@view_config(route_name="unsubscribe_undo", request_method=SEEN, permission=PUBLIC)
def undo_reloaded(request: Request) -> Response:
    """The page after a press, fetched again: by a reload, or by the language switch."""
    token = request.matchdict["token"]
    return _private(HTTPFound(request.route_path("unsubscribe", token=token, _query=_spoken(request))))


@view_config(route_name="email_in_browser", request_method=SEEN, permission=PUBLIC)
def email(request: Request) -> Response:
    with _known(request):
        session = request.dbsession
        found = tracking.find(session, request.matchdict["token"])
        rendered = tracking.email_for(session, found, request.registry["settings"].public_url)
    html = rendered.html or Markup("<!doctype html><meta charset=utf-8><pre>{}</pre>").format(rendered.text)
    response = email_response(request, html)
    policy = response.headers["Content-Security-Policy"]
    response.headers["Content-Security-Policy"] = policy.replace(
        "frame-ancestors 'self'", "frame-ancestors 'none'"
    )
    response.headers["X-Frame-Options"] = "DENY"
    return response


def _gone(request: Request) -> dict[str, Any]:
    request.response.status_int = 404
    _private(request.response)
    speak(request, "")
    return {}


def _later(request: Request) -> dict[str, Any]:
    """Without the database nobody is sent anywhere: an address is never followed unchecked."""
    without_database(request, request.exception)
    request.response.status_int = 503
    request.response.headers["Retry-After"] = str(RETRY_AFTER)
    speak(request, "")
    return {}


def _busy(error: Busy, request: Request) -> dict[str, Any]:
    """Too many emails are put together at once."""
    request.response.status_int = 503
    request.response.headers["Retry-After"] = request.response.headers["Refresh"] = str(error.retry_after)
    speak(request, "")
    return {}


for _route in PAGES:
    exception_view_config(Busy, route_name=_route, renderer="readers/later.jinja2")(_busy)
    for _missing in (NotFound, ObjectDeletedError):
        exception_view_config(_missing, route_name=_route, renderer="readers/gone.jinja2")(_gone)
    for _kind in (DBAPIError, *OUT_OF_REACH):
        exception_view_config(_kind, route_name=_route, renderer="readers/later.jinja2")(_later)


def speak(request: Request, locale: str) -> None:
    """The page's language: asked for in the address, the email's, the browser's; never the account's."""
    wishes = (request.GET.get("lang"), locale, localization.accepted_language(request))
    request.locale_name = next(wish for wish in wishes if wish in localization.NAMES)


def _page(request: Request, reader: RecipientPage, *, back: bool = False) -> dict[str, Any]:
    speak(request, reader.locale)
    _private(request.response)
    return {
        "person": reader,
        "back": back,
        "spoken": _spoken(request),
        "who": reader.sender_name or reader.sender_email or request.translate(_("this sender")),
        "token": request.matchdict["token"],
    }


def _spoken(request: Request) -> dict[str, str]:
    """The language that was asked for, for the next page."""
    return {"lang": request.GET["lang"]} if request.GET.get("lang") in localization.NAMES else {}


def _private(response: Response) -> Response:
    response.headers["Referrer-Policy"] = "no-referrer"  # the token is in the address
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@contextmanager
def _known(request: Request) -> Iterator[None]:
    """Counts unknown tokens by where they come from. Raises ``Throttled`` for too many."""
    try:
        yield
    except NotFound:
        request.registry["throttle"].hit(MISSES, network(request.remote_addr))
        raise


def _number(request: Request) -> int:
    text = request.matchdict["number"]
    return int(text) if text.isascii() and len(text) < 6 else 0


def _agent(request: Request) -> str:
    return request.user_agent or ""
