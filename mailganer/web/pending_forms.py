"""Forms whose processing takes longer than a page should, stored while another server is called.

The waiting page shows the progress. When the call has ended, its address sends the stored form through the
same view again, in the session of the same browser, with the result of the call available.
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
"""Key in the environ of a resent form: the call that it waited for."""

KEY = "mailganer.waited_key"
PREFIX = "/waiting/"
KEPT_SECONDS = 120.0  # a form contains a password: keep it no longer than a slow browser needs
MOST_KEPT = 100
_KEPT = ("PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "HTTP_ORIGIN", "HTTP_REFERER")


@dataclass(frozen=True)
class PendingForm:
    """A form waiting for a call. ``owner`` is the CSRF token of the session that sent it."""

    call: "OutsideCall[Any]"
    owner: str
    environ: dict[str, str]
    body: bytes
    since: float

    @property
    def path(self) -> str:
        return self.environ["PATH_INFO"]

    def restore(self, request: Request, key: str) -> None:
        """Turn the request for the waiting page into the stored form request."""
        for name in _KEPT:
            request.environ.pop(name, None)
        request.environ |= self.environ
        request.method = "POST"
        request.body = self.body
        request.environ |= {WAITED_FOR: self.call, KEY: key}


class PendingForms:
    """Waiting forms by random key. A key works only in the browser that sent the form."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, PendingForm] = {}

    def keep(self, request: Request, call: "OutsideCall[Any]") -> str:
        """Store the form of this request and return its key."""
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
        """Return the form stored under ``key`` if this browser sent it, else None."""
        with self._lock:
            self._expire()
            form = self._forms.get(key)
        if form is None or not has_session(request):
            return None
        mine = secrets.compare_digest(form.owner, request.session.get_csrf_token())
        return form if mine else None

    def forget(self, key: str) -> None:
        """Delete a form whose response was sent."""
        with self._lock:
            self._forms.pop(key, None)

    def _expire(self) -> None:
        ends = time.monotonic() - KEPT_SECONDS
        for key in [key for key, form in self._forms.items() if form.since < ends]:
            del self._forms[key]


def has_waited(request: Request) -> bool:
    """Return whether this form is being sent again after the call to the other server."""
    return WAITED_FOR in request.environ


def pending_tween(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Respond on the waiting page with the result of its form, as soon as the call has ended.

    Runs outside the transaction: a form whose result could not be committed is kept and tried again.
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
