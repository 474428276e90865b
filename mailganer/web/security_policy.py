"""Authentication and permissions: by cookie on pages, by bearer token in the API."""

from dataclasses import dataclass

from pyramid.request import Request
from pyramid.security import NO_PERMISSION_REQUIRED

from .. import accounts
from ..db import READS, utcnow
from ..models import Account
from .rate_limits import RateLimiter
from .sessions import has_session

PUBLIC = NO_PERMISSION_REQUIRED
"""Permission of a view that needs no sign-in: ``@view_config(..., permission=PUBLIC)``."""

SIGNED_IN = "signed in"


@dataclass(frozen=True)
class Viewer:
    """The signed-in user as far as a page needs it; outlives the database session."""

    id: int
    email: str
    locale: str
    timezone: str


class SecurityPolicy:
    """Security policy with one permission: signed in. Ownership is checked when objects are loaded."""

    def identity(self, request: Request) -> Account | None:
        account: Account | None = request.account
        return account

    def authenticated_userid(self, request: Request) -> int | None:
        return request.account.id if request.account else None

    def permits(self, request: Request, _context: object, _permission: str) -> bool:
        return request.account is not None

    def remember(self, _request: Request, _userid: int, **_options: object) -> list[tuple[str, str]]:
        return []  # sessions are started by sign_in_session()

    def forget(self, _request: Request, **_options: object) -> list[tuple[str, str]]:
        return []  # sessions are ended by leave()


def is_api(request: Request) -> bool:
    path: str = request.path
    return path.startswith("/api/")


def needs_csrf(request: Request) -> bool:
    """Return whether a foreign page could forge this request: not if it needs a bearer token."""
    return not is_api(request)


def account_of(request: Request) -> Account | None:
    """Return the account of the request, or None. Pages use cookies only, the API bearer tokens only."""
    if is_api(request):
        return _account_by_token(request)
    known = request.session if has_session(request) else {}
    if known.get("account") is None:
        return None
    account = accounts.account_of_web_session(request.dbsession, known["account"], str(known.get("id", "")))
    if account is None or account.session_epoch != known.get("epoch"):
        return None
    return account


def _account_by_token(request: Request) -> Account | None:
    kind, _space, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return None
    writing = request.method not in READS
    account = accounts.account_of_token(request.dbsession, token.strip(), now=utcnow(), remember_use=writing)
    if account is None:
        request.account = None  # the error page that follows must not count the same token again
        throttle: RateLimiter = request.registry["throttle"]
        throttle.check_token(request.remote_addr)
    else:
        request.registry["body_limits"].note_token(token.strip())
    return account


def viewer_of(request: Request) -> Viewer | None:
    account = request.account
    return account and Viewer(account.id, account.email, account.locale, account.timezone)
