"""The picture that counts an open: answered before anything else of a request is made.

Nothing is asked of the database here, so it needs no transaction, no session and no view; see
docs/decisions/opens-are-written-together.md.
"""

from collections.abc import Callable

from pyramid.interfaces import IRoutesMapper
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

from mailganer.db import utcnow
from mailganer.security import security_headers
from mailganer.tracking import OpenBuffer, Opening

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
BEFORE, BEHIND = "/o/", ".gif"


def pixel_tween(handler: Callable[[Request], Response], registry: Registry) -> Callable[[Request], Response]:
    """Answers GET and HEAD of ``/o/TOKEN.gif``; a HEAD is not counted. Everything else goes on."""
    opens: OpenBuffer = registry["opens"]
    headers = _headers(registry)

    def tween(request: Request) -> Response:
        path, method = request.environ.get("PATH_INFO", ""), request.method
        if method not in ("GET", "HEAD") or not _is_picture(path):
            return handler(request)
        request.matched_route = registry.getUtility(IRoutesMapper).get_route("open")  # for the metrics
        if method == "GET":
            _count(opens, path, request.environ.get("HTTP_USER_AGENT", ""))
        return Response(PIXEL, headerlist=[*headers])

    return tween


def _is_picture(path: str) -> bool:
    return path.startswith(BEFORE) and path.endswith(BEHIND) and "/" not in path[len(BEFORE) :]


def _count(opens: OpenBuffer, path: str, agent: str) -> None:
    token = path.removeprefix(BEFORE).removesuffix(BEHIND)
    if opening := Opening.of(token, agent=agent, at=utcnow()):
        opens.add(opening)


def _headers(registry: Registry) -> list[tuple[str, str]]:
    own = {
        "Content-Type": "image/gif",
        "Content-Length": str(len(PIXEL)),
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "cross-origin",  # shown in other people's mail programs
        "Referrer-Policy": "no-referrer",
    }
    return list((security_headers(registry["settings"]) | own).items())
