"""Bodies of requests: refused by their size, and forms read before a transaction begins.

Reading a form of many tiny parts costs more than anything else a stranger can ask for, so how much is read
depends on the route, and more than a little is read for signed-in accounts only.
"""

import re
from dataclasses import dataclass

from pyramid.events import BeforeTraversal, subscriber
from pyramid.httpexceptions import HTTPBadRequest, HTTPRequestEntityTooLarge
from pyramid.request import Request
from webob.multidict import MultiDict

from ..routes import READERS
from .asking import is_api
from .multipart import MalformedForm, TooManyFields, boundary_of, fields_of, parts_of, read_upload
from .proof import release

SMALL = 1024 * 1024  # bytes
MOST_FIELDS = 1_000
LARGEST_PAGE = 64 * 1024 * 1024  # bytes; what a view refuses with a sentence of its own has to reach it
LARGEST_FILE = 512 * 1024 * 1024  # bytes; a list of a million people is about a fifth of it

FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass(frozen=True)
class Room:
    """What the form of a route may hold."""

    size: int = SMALL
    fields: int = MOST_FIELDS
    files: frozenset[str] = frozenset()  # the fields that may be files; elsewhere a file is no form


USUAL = Room()
FILE = frozenset({"file"})
ROOMS = {
    "people.import": Room(size=LARGEST_FILE, files=FILE),
    "api.imports": Room(size=LARGEST_FILE, files=FILE | {"mapping", "apply"}),
    "campaign.upload": Room(size=LARGEST_PAGE, files=FILE),
    # An email is a million characters of HTML and as many of text, in Cyrillic six bytes each in a form.
    "campaign.letter": Room(size=LARGEST_PAGE, fields=10_000),
    "templates.new": Room(size=LARGEST_PAGE, files=FILE),
    "template": Room(size=LARGEST_PAGE, files=FILE),
}
"""Routes that take more than a little, from accounts only."""

_LARGE_PATHS = re.compile(r"/people/import|/api/v1/lists/\d+/imports")


def largest_body(path: str, signed: bool) -> int:
    """Return how many bytes the web server takes of a body before the application has seen the request.

    ``signed``: a cookie or a token came along; whether it opens anything is found out later.
    """
    if not signed:
        return 2 * SMALL
    return LARGEST_FILE if _LARGE_PATHS.fullmatch(path) else LARGEST_PAGE


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


def _read_form(request: Request, room: Room) -> None:
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


def _form_of(request: Request, room: Room) -> MultiDict:
    if request.content_type != MULTIPART:
        return MultiDict(fields_of(request.body, room.fields))
    boundary = boundary_of(request.headers["Content-Type"])
    if room is USUAL:
        return MultiDict(parts_of(request.body, boundary, room.fields))
    return read_upload(request.environ, request.body_file_raw, room.fields, room.files)
