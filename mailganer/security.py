"""Who asks, and what a browser may do with our pages: sessions, API tokens, CSRF, throttles, headers.

Pages know a person by a signed cookie, the API by a bearer token, never the other way round: a foreign page
can make a browser send our cookie, so a cookie opens nothing under ``/api``.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode, urlsplit

import limits
import structlog
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from pyramid.config import Configurator
from pyramid.csrf import SessionCSRFStoragePolicy
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.session import BaseCookieSessionFactory, JSONSerializer, SignedSerializer
from sqlalchemy import Engine

from . import accounts
from .accounts import SignIn
from .backends import Backend
from .db import READS, make_sessions, utcnow
from .errors import Throttled, _
from .models import Account
from .settings import Settings

log = structlog.get_logger(__name__)

PUBLIC = NO_PERMISSION_REQUIRED
"""The permission of a view that needs no sign-in: ``@view_config(..., permission=PUBLIC)``."""

SIGNED_IN = "signed in"
SESSION_SECONDS = 14 * 24 * 3600  # a fortnight without a visit ends a session
REISSUE_SECONDS = 3600  # the cookie is renewed at most once an hour, not on every page

PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# A letter is a stranger's HTML: it may show pictures and styles, run nothing, and belongs to no origin.
LETTER_POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src data: http: https:",
        "style-src 'unsafe-inline'",
        "font-src data: https:",
        "frame-ancestors 'self'",
        "sandbox allow-popups allow-popups-to-escape-sandbox",
    )
)


def includeme(config: Configurator) -> None:
    settings: Settings = config.registry["settings"]
    config.set_session_factory(session_factory(settings))
    config.set_csrf_storage_policy(SessionCSRFStoragePolicy())
    config.set_default_csrf_options(require_csrf=True, callback=needs_csrf)
    # Behind a proxy that does not pass the host on, forms still come from our own address.
    config.add_settings({"pyramid.csrf_trusted_origins": urlsplit(settings.public_url).netloc})
    config.set_security_policy(Policy())
    config.set_default_permission(SIGNED_IN)
    config.add_request_method(account_of, name="account", reify=True)
    config.add_request_method(viewer_of, name="viewer", reify=True)
    config.add_request_method(flash, name="flash")
    config.add_request_method(flashes, name="flashes")
    config.add_tween("mailganer.security.headers_tween")
    config.registry["throttle"] = Throttle(settings.broker_url, _tries(config.registry["engine"]))


# --- sessions ----------------------------------------------------------------------------------------------


class RotatingSerializer:
    """Signs with the newest secret key and reads what any of today's keys has signed."""

    def __init__(self, secret_keys: tuple[str, ...]) -> None:
        self._serializers = [
            SignedSerializer(key, "mailganer.session", "sha512", serializer=JSONSerializer())
            for key in secret_keys
        ]

    def dumps(self, value: Any) -> bytes:
        return self._serializers[0].dumps(value)

    def loads(self, text: bytes) -> Any:
        for serializer in self._serializers[:-1]:
            try:
                return serializer.loads(text)
            except ValueError:
                continue
        return self._serializers[-1].loads(text)


def session_factory(settings: Settings) -> Callable[[Request], Any]:
    return BaseCookieSessionFactory(
        RotatingSerializer(settings.secret_keys),
        # The prefix makes browsers insist on Secure, our own host and the whole path.
        cookie_name="__Host-mailganer" if settings.secure else "mailganer",
        max_age=SESSION_SECONDS,
        timeout=SESSION_SECONDS,
        reissue_time=REISSUE_SECONDS,
        secure=settings.secure,
        httponly=True,
        samesite="Lax",
    )


def enter(request: Request, account: Account) -> None:
    """Opens a session for an account that has just proven itself: a new session, a new CSRF token."""
    request.session.invalidate()
    request.session["account"] = account.id
    request.session["epoch"] = account.session_epoch
    request.session.new_csrf_token()


def leave(request: Request) -> None:
    """Ends the session."""
    request.session.invalidate()
    request.session.new_csrf_token()


# --- who asks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Viewer:
    """What a page needs to know about the person who looks at it; outlives the database session."""

    id: int
    email: str
    locale: str
    timezone: str


class Policy:
    """Signed in or not: there is nothing in between. What belongs to whom is decided by loading."""

    def identity(self, request: Request) -> Account | None:
        return request.account

    def authenticated_userid(self, request: Request) -> int | None:
        return request.account.id if request.account else None

    def permits(self, request: Request, _context: object, _permission: str) -> bool:
        return request.account is not None

    def remember(self, _request: Request, _userid: int, **_options: object) -> list[tuple[str, str]]:
        return []  # sessions are opened by enter()

    def forget(self, _request: Request, **_options: object) -> list[tuple[str, str]]:
        return []  # and ended by leave()


def is_api(request: Request) -> bool:
    return request.path.startswith("/api/")


def needs_csrf(request: Request) -> bool:
    """Whether a foreign page could forge this request: not when it needs a bearer token."""
    return not is_api(request)


def account_of(request: Request) -> Account | None:
    """The account that asks, or None. Cookies count on pages only, bearer tokens on the API only."""
    if is_api(request):
        return _account_by_token(request)
    account_id = request.session.get("account") if _has_session(request) else None
    if account_id is None:
        return None
    account = request.dbsession.get(Account, account_id)
    if account is None or account.closed_at or account.session_epoch != request.session.get("epoch"):
        return None
    return account


def _has_session(request: Request) -> bool:
    """Looks before opening the session, so that readers' pages set no cookie."""
    return any(name.endswith("mailganer") for name in request.cookies) or "session" in request.__dict__


def _account_by_token(request: Request) -> Account | None:
    kind, _space, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return None
    writing = request.method not in READS
    return accounts.account_of_token(request.dbsession, token.strip(), now=utcnow(), remember_use=writing)


def viewer_of(request: Request) -> Viewer | None:
    account = request.account
    return account and Viewer(account.id, account.email, account.locale, account.timezone)


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


def prove(request: Request, backend: Backend) -> None:
    """Asks the mail server whether this account can send, within the throttles and outside a transaction.

    Raises ``Throttled`` and what ``Backend.verify`` raises.
    """
    throttle: Throttle = request.registry["throttle"]
    server, login = backend.identity()
    throttle.check_login(request.remote_addr, login, server)
    release(request)
    backend.verify()
    throttle.forgive(request.remote_addr, login, server)


def sign_in(request: Request, name: str, email: str, fields: Mapping[str, Any], timezone: str = "") -> SignIn:
    """Signing in, for pages and API alike: throttled, proven at the mail server, then the account is opened.

    Raises ``InputError``, ``Throttled`` and what ``Backend.verify`` raises. Opens no session: see ``enter``.
    """
    registry = request.registry
    backend = registry["backends"].open(name, email, fields)
    prove(request, backend)
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
    unsafe = parts.scheme or parts.netloc or "\\" in path or any(ord(letter) < 33 for letter in path)
    return default if unsafe else path


# --- messages shown once -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flash:
    text: str
    tone: str  # good, wait, bad, news


def flash(request: Request, text: str, tone: str = "good") -> None:
    """A sentence for the top of the next page, already in the person's language."""
    request.session.flash([str(request.translate(text)), tone])


def flashes(request: Request) -> list[Flash]:
    if not _has_session(request) or not request.session.peek_flash():
        return []
    return [Flash(text, tone) for text, tone in request.session.pop_flash()]


# --- throttles ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """So many tries in so many seconds."""

    name: str
    tries: int
    seconds: int


# Wide enough for a family behind one address and for typing mistakes, narrow enough that guessing passwords
# or scanning ports through us is not worth it. Counted before the try, so that fifty at once count fifty, and
# taken back when it succeeds.
PER_LOGIN = Rule("login", 10, 15 * 60)
PER_ADDRESS = Rule("address", 40, 10 * 60)
PER_HOST = Rule("host", 300, 10 * 60)
ALTOGETHER = Rule("all", 2000, 10 * 60)
# Successes as well: a server of one's own that takes any password makes an account with every try.
FROM_ONE_PLACE = Rule("place", 400, 10 * 60)
PER_PAYER = Rule("payer", 30, 10 * 60)  # voucher codes are long, and nobody types thirty of them


class Throttle:
    """Counts tries in Redis when there is one, else in the database where machines may be several, else here.

    Never fails because one of these is gone.
    """

    def __init__(self, broker_url: str, database: Storage | None = None) -> None:
        stores = [_redis(broker_url)] if _is_redis(broker_url) else []
        stores += [database] if database else []
        self._shared = [_Shared(FixedWindowRateLimiter(store)) for store in stores]
        self._memory = FixedWindowRateLimiter(MemoryStorage())

    def check_login(self, address: str | None, login: str, host: str) -> None:
        """Counts one try to sign in. Raises ``Throttled``.

        What is refused for a narrow rule does not count for a wider one: nobody uses up everybody's tries.
        """
        self.hit(FROM_ONE_PLACE, network(address))
        for rule, key in _login_keys(address, login, host):
            self.hit(rule, key)

    def check_payment(self, account_id: int) -> None:
        """Counts one try to pay. Raises ``Throttled``."""
        self.hit(PER_PAYER, str(account_id))

    def forgive(self, address: str | None, login: str, host: str) -> None:
        """A try succeeded: it does not count, nor do the mistakes before it count against this login."""
        for rule, key in _login_keys(address, login, host):
            take_back = _forget if rule is PER_LOGIN else _take_back
            self._either(partial(take_back, rule=rule, key=key))

    def hit(self, rule: Rule, key: str) -> None:
        """Counts one try under ``key``. Raises ``Throttled`` when there were too many."""
        item = _item(rule)
        if self._either(lambda limiter: limiter.hit(item, rule.name, key)):
            return
        resets = self._either(lambda limiter: limiter.get_window_stats(item, rule.name, key).reset_time)
        seconds = max(1, round(resets - time.time()))
        raise Throttled(
            _("Too many tries in a short time. Wait ${minutes} min, then try again.",
              mapping={"minutes": -(-seconds // 60)}),
            retry_after=seconds,
        )  # fmt: skip

    def _either(self, do: Callable[[FixedWindowRateLimiter], Any]) -> Any:
        for store in self._shared:
            if time.monotonic() < store.rests_until:
                continue
            try:
                return do(store.limiter)
            except Exception as error:  # whatever its client raises: a lost Redis must not lock anybody out
                store.rests_until = time.monotonic() + STORE_RESTS
                log.warning("throttle.store_lost", error=str(error))
        return do(self._memory)


STORE_RESTS = 10  # seconds in which one that did not answer is not asked again


@dataclass
class _Shared:
    """A place where several processes count together."""

    limiter: FixedWindowRateLimiter
    rests_until: float = 0.0


def _tries(engine: Engine) -> Storage | None:
    return accounts.DatabaseTries(make_sessions(engine)) if engine.dialect.name == "postgresql" else None


def _login_keys(address: str | None, login: str, host: str) -> Sequence[tuple[Rule, str]]:
    """What a try to sign in counts under, the narrowest first."""
    server = host.lower()
    return (
        (PER_ADDRESS, network(address)),
        (PER_LOGIN, f"{server} {login.lower()}"),
        (PER_HOST, server),
        (ALTOGETHER, "all"),
    )


def _take_back(limiter: FixedWindowRateLimiter, rule: Rule, key: str) -> None:
    """One try less, unless its window has ended meanwhile."""
    kept = _item(rule).key_for(rule.name, key)
    if limiter.storage.get(kept) > 0:
        limiter.storage.incr(kept, rule.seconds, -1)


def _forget(limiter: FixedWindowRateLimiter, rule: Rule, key: str) -> None:
    limiter.clear(_item(rule), rule.name, key)


def _item(rule: Rule) -> limits.RateLimitItem:
    return limits.RateLimitItemPerSecond(rule.tries, rule.seconds)


def _is_redis(url: str) -> bool:
    return url.startswith(("redis://", "rediss://", "redis+socket://"))


def _redis(url: str) -> Storage:
    return RedisStorage(
        url.replace("redis+socket://", "redis+unix://"), socket_timeout=1, socket_connect_timeout=1
    )


def network(address: str | None) -> str:
    """What counts as one place: an IPv4 address, or the /64 that an IPv6 customer gets."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


# --- headers -----------------------------------------------------------------------------------------------


def headers_tween(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Security headers on every answer that does not bring its own."""
    headers = security_headers(registry["settings"])

    def tween(request: Request) -> Response:
        make_readable(request)
        response = handler(request)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if response.content_type == "text/html" and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"  # the next person at this computer
        return response

    return tween


def security_headers(settings: Settings) -> dict[str, str]:
    headers = {
        "Content-Security-Policy": PAGE_POLICY,
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
    kind = environ.get("CONTENT_TYPE", "")
    if kind.lower().startswith("multipart/") and not re.search(r"boundary=\"?[\x21-\x7e]", kind):
        environ["CONTENT_TYPE"] = "application/octet-stream"


def letter_response(request: Request, html: str) -> Response:
    """A letter as a page of its own, for an ``<iframe sandbox src=...>`` or for a reader's browser."""
    response = Response(html, content_type="text/html", charset="utf-8")
    response.headers["Content-Security-Policy"] = LETTER_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
