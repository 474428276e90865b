"""Tracking pixel that counts an open, answered before Pyramid handles the request.

Nothing is asked of the database here, so it needs no transaction, no session, no route and no view; see
docs/decisions/0011-buffered-opens.md.
"""

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from pyramid.events import BeforeTraversal
from pyramid.registry import Registry

from mailganer.db import utcnow
from mailganer.tracking import OpenBuffer, Opening
from mailganer.web import security_headers

from .clicks import BEFORE as CLICKS
from .clicks import ClicksFirst
from .decorators import subscriber
from .email_pages import BEFORE as PAGES
from .email_pages import EmailPagesFirst
from .health import REQUESTS, SECONDS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from pyramid.router import Router

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
BEFORE, BEHIND = "/o/", ".gif"
RECIPIENT_PATHS = (BEFORE, CLICKS, *PAGES)
ROUTES_WITH_OPENS = frozenset(
    {
        *("campaigns", "campaign", "campaign.report", "campaign.recipients", "campaign.recipients_csv"),
        *("campaign.delivery", "campaign.why", "subscriber", "subscriber.why"),
        *("api.campaign.report", "api.campaign.deliveries", "api.campaign.why"),
    }
)
"""Routes whose responses contain opens."""


class PixelFirst:
    """WSGI middleware that serves GET and HEAD of ``/o/TOKEN.gif`` itself; a HEAD is not counted.

    Links of emails are served with a slash at their end as without it.
    Has the ``registry`` of the application, because Pyramid's own tools look for it.
    """

    def __init__(self, application: "Router") -> None:
        self.registry: Registry = application.registry
        self._pages = EmailPagesFirst(application, self.registry)
        self._application = self._clicks = ClicksFirst(self._pages, self.registry)
        self._opens: OpenBuffer = self.registry["opens"]
        self._headers = _headers(self.registry)
        self._answered = {method: REQUESTS.labels(method, "open", 200) for method in ("GET", "HEAD")}
        self._seconds = SECONDS.labels("open")

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path.endswith("/") and path.startswith(RECIPIENT_PATHS):
            # Some email apps append a slash to links.
            environ["PATH_INFO"] = path = path.rstrip("/")
        if method not in self._answered or not _is_pixel(path):
            return self._application(environ, start_response)
        start = perf_counter()
        if method == "GET":
            self._count(path, environ.get("HTTP_USER_AGENT", ""))
        start_response("200 OK", [*self._headers])
        self._answered[method].inc()
        self._seconds.observe(perf_counter() - start)
        return [PIXEL] if method == "GET" else []

    def is_prompt(self, method: str, path: str) -> bool:
        """Return whether a request is answered without any waiting."""
        return method in self._answered and _is_pixel(path) and not self._opens.delays()

    def may_begin(self, method: str, path: str) -> bool:
        """Return whether :meth:`begin` is worth a call."""
        return method == "GET" and path.startswith((CLICKS, *PAGES))

    def begin(
        self, environ: "WSGIEnvironment", done: Callable[[bool], None], wake: Callable[[], None]
    ) -> bool:
        """Begin to answer a request, see ``ClicksFirst.begin``."""
        beginning = self._clicks if environ["PATH_INFO"].startswith(CLICKS) else self._pages
        return beginning.begin(environ, done, wake)

    def _count(self, path: str, agent: str) -> None:
        token = path.removeprefix(BEFORE).removesuffix(BEHIND)
        if opening := Opening.of(token, agent=agent, at=utcnow()):
            self._opens.add(opening)


@subscriber(BeforeTraversal)
def write_opens_first(event: BeforeTraversal) -> None:
    """Write buffered opens before a report is read, so that a client finds the opens it has just caused.

    Runs before the account is loaded: a SQLite transaction that begins then sees nothing newer.
    """
    route = event.request.matched_route
    if route is not None and route.name in ROUTES_WITH_OPENS:
        event.request.registry["opens"].catch_up()


def _is_pixel(path: str) -> bool:
    return path.startswith(BEFORE) and path.endswith(BEHIND) and "/" not in path[len(BEFORE) :]


def _headers(registry: Registry) -> list[tuple[str, str]]:
    own = {
        "Content-Type": "image/gif",
        "Content-Length": str(len(PIXEL)),
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "cross-origin",  # displayed by email apps on other origins
        "Referrer-Policy": "no-referrer",
    }
    return list((security_headers(registry["settings"]) | own).items())
