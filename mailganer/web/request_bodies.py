"""Request bodies: size limits, and forms parsed before a transaction begins.

Parsing a form of many tiny parts is the most expensive thing an anonymous client can request, so the limits
depend on the route, and large bodies are accepted from signed-in accounts only.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from pyramid.events import BeforeTraversal
from pyramid.httpexceptions import HTTPBadRequest, HTTPRequestEntityTooLarge
from pyramid.request import Request
from webob.multidict import MultiDict

from ..settings import Settings
from .account_verification import end_transaction
from .decorators import subscriber
from .multipart import MalformedForm, TooManyFields, boundary_of, fields_of, parts_of, read_upload
from .routes import RECIPIENT_ROUTES
from .security_policy import is_api
from .sessions import SESSION_SECONDS, RotatingSerializer, cookie_name

SMALL = 1024 * 1024  # bytes
MOST_FIELDS = 1_000
LARGEST_PAGE = 64 * 1024 * 1024  # bytes; larger than any form that a view rejects with its own error message
LARGEST_FILE = 512 * 1024 * 1024  # bytes; a list of a million subscribers takes about a fifth of it
AT_ONCE = 4  # large bodies of one session or token
MOST_TOKENS = 10_000  # remembered valid tokens

FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass(frozen=True)
class FormLimits:
    """Limits of the form of a route."""

    size: int = SMALL
    fields: int = MOST_FIELDS
    files: frozenset[str] = frozenset()  # fields that may be files; a file elsewhere is malformed


USUAL = FormLimits()
FILE = frozenset({"file"})
LIMITS = {
    "subscribers.import": FormLimits(size=LARGEST_FILE, files=FILE),
    "api.imports": FormLimits(size=LARGEST_FILE, files=FILE | {"mapping", "apply"}),
    "campaign.upload": FormLimits(size=LARGEST_PAGE, files=FILE),
    # An email is up to a million characters of HTML and as many of text, six bytes each for Cyrillic in a
    # form.
    "campaign.email": FormLimits(size=LARGEST_PAGE, fields=10_000),
    "templates.new": FormLimits(size=LARGEST_PAGE, files=FILE),
    "template": FormLimits(size=LARGEST_PAGE, files=FILE),
}
"""Routes that accept large bodies, from accounts only."""

_LARGE_PATHS = re.compile(r"/subscribers/import|/api/v1/lists/\d+/imports")


class BodyLimits:
    """Size limits that the web server applies to a body before the application sees the request.

    Large bodies are accepted with a session cookie signed by us and with bearer tokens. Whether they are
    still valid is known only to the database, for which the reading thread cannot wait. So each session and
    token may send ``AT_ONCE`` large bodies at a time, and all tokens not yet seen as valid share one such
    limit.
    """

    def __init__(self, settings: Settings) -> None:
        self._sessions = RotatingSerializer(settings.secret_keys)
        self._cookie = cookie_name(settings)
        self._open_tokens: OrderedDict[str, None] = OrderedDict()
        self._taken: WeakKeyDictionary[object, str] = WeakKeyDictionary()

    def __call__(self, request: object, path: str, headers: Mapping[str, str]) -> int:
        """Return the limit for ``request``, an object that lives as long as its body is kept."""
        sender = self._sender(path, headers)
        if not sender or sum(each == sender for each in self._taken.values()) >= AT_ONCE:
            return 2 * SMALL
        self._taken[request] = sender
        return LARGEST_FILE if _LARGE_PATHS.fullmatch(path) else LARGEST_PAGE

    def note_token(self, token: str) -> None:
        """Remember that a token is valid."""
        self._open_tokens[_digest(token)] = None
        if len(self._open_tokens) > MOST_TOKENS:
            self._open_tokens.popitem(last=False)

    def _sender(self, path: str, headers: Mapping[str, str]) -> str:
        """Return the name the body is counted under; "" for a stranger."""
        if path.startswith("/api/"):
            kind, _space, token = headers.get("AUTHORIZATION", "").partition(" ")
            if kind.lower() != "bearer" or not token.strip():
                return ""
            name = _digest(token.strip())
            return f"token {name}" if name in self._open_tokens else "unknown tokens"
        return self._session(headers.get("COOKIE", ""))

    def _session(self, cookies: str) -> str:
        pairs = (pair.strip().partition("=") for pair in cookies.split(";"))
        signed = next((value for name, _sign, value in pairs if name == self._cookie), "")
        try:
            accessed, _created, state = self._sessions.loads(signed.strip('"').encode())
        except (ValueError, TypeError):
            return ""
        alive = isinstance(accessed, int | float) and accessed + SESSION_SECONDS > time.time()
        return f"session {state.get('id')}" if alive and state.get("account") is not None else ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


@subscriber(BeforeTraversal)
def read_form_first(event: BeforeTraversal) -> None:
    """Reject bodies that are too large, and parse the form while no transaction is open.

    Raise ``HTTPRequestEntityTooLarge`` and ``HTTPBadRequest``.
    """
    request = event.request
    size = request.content_length or 0
    route = request.matched_route.name if request.matched_route else ""
    if not size or not route:
        return
    limits = LIMITS.get(route, USUAL)
    if is_api(request) and route != "api.imports":
        if route == "api.login" and size > SMALL:
            raise HTTPRequestEntityTooLarge
        return  # JSON; the API checks its size after authentication
    if size > limits.size:
        raise HTTPRequestEntityTooLarge
    if limits is not USUAL and (size > SMALL or request.content_type == MULTIPART):
        if request.account is None:
            return  # the route rejects it
        end_transaction(request)
    # A POST to a recipient's address unsubscribes whatever the form contains, so it is not parsed.
    if route not in RECIPIENT_ROUTES and request.content_type in (FORM, MULTIPART, ""):
        _read_form(request, limits)


def _read_form(request: Request, limits: FormLimits) -> None:
    """Parse a form within its limits and store it where ``request.POST`` looks for it."""
    if request.charset.upper() != "UTF-8":
        if is_api(request):
            return  # the API rejects it with its own error
        raise HTTPBadRequest
    request.make_body_seekable()
    try:
        form = _form_of(request, limits)
    except TooManyFields as error:
        raise HTTPRequestEntityTooLarge from error
    except MalformedForm as error:
        raise HTTPBadRequest from error
    request.environ["webob._parsed_post_vars"] = (form, request.body_file_raw)


def _form_of(request: Request, limits: FormLimits) -> MultiDict:
    if request.content_type != MULTIPART:
        return MultiDict(fields_of(request.body, limits.fields))
    boundary = boundary_of(request.headers["Content-Type"])
    if limits is USUAL:
        return MultiDict(parts_of(request.body, boundary, limits.fields))
    return read_upload(request.environ, request.body_file_raw, limits.fields, limits.files)
