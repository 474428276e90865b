"""Which methods an address answers to. A HEAD is a GET of which nobody reads the body."""

from collections.abc import Callable

from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

from ..web import is_api
from .document import operations


def head_tween(handler: Callable[[Request], Response], registry: Registry) -> Callable[[Request], Response]:
    """The document knows GET alone: it is what a HEAD is checked as. Its body is left out on the way."""

    def tween(request: Request) -> Response:
        if request.method != "HEAD" or not is_api(request):
            return handler(request)
        request.method = "GET"
        try:
            return handler(request)
        finally:
            request.method = "HEAD"

    return tween


def allowed(request: Request) -> str:
    """What the address that was asked for answers to, for the header ``Allow``."""
    known = operations(request) or ("GET",)
    return ", ".join("GET, HEAD" if method == "GET" else method for method in known)
