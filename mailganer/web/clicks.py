"""Clicks on links with the same target for every recipient, answered before Pyramid handles the request.

Such a click needs no transaction of its own, no session, no route and no view: it is written together with
others (``tracking.GroupWriter``), and the redirect follows the commit. Every other request for a link goes on
to its view, which renders the target, and so does every request that fails. See
docs/decisions/0017-group-commit-of-clicks.md.
"""

import re
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from pyramid.registry import Registry

from mailganer.db import utcnow
from mailganer.tracking import (
    PURPOSES,
    Click,
    GroupWriter,
    Outcome,
    is_fetched_ahead,
)
from mailganer.web import security_headers

from .health import REQUESTS, SECONDS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BEFORE = "/c/"
OUTCOME = "mailganer.click"
"""Key in the environ of a click: its ``Outcome``, once it was written or refused."""
PRIVATE = {
    "Referrer-Policy": "no-referrer",  # the URL contains the token
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
"""Headers of every response to a recipient."""

_PATH = re.compile(r"/c/([A-Za-z0-9_-]{22})/([0-9]{1,5})")
_PURPOSES = [(f"HTTP_{name.upper().replace('-', '_')}", name) for name in PURPOSES]
_BEGUN = "mailganer.click_begun"


class ClicksFirst:
    """WSGI middleware that redirects GET of ``/c/TOKEN/NUMBER`` itself where it can."""

    def __init__(self, application: "WSGIApplication", registry: Registry) -> None:
        self._application = application
        self._clicks: GroupWriter[Click, str] = registry["clicks"]
        self._headers = _headers(registry)
        self._answered = REQUESTS.labels("GET", "click", 302)
        self._seconds = SECONDS.labels("click")

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start = environ.get(_BEGUN) or perf_counter()
        target = self._target(environ)
        if target is None:
            return self._application(environ, start_response)
        start_response("302 Found", [*self._headers, ("Location", target)])
        self._answered.inc()
        self._seconds.observe(perf_counter() - start)
        return []

    def begin(
        self, environ: "WSGIEnvironment", done: Callable[[bool], None], wake: Callable[[], None]
    ) -> bool:
        """Begin to answer a request. Return False if this has to be done by calling the application.

        Otherwise call ``done`` in another thread when the application can be called: with True if it then
        answers without any waiting. Call ``wake`` once after that, for several requests that came together.
        """
        click = _click_of(environ)
        if click is None:
            return False
        environ[_BEGUN] = perf_counter()

        def written(outcome: Outcome[str]) -> None:
            environ[OUTCOME] = outcome
            done(outcome.answer is not None)

        return self._clicks.submit(click, written, wake)

    def _target(self, environ: "WSGIEnvironment") -> str | None:
        """Return where a written click leads; None if the view has to answer."""
        if OUTCOME not in environ and (click := _click_of(environ)):
            environ[OUTCOME] = self._clicks.wait(click)
        outcome: Outcome[str] | None = environ.get(OUTCOME)
        return outcome.answer if outcome else None


def _click_of(environ: "WSGIEnvironment") -> Click | None:
    if environ["REQUEST_METHOD"] != "GET" or not (found := _PATH.fullmatch(environ.get("PATH_INFO", ""))):
        return None
    return Click.of(
        found[1],
        int(found[2]),
        agent=environ.get("HTTP_USER_AGENT", ""),
        at=utcnow(),
        fetched_ahead=_is_fetched_ahead(environ),
    )


def _is_fetched_ahead(environ: "WSGIEnvironment") -> bool:
    found = {header: environ[key] for key, header in _PURPOSES if key in environ}
    return bool(found) and is_fetched_ahead(found)


def _headers(registry: Registry) -> list[tuple[str, str]]:
    own = {"Content-Type": "text/html; charset=UTF-8", "Content-Length": "0"}
    return list((security_headers(registry["settings"]) | PRIVATE | own).items())
