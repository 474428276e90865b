"""HTTP methods of API paths: HEAD support and the ``Allow`` header."""

from collections.abc import Callable

from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response

from ..web import is_api
from .document import operations


def head_tween(handler: Callable[[Request], Response], registry: Registry) -> Callable[[Request], Response]:
    """Handle a HEAD as a GET, because the OpenAPI document has only GET. The body is dropped later."""

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
    """Return the methods of the requested path for the ``Allow`` header."""
    known = operations(request) or ("GET",)
    return ", ".join("GET, HEAD" if method == "GET" else method for method in known)
