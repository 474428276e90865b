"""Browsers that have signed in before, recognized by a cookie: they have a rate limit of their own.

Failed sign-ins from elsewhere do not count against them.
"""

import hashlib
import hmac
import secrets
from typing import Any

from pyramid.request import Request
from pyramid.response import Response

from ..settings import Settings
from .sessions import RotatingSerializer

REMEMBERED = 365 * 24 * 3600  # seconds
MOST_LOGINS = 8  # per browser; the latest are kept


def known_device(request: Request, server: str, login: str) -> str:
    """Return the id of a browser that has signed in with this login before; "" for any other client."""
    device = _read(request)
    login_hash = _login_hash(server, login)
    if any(hmac.compare_digest(login_hash, each) for each in device.get("logins", ())):
        return str(device["id"])
    return ""


def remember_device(request: Request, server: str, login: str) -> None:
    """Set the cookie that marks this browser as known for this login."""
    device = _read(request) or {"id": secrets.token_hex(8), "logins": []}
    login_hash = _login_hash(server, login)
    logins = [login_hash, *(each for each in device["logins"] if each != login_hash)][:MOST_LOGINS]
    value = _serializer(request).dumps({"id": device["id"], "logins": logins}).decode()

    def set_cookie(_request: Request, response: Response) -> None:
        secure = request.registry["settings"].secure
        response.set_cookie(
            _name(request), value, max_age=REMEMBERED, secure=secure, httponly=True, samesite="Lax"
        )

    request.add_response_callback(set_cookie)


def _read(request: Request) -> dict[str, Any]:
    value = request.cookies.get(_name(request))
    if not value:
        return {}
    try:
        found: dict[str, Any] = _serializer(request).loads(value.encode())
    except ValueError:
        return {}
    return found


def _serializer(request: Request) -> RotatingSerializer:
    settings: Settings = request.registry["settings"]
    return RotatingSerializer(settings.secret_keys, "mailganer.device")


def _name(request: Request) -> str:
    return "__Host-mailganer-device" if request.registry["settings"].secure else "mailganer-device"


def _login_hash(server: str, login: str) -> str:
    return hashlib.sha256(f"{server.lower()}\0{login.lower()}".encode()).hexdigest()[:16]
