"""Bodies of requests: refused by their size, and forms read before a transaction begins.

Reading a form of many tiny parts costs more than anything else a stranger can ask for, so how much is read
depends on the route, and more than a little is read for signed-in accounts only.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from pyramid.events import BeforeTraversal, subscriber
from pyramid.httpexceptions import HTTPBadRequest, HTTPRequestEntityTooLarge
from pyramid.request import Request
from webob.multidict import MultiDict

from ..settings import Settings
from .account_verification import release
from .multipart import MalformedForm, TooManyFields, boundary_of, fields_of, parts_of, read_upload
from .routes import READERS
from .security_policy import is_api
from .sessions import SESSION_SECONDS, RotatingSerializer, cookie_name

SMALL = 1024 * 1024  # bytes
MOST_FIELDS = 1_000
LARGEST_PAGE = 64 * 1024 * 1024  # bytes; what a view refuses with a sentence of its own has to reach it
LARGEST_FILE = 512 * 1024 * 1024  # bytes; a list of a million people is about a fifth of it
AT_ONCE = 4  # large bodies of one session or token
MOST_TOKENS = 10_000  # that are remembered

FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass(frozen=True)
class FormLimits:
    """What the form of a route may hold."""

    size: int = SMALL
    fields: int = MOST_FIELDS
    files: frozenset[str] = frozenset()  # the fields that may be files; elsewhere a file is no form


USUAL = FormLimits()
FILE = frozenset({"file"})
ROOMS = {
    "subscribers.import": FormLimits(size=LARGEST_FILE, files=FILE),
    "api.imports": FormLimits(size=LARGEST_FILE, files=FILE | {"mapping", "apply"}),
    "campaign.upload": FormLimits(size=LARGEST_PAGE, files=FILE),
    # An email is a million characters of HTML and as many of text, in Cyrillic six bytes each in a form.
    "campaign.email": FormLimits(size=LARGEST_PAGE, fields=10_000),
    "templates.new": FormLimits(size=LARGEST_PAGE, files=FILE),
    "template": FormLimits(size=LARGEST_PAGE, files=FILE),
}
"""Routes that take more than a little, from accounts only."""

_LARGE_PATHS = re.compile(r"/subscribers/import|/api/v1/lists/\d+/imports")


class BodyLimits:
    """How many bytes of a body the web server takes before the application has seen the request.

    More than a little is taken for a session whose cookie we have signed, and for bearer tokens. Whether they
    still open anything is known only with the database, for which the thread that reads cannot wait. So each
    may send ``AT_ONCE`` large bodies at a time, and all tokens that have opened nothing yet as many together.
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
        """Remember that a token opens an account."""
        self._open_tokens[_digest(token)] = None
        if len(self._open_tokens) > MOST_TOKENS:
            self._open_tokens.popitem(last=False)

    def _sender(self, path: str, headers: Mapping[str, str]) -> str:
        """Return whose body it is; "" for a stranger."""
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
    """Refuse what is too large, and read the form while no transaction is open.

    Raises ``HTTPRequestEntityTooLarge`` and ``HTTPBadRequest``.
    """
    request = event.request
    size = request.content_length or 0
    route = request.matched_route.name if request.matched_route else ""
    if not size or not route:
        return
    room = ROOMS.get(route, USUAL)
    if is_api(request) and route != "api.imports":
        if route == "api.login" and size > SMALL:
            raise HTTPRequestEntityTooLarge
        return  # JSON; the API looks at its size itself, once it knows who asks
    if size > room.size:
        raise HTTPRequestEntityTooLarge
    if room is not USUAL and (size > SMALL or request.content_type == MULTIPART):
        if request.account is None:
            return  # refused by the route
        release(request)
    # Whoever posts to a recipient's address leaves, whatever the form says: it is not looked into.
    if route not in READERS and request.content_type in (FORM, MULTIPART, ""):
        _read_form(request, room)


def _read_form(request: Request, room: FormLimits) -> None:
    """Read a form within its room, into where ``request.POST`` looks for it."""
    if request.charset.upper() != "UTF-8":
        if is_api(request):
            return  # refused there in its own words
        raise HTTPBadRequest
    request.make_body_seekable()
    try:
        form = _form_of(request, room)
    except TooManyFields as error:
        raise HTTPRequestEntityTooLarge from error
    except MalformedForm as error:
        raise HTTPBadRequest from error
    request.environ["webob._parsed_post_vars"] = (form, request.body_file_raw)


def _form_of(request: Request, room: FormLimits) -> MultiDict:
    if request.content_type != MULTIPART:
        return MultiDict(fields_of(request.body, room.fields))
    boundary = boundary_of(request.headers["Content-Type"])
    if room is USUAL:
        return MultiDict(parts_of(request.body, boundary, room.fields))
    return read_upload(request.environ, request.body_file_raw, room.fields, room.files)
