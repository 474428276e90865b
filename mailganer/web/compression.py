"""Addresses of static files that browsers may keep for a year, and gzip for whoever accepts it."""

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

YEAR = 31_536_000  # seconds
SMALLEST = 1_000  # bytes; below, the headers weigh more than what is saved
LARGEST = 4_000_000  # bytes; above, a page would wait for the compression
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
    """Return the address of a static file. It changes with the file, so that browsers may keep the file."""
    request = get_current_request()
    return request.static_path(f"mailganer:static/{path}", _query={"v": version(path)})


@lru_cache(maxsize=64)
def version(path: str) -> str:
    """Return ten hex digits of the SHA-256 of a static file."""
    return hashlib.sha256(_content(path)).hexdigest()[:10]


def compression_tween(
    handler: Callable[[Request], Response], _registry: Registry
) -> Callable[[Request], Response]:
    """Let browsers keep static files under their hash, and compress text."""

    def tween(request: Request) -> Response:
        response = handler(request)
        static = request.path_info.removeprefix("/static/")
        if static == request.path_info:
            static = ""
        if static and response.status_int == 200 and request.GET.get("v") == version(static):
            response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
        if _is_text(response):
            response.vary = (*(response.vary or ()), "Accept-Encoding")
            if _takes_gzip(request) and "Range" not in request.headers:
                _compress(response, static)
        return response

    return tween


def _takes_gzip(request: Request) -> bool:
    """Whether the client named gzip. One that sends no Accept-Encoding gets the plain text."""
    if not request.accept_encoding:
        return False
    return bool(request.accept_encoding.acceptable_offers(["gzip"]))


def _is_text(response: Response) -> bool:
    return (
        response.status_int != 206
        and response.content_encoding is None
        and response.content_type in TEXT
        and SMALLEST <= (response.content_length or 0) <= LARGEST
    )


def _compress(response: Response, static: str) -> None:
    is_file = static and response.status_int == 200
    body = _compressed_file(static) if is_file else _compressed_page(response.body)
    if hasattr(response.app_iter, "close"):
        response.app_iter.close()  # of a file that is not sent now
    response.app_iter = [body]
    response.content_length = len(body)
    response.content_encoding = "gzip"


@lru_cache(maxsize=64)
def _compressed_file(path: str) -> bytes:
    """Compress a static file as far as it goes, once per process."""
    return gzip.compress(_content(path), 9, mtime=0)


def _compressed_page(body: bytes) -> bytes:
    """Compress a page and vary the length at random.

    A page can contain what a stranger chose beside a secret; the exact length of the compressed page would
    let the stranger guess the secret email by letter (BREACH). The padding is the file name in the gzip
    header (RFC 1952, section 2.3.1), which clients skip.
    """
    out = io.BytesIO()
    name = "x" * (1 + secrets.randbelow(100))
    with gzip.GzipFile(name, "wb", 5, out, mtime=0) as file:
        file.write(body)
    return out.getvalue()


def _content(path: str) -> bytes:
    return files("mailganer").joinpath("static", path).read_bytes()
