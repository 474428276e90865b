"""Cache-busting URLs of static files, and gzip compression of responses."""

import gzip
import hashlib
import io
import secrets
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files

from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response
from pyramid.threadlocal import get_current_request
from webob.acceptparse import create_accept_encoding_header

YEAR = 31_536_000  # seconds
SMALLEST = 1_000  # bytes; below, the gzip headers outweigh the saving
LARGEST = 4_000_000  # bytes; above, compressing would delay the response
TEXT = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/problem+json",
        "image/svg+xml",
        "text/css",
        "text/html",
        "text/javascript",
        "text/plain",
    }
)


def asset(path: str) -> str:
    """Return the URL of a static file, with a hash of its content, so that browsers may cache it."""
    request = get_current_request()
    return str(request.static_path(f"mailganer:static/{path}", _query={"v": version(path)}))


@lru_cache(maxsize=64)
def version(path: str) -> str:
    """Return the first ten hex digits of the SHA-256 of a static file."""
    return hashlib.sha256(_content(path)).hexdigest()[:10]


def compression_tween(
    handler: Callable[[Request], Response], _registry: Registry
) -> Callable[[Request], Response]:
    """Set long cache lifetimes on versioned static files, and compress text responses."""

    def tween(request: Request) -> Response:
        response = handler(request)
        static = request.path_info.removeprefix("/static/")
        if static == request.path_info:
            static = ""
        if static and response.status_int == 200 and request.GET.get("v") == version(static):
            response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
        if _is_text(response):
            response.vary = (*(response.vary or ()), "Accept-Encoding")
            if takes_gzip(request.headers.get("Accept-Encoding", "")) and "Range" not in request.headers:
                _compress(response, static)
        return response

    return tween


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a client with this Accept-Encoding header accepts gzip; False without one."""
    if not accept_encoding:
        return False
    return bool(create_accept_encoding_header(accept_encoding).acceptable_offers(["gzip"]))


def _is_text(response: Response) -> bool:
    return (
        response.status_int != 206
        and response.content_encoding is None
        and response.content_type in TEXT
        and SMALLEST <= (response.content_length or 0) <= LARGEST
    )


def _compress(response: Response, static: str) -> None:
    is_file = static and response.status_int == 200
    body = _compressed_file(static) if is_file else compressed_page(response.body)
    if hasattr(response.app_iter, "close"):
        response.app_iter.close()  # the file handle is not needed any more
    response.app_iter = [body]
    response.content_length = len(body)
    response.content_encoding = "gzip"


@lru_cache(maxsize=64)
def _compressed_file(path: str) -> bytes:
    """Compress a static file at the highest level, once per process."""
    return gzip.compress(_content(path), 9, mtime=0)


def compressed_page(body: bytes) -> bytes:
    """Compress a page and pad it to a random length.

    A page can contain attacker-chosen text next to a secret; the exact compressed length would let the
    attacker guess the secret character by character (BREACH). The padding is the file name in the gzip header
    (RFC 1952, section 2.3.1), which clients skip.
    """
    out = io.BytesIO()
    name = "x" * (1 + secrets.randbelow(100))
    with gzip.GzipFile(name, "wb", 5, out, mtime=0) as file:
        file.write(body)
    return out.getvalue()


def _content(path: str) -> bytes:
    return files("mailganer").joinpath("static", path).read_bytes()
