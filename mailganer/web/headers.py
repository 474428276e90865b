"""Security headers of responses, and repair of malformed requests."""

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
        # A form opened at another host name of this installation is redirected to the public address.
        "form-action 'self' {public}",
        "frame-ancestors 'none'",
    )
)
# The HTML of an email is untrusted: it may use images and styles, runs no scripts, and has an opaque origin.
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
    """Add security headers to every response that does not set its own."""
    headers = security_headers(registry["settings"])
    public = urlsplit(registry["settings"].public_url)

    def tween(request: Request) -> Response:
        make_readable(request)
        # Pyramid builds absolute redirects from these; the Host header is controlled by the client.
        request.environ |= {"HTTP_HOST": public.netloc, "wsgi.url_scheme": public.scheme}
        response = handler(request)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if response.content_type == "text/html" and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"  # other users of the same computer must not see it
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
    """Repair a malformed request.

    Replace bytes in the URL that are not UTF-8, drop such cookies, and treat a form without boundary as
    binary.
    """
    environ = request.environ
    path = environ.get("PATH_INFO", "").encode("latin-1")
    environ["PATH_INFO"] = path.decode(errors="replace").encode().decode("latin-1")
    query = environ.get("QUERY_STRING", "")
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        environ["QUERY_STRING"] = urlencode(parse_qsl(query, keep_blank_values=True, errors="replace"))
    if "HTTP_COOKIE" in environ:
        environ["HTTP_COOKIE"] = _readable_cookies(environ["HTTP_COOKIE"])
    kind = environ.get("CONTENT_TYPE", "")
    if kind.lower().startswith("multipart/") and not re.search(r"boundary=\"?[\x21-\x7e]", kind):
        environ["CONTENT_TYPE"] = "application/octet-stream"


def _readable_cookies(header: str) -> str:
    """Return the cookies that are valid UTF-8: another program on our host may have set others."""
    return ";".join(pair for pair in header.split(";") if _is_readable(pair))


def _is_readable(pair: str) -> bool:
    try:
        list(RequestCookies({"HTTP_COOKIE": pair}).items())
    except UnicodeDecodeError:
        return False
    return True


def view_headers() -> dict[str, str]:
    """Return the headers of an email in its recipient's browser, which no other page may frame."""
    return {
        "Content-Security-Policy": EMAIL_POLICY.replace("frame-ancestors 'self'", "frame-ancestors 'none'"),
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def email_response(request: Request, html: str) -> Response:
    """Return an email as a page of its own, for ``<iframe sandbox src=...>`` or the recipient's browser."""
    response = Response(html, content_type="text/html", charset="utf-8")
    response.headers["Content-Security-Policy"] = EMAIL_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
