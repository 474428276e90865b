"""Pages for recipients: no login, no cookie, no menu. The token in an email is the authorization.

What an email app fetches automatically changes only counts: only a POST unsubscribes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup
from pyramid.httpexceptions import HTTPFound
from pyramid.renderers import render
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import ObjectDeletedError

from mailganer import tracking
from mailganer.db import OUT_OF_REACH, utcnow, without_transaction
from mailganer.errors import Busy, Conflict, NotFound, _
from mailganer.i18n.languages import is_language
from mailganer.tracking import (
    Click,
    GroupWriter,
    Outcome,
    OutcomeUnknown,
    UnsubscribePage,
    UnsubscribeRequest,
)
from mailganer.web import PUBLIC, RateLimit, email_response, localization, network

from ..web.clicks import OUTCOME, PRIVATE
from ..web.decorators import exception_view_config, view_config
from ..web.email_pages import PageKey, PrerenderedPages, marked
from ..web.error_status import RETRY_AFTER, without_database
from ..web.headers import view_headers

SEEN = ("GET", "HEAD")
# A truncated URL is retried a few times; sixty in a minute are guesses.
MISSES = RateLimit("unknown tokens", 60, 60)
TEMPLATE = "recipients/unsubscribe.jinja2"
PAGES = ("click", "unsubscribe", "unsubscribe_undo", "email_in_browser")


@view_config(route_name="click", request_method=SEEN, permission=PUBLIC)
def click(request: Request) -> Response:
    """Redirect to the target of a link. A HEAD only checks the target, so it is not counted.

    Clicks that need no template were answered before (``web.clicks``), or have failed there.
    """
    if OUTCOME in request.environ:
        _raise_error(request.environ[OUTCOME])
    with _counting_misses(request):
        target = _rendered_target(request)
        if request.method == "GET":
            _count(request, target)
    return _private(HTTPFound(target))


def _rendered_target(request: Request) -> str:
    return tracking.recipient_link(
        request.registry["readers"],
        request.registry["versions"],
        request.matchdict["token"],
        _number(request),
        request.registry["settings"].public_url,
    )


def _count(request: Request, target: str) -> None:
    click = Click.of(
        request.matchdict["token"],
        _number(request),
        agent=_agent(request),
        at=utcnow(),
        fetched_ahead=tracking.is_fetched_ahead(request.headers),
    )
    if click is None:
        raise NotFound
    outcome: Outcome[str] = request.registry["clicks"].wait(click.leading_to(target))
    _raise_error(outcome)
    if outcome.answer is None:  # deleted meanwhile
        raise NotFound


def _raise_error(outcome: Outcome[Any]) -> None:
    error = outcome.error
    if isinstance(error, OutcomeUnknown) and error.__cause__:
        raise error.__cause__
    if error:
        raise error


@view_config(
    route_name="unsubscribe", request_method=SEEN, permission=PUBLIC, renderer="recipients/unsubscribe.jinja2"
)
def ask(request: Request) -> dict[str, Any]:
    with _counting_misses(request):
        recipient = tracking.recipient_page(request.dbsession, request.matchdict["token"])
    values = _page(request, recipient)
    if request.method == "GET" and not recipient.erased:
        _keep_prerendered(request, recipient, values)
    return values


def _keep_prerendered(request: Request, recipient: UnsubscribePage, values: dict[str, Any]) -> None:
    """Keep the page for the next recipients, who differ in a few words only: see ``web.email_pages``."""
    if request.cookies or set(request.GET) - {"lang"}:
        return
    pages: PrerenderedPages = request.registry["prerendered_pages"]
    key = PageKey.of(recipient, request.locale_name, values["spoken"].get("lang", ""))
    if key not in pages:
        page, (since, sent_at) = marked(recipient)
        html = render(TEMPLATE, values | {"recipient": page, "since": since, "sent_at": sent_at}, request)
        pages.keep(key, html.replace(values["token"], pages.MARKS.token))


@view_config(
    route_name="unsubscribe",
    request_method="POST",
    permission=PUBLIC,
    require_csrf=False,
    renderer="recipients/unsubscribe.jinja2",
)
def unsubscribe(request: Request) -> dict[str, Any]:
    """Unsubscribe, from the page or one-click by the email app (RFC 8058). The body is ignored."""
    with _counting_misses(request):
        return _page(
            request, _unsubscribed(request, UnsubscribeRequest(request.matchdict["token"], utcnow()))
        )


def _unsubscribed(request: Request, leaving: UnsubscribeRequest) -> UnsubscribePage:
    """Unsubscribe together with others; alone who was erased, or is unknown."""
    writer: GroupWriter[UnsubscribeRequest, UnsubscribePage] = request.registry["unsubscribes"]
    outcome = without_transaction(request.dbsession, lambda: writer.wait(leaving))
    _raise_error(outcome)
    if outcome.answer is not None:
        return outcome.answer
    return tracking.unsubscribe_by_token(request.dbsession, leaving.token, now=leaving.at)


@view_config(
    route_name="unsubscribe_undo",
    request_method="POST",
    permission=PUBLIC,
    require_csrf=False,
    renderer="recipients/unsubscribe.jinja2",
)
def undo(request: Request) -> dict[str, Any]:
    session, token = request.dbsession, request.matchdict["token"]
    with _counting_misses(request):
        try:
            recipient = tracking.resubscribe_by_token(session, token, now=utcnow())
        except Conflict:  # the page shows the current state without an undo button
            return _page(request, tracking.recipient_page(session, token))
    return _page(request, recipient, back=True)


@view_config(route_name="unsubscribe_undo", request_method=SEEN, permission=PUBLIC)
def undo_reloaded(request: Request) -> Response:
    """Redirect a reload of the page after an undo, or its language switch."""
    token = request.matchdict["token"]
    return _private(
        HTTPFound(request.route_path("unsubscribe", token=token, _query=_requested_language(request)))
    )


@view_config(route_name="email_in_browser", request_method=SEEN, permission=PUBLIC)
def email(request: Request) -> Response:
    with _counting_misses(request):
        with request.registry["readers"]() as session:
            known = tracking.read_known(session, request.matchdict["token"])
        rendered = request.registry["views"].render(known)
    html = rendered.html or Markup("<!doctype html><meta charset=utf-8><pre>{}</pre>").format(rendered.text)
    response = email_response(request, html)
    response.headers.update(view_headers())
    return response


def _gone(request: Request) -> dict[str, Any]:
    request.response.status_int = 404
    _private(request.response)
    choose_language(request, "")
    return {}


def _unavailable(request: Request) -> dict[str, Any]:
    """Show an error page without the database: a link is never followed unchecked."""
    without_database(request, request.exception)
    request.response.status_int = 503
    request.response.headers["Retry-After"] = str(RETRY_AFTER)
    choose_language(request, "")
    return {}


def _busy(error: Busy, request: Request) -> dict[str, Any]:
    """Show an error page while too many emails are being rendered."""
    request.response.status_int = 503
    request.response.headers["Retry-After"] = request.response.headers["Refresh"] = str(error.retry_after)
    choose_language(request, "")
    return {}


for _route in PAGES:
    exception_view_config(Busy, route_name=_route, renderer="recipients/later.jinja2")(_busy)
    for _missing in (NotFound, ObjectDeletedError):
        exception_view_config(_missing, route_name=_route, renderer="recipients/gone.jinja2")(_gone)
    for _kind in (DBAPIError, *OUT_OF_REACH):
        exception_view_config(_kind, route_name=_route, renderer="recipients/later.jinja2")(_unavailable)


def choose_language(request: Request, locale: str) -> None:
    """Set the page's language: from the URL, the email or the browser; never the account's."""
    wishes = (request.GET.get("lang"), locale, localization.accepted_language(request))
    request.locale_name = next(wish for wish in wishes if is_language(wish))


def _page(request: Request, recipient: UnsubscribePage, *, back: bool = False) -> dict[str, Any]:
    choose_language(request, recipient.locale)
    _private(request.response)
    words = localization.translator_of(request)
    since, sent_at = (at and localization.date_html(words, at) for at in (recipient.since, recipient.sent_at))
    return {
        "recipient": recipient,
        "since": since,
        "sent_at": sent_at,
        "back": back,
        "spoken": _requested_language(request),
        "who": recipient.sender_name or recipient.sender_email or request.translate(_("this sender")),
        "token": request.matchdict["token"],
    }


def _requested_language(request: Request) -> dict[str, str]:
    """Return the requested language, for the next page."""
    return {"lang": request.GET["lang"]} if is_language(request.GET.get("lang")) else {}


def _private(response: Response) -> Response:
    response.headers.update(PRIVATE)
    return response


@contextmanager
def _counting_misses(request: Request) -> Iterator[None]:
    """Count unknown tokens by network. Raise ``Throttled`` after too many."""
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
