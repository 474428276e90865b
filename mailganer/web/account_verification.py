"""Signing in: a mail server is asked whether somebody can send, within the throttles."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from pyramid.request import Request

from .. import accounts
from ..accounts import SignIn
from ..backends import Backend
from ..db import utcnow
from .known_devices import known_device, remember_device
from .outside_calls import ENDS_BEFORE, OutsideCalls, ask
from .rate_limits import RateLimiter

log = structlog.get_logger(__name__)

T = TypeVar("T")


def release(request: Request) -> None:
    """Ends the transaction before a talk with a mail server, which may take half a minute.

    What was loaded can still be read, but changes to it go nowhere: load again what is to be changed. On
    SQLite an open writer would keep everybody else waiting for that long.
    """
    request.dbsession.flush()
    request.dbsession.expunge_all()
    request.tm.commit()
    request.tm.begin()
    for name in ("account", "viewer"):
        request.__dict__.pop(name, None)


def prove(request: Request, backend: Backend) -> Backend:
    """Ask the mail server whether this account can send, within the throttles and outside a transaction.

    Return the backend that was verified: take this one, since a page that had to wait comes here twice.
    Raises ``Throttled`` and what ``Backend.verify`` raises.
    """
    throttle: RateLimiter = request.registry["throttle"]
    server, login = backend.identity()
    address, device = request.remote_addr, known_device(request, server, login)

    def verify() -> Backend:
        backend.verify()
        throttle.forgive(address, login, server, device)
        return backend

    def count() -> None:
        throttle.check_login(address, login, server, device)

    return ask_outside(request, in_time(request, backend, verify), count=count, device=device)


def in_time(request: Request, backend: Backend, work: Callable[[], T]) -> Callable[[], T]:
    """Return ``work`` with the connections of ``backend`` ending before a call has to be over."""
    calls: OutsideCalls = request.registry["outside"]
    seconds = calls.seconds

    def bounded() -> T:
        backend.network = replace(backend.network, until=time.monotonic() + seconds - ENDS_BEFORE)
        return work()

    return bounded


def ask_outside(
    request: Request,
    work: Callable[[], T],
    count: Callable[[], None] = lambda: None,
    *,
    device: str = "",
    notice: bool = False,
) -> T:
    """Run ``work`` in the pool of outside calls; see ``outside.ask``."""
    return ask(request, work, release=release, count=count, device=device, notice=notice)


def sign_in(request: Request, name: str, email: str, fields: Mapping[str, Any], timezone: str = "") -> SignIn:
    """Signing in, for pages and API alike: throttled, proven at the mail server, then the account is opened.

    Raises ``InputError``, ``Throttled`` and what ``Backend.verify`` raises. Opens no session: see ``enter``.
    """
    registry = request.registry
    backend = registry["backends"].open(name, email, fields)
    backend = prove(request, backend)
    if not request.path_info.startswith("/api/"):
        remember_device(request, *backend.identity())
    opened = accounts.admit(
        request.dbsession,
        registry["backends"],
        registry["vault"],
        backend,
        now=utcnow(),
        plan=registry["settings"].plans[0].name,
        locale=request.locale_name,
        timezone=timezone or "UTC",
    )
    log.info("account.signed_in", account=opened.account.id, created=opened.created, ip=request.remote_addr)
    return opened


def local_path(path: str | None, default: str) -> str:
    """``path`` if it leads nowhere but to ourselves, else ``default``."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\")):
        return default
    parts = urlsplit(path)
    unsafe = parts.scheme or parts.netloc or "\\" in path or any(ord(email) < 33 for email in path)
    return default if unsafe else path
