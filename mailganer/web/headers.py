"""What a browser may do with our answers, and requests put into a shape that can be answered."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode, urlsplit

from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response
from webob.cookies import RequestCookies

from ..settings import Settings

PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        # A form sent at another name of this installation ends by a redirect at the public address.
        "form-action 'self' {public}",
        "frame-ancestors 'none'",
    )
)
# An email is a stranger's HTML: it may show pictures and styles, run nothing, and belongs to no origin.
EMAIL_POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src data: http: https:",
        "style-src 'unsafe-inline'",
        "font-src data: https:",
        "frame-ancestors 'self'",
        "sandbox allow-popups allow-popups-to-escape-sandbox",
    )
)


def headers_tween(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Security headers on every answer that does not bring its own."""
    headers = security_headers(registry["settings"])
    public = urlsplit(registry["settings"].public_url)

    def tween(request: Request) -> Response:
        make_readable(request)
        # Redirects are made absolute with these; whoever sends the request chooses its Host header.
        request.environ |= {"HTTP_HOST": public.netloc, "wsgi.url_scheme": public.scheme}
        response = handler(request)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if response.content_type == "text/html" and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"  # the next person at this computer
        return response

    return tween


def security_headers(settings: Settings) -> dict[str, str]:
    public = urlsplit(settings.public_url)
    headers = {
        "Content-Security-Policy": PAGE_POLICY.format(public=f"{public.scheme}://{public.netloc}"),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    if settings.secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def make_readable(request: Request) -> None:
    """An address that is no UTF-8 names nothing of ours, and a form without its boundary holds nothing."""
    environ = request.environ
    path = environ.get("PATH_INFO", "").encode("latin-1")
    environ["PATH_INFO"] = path.decode(errors="replace").encode().decode("latin-1")
    asked = environ.get("QUERY_STRING", "")
    try:
        unquote_to_bytes(asked).decode()
    except UnicodeDecodeError:
        environ["QUERY_STRING"] = urlencode(parse_qsl(asked, keep_blank_values=True, errors="replace"))
    if "HTTP_COOKIE" in environ:
        environ["HTTP_COOKIE"] = _readable_cookies(environ["HTTP_COOKIE"])
    kind = environ.get("CONTENT_TYPE", "")
    if kind.lower().startswith("multipart/") and not re.search(r"boundary=\"?[\x21-\x7e]", kind):
        environ["CONTENT_TYPE"] = "application/octet-stream"


def _readable_cookies(header: str) -> str:
    """Return the cookies that are UTF-8: another program of our host may have set others."""
    return ";".join(pair for pair in header.split(";") if _is_readable(pair))


def _is_readable(pair: str) -> bool:
    try:
        list(RequestCookies({"HTTP_COOKIE": pair}).items())
    except UnicodeDecodeError:
        return False
    return True


def email_response(request: Request, html: str) -> Response:
    """An email as a page of its own, for an ``<iframe sandbox src=...>`` or for a reader's browser."""
    response = Response(html, content_type="text/html", charset="utf-8")
    response.headers["Content-Security-Policy"] = EMAIL_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
