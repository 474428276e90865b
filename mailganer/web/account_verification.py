"""Sign-in: verification of a mail account at its server, within the rate limits."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from pyramid.request import Request

from .. import accounts
from ..accounts import SignIn
from ..backends import Backend, new_mailbox
from ..db import utcnow
from .known_devices import known_device, remember_device
from .outside_calls import ENDS_BEFORE, OutsideCalls, ask
from .rate_limits import RateLimiter

log = structlog.get_logger(__name__)

T = TypeVar("T")


def end_transaction(request: Request) -> None:
    """End the transaction before a call to a mail server, which may take half a minute.

    Loaded objects stay readable, but changes to them are not saved: load again what is to be changed. On
    SQLite an open write transaction would block all other writers for that time.
    """
    request.dbsession.flush()
    request.dbsession.expunge_all()
    request.tm.commit()
    request.tm.begin()
    for name in ("account", "viewer"):
        request.__dict__.pop(name, None)


def verify_account(request: Request, backend: Backend) -> Backend:
    """Verify at the mail server that this account can send, within the rate limits and outside a transaction.

    Return the verified backend. Use the returned one: after a page has waited, this function runs a second
    time. Raise ``Throttled`` and what ``Backend.verify`` raises.
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
    """Wrap ``work`` so that the connections of ``backend`` end before the deadline of the call."""
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
    """Run ``work`` in the pool of outside calls; see ``outside_calls.ask``."""
    return ask(request, work, release=end_transaction, count=count, device=device, notice=notice)


def sign_in(request: Request, name: str, email: str, fields: Mapping[str, Any], timezone: str = "") -> SignIn:
    """Sign in, for pages and API: rate-limited, verified at the mail server, then the account is opened.

    Raise ``InputError``, ``Throttled`` and what ``Backend.verify`` raises. Start no session: see
    ``sign_in_session``.
    """
    registry = request.registry
    backend = registry["backends"].open(name, new_mailbox(email), fields)
    backend = verify_account(request, backend)
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
    """Return ``path`` if it is a path on this site, else ``default``. Prevents open redirects."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\")):
        return default
    parts = urlsplit(path)
    unsafe = parts.scheme or parts.netloc or "\\" in path or any(ord(character) < 33 for character in path)
    return default if unsafe else path
