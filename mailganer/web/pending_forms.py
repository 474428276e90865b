"""Forms whose answer takes longer than a page should: kept while another server is asked.

The waiting page shows the progress. Once the call is over, its address sends the kept form through the same
view again, in the same browser's session, with the result of the call at hand.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

from .sessions import has_session

if TYPE_CHECKING:
    from .outside_calls import OutsideCall

WAITED_FOR = "mailganer.waited_for"
"""Where in the environ of a form that is sent once more the call stands that it has waited for."""

KEY = "mailganer.waited_key"
PREFIX = "/waiting/"
KEPT_SECONDS = 120.0  # a form has a password in it: it is not kept longer than a slow browser needs
MOST_KEPT = 100
_KEPT = ("PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "HTTP_ORIGIN", "HTTP_REFERER")


@dataclass(frozen=True)
class PendingForm:
    """One form that waits. ``owner`` is the CSRF token of the session that sent it."""

    call: "OutsideCall[Any]"
    owner: str
    environ: dict[str, str]
    body: bytes
    since: float

    @property
    def path(self) -> str:
        return self.environ["PATH_INFO"]

    def restore(self, request: Request, key: str) -> None:
        """Turn the request for the waiting page into the form that was sent."""
        for name in _KEPT:
            request.environ.pop(name, None)
        request.environ |= self.environ
        request.method = "POST"
        request.body = self.body
        request.environ |= {WAITED_FOR: self.call, KEY: key}


class PendingForms:
    """Forms that wait, by a random key that opens nothing in another browser."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, PendingForm] = {}

    def keep(self, request: Request, call: "OutsideCall[Any]") -> str:
        """Keep the form of this request and return its key."""
        environ = {name: request.environ[name] for name in _KEPT if name in request.environ}
        owner = request.session.get_csrf_token()
        form = PendingForm(call, owner, environ, request.body, time.monotonic())
        key = secrets.token_urlsafe(24)
        with self._lock:
            self._expire()
            while len(self._forms) >= MOST_KEPT:
                del self._forms[next(iter(self._forms))]
            self._forms[key] = form
        return key

    def of(self, request: Request, key: str) -> PendingForm | None:
        """Return the form that waits under ``key`` if this browser has sent it."""
        with self._lock:
            self._expire()
            form = self._forms.get(key)
        if form is None or not has_session(request):
            return None
        mine = secrets.compare_digest(form.owner, request.session.get_csrf_token())
        return form if mine else None

    def forget(self, key: str) -> None:
        """Drop a form that has been answered."""
        with self._lock:
            self._forms.pop(key, None)

    def _expire(self) -> None:
        ends = time.monotonic() - KEPT_SECONDS
        for key in [key for key, form in self._forms.items() if form.since < ends]:
            del self._forms[key]


def has_waited(request: Request) -> bool:
    """Return whether this form is sent once more, after the other server was asked."""
    return WAITED_FOR in request.environ


def pending_tween(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Answer the waiting page with the answer to its form, once that can be given.

    Outside of the transaction: a form whose answer could not be committed stays, and is tried again.
    """
    pending: PendingForms = registry["pending"]

    def tween(request: Request) -> Response:
        if request.method == "GET" and request.path_info.startswith(PREFIX):
            key = request.path_info.removeprefix(PREFIX)
            form = pending.of(request, key)
            if form is not None and form.call.is_over:
                form.restore(request, key)
        response = handler(request)
        if KEY in request.environ and response.status_int < 500:
            pending.forget(request.environ[KEY])
        return response

    return tween
