"""Sessions: a signed cookie identifies a signed-in browser until the session ends on the server.

Also stores messages for the next page (flash messages).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyramid.request import Request
from pyramid.session import BaseCookieSessionFactory, JSONSerializer, SignedSerializer

from .. import accounts
from ..db import utcnow
from ..models import Account
from ..settings import Settings

SESSION_SECONDS = 14 * 24 * 3600  # a session ends after two weeks without a request
REISSUE_SECONDS = 3600  # renew the cookie at most once an hour, not on every page


class RotatingSerializer:
    """Sign with the newest secret key; accept signatures of any current key."""

    def __init__(self, secret_keys: tuple[str, ...], purpose: str = "mailganer.session") -> None:
        self._serializers = [
            SignedSerializer(key, purpose, "sha512", serializer=JSONSerializer()) for key in secret_keys
        ]

    def dumps(self, value: Any) -> bytes:
        signed: bytes = self._serializers[0].dumps(value)
        return signed

    def loads(self, text: bytes) -> Any:
        for serializer in self._serializers[:-1]:
            try:
                return serializer.loads(text)
            except ValueError:
                continue
        return self._serializers[-1].loads(text)


def cookie_name(settings: Settings) -> str:
    """Return the name of the session cookie."""
    # The prefix makes browsers require Secure, our own host and the path "/" (cookie prefix __Host-).
    return "__Host-mailganer" if settings.secure else "mailganer"


def session_factory(settings: Settings) -> Callable[[Request], Any]:
    factory: Callable[[Request], Any] = BaseCookieSessionFactory(
        RotatingSerializer(settings.secret_keys),
        cookie_name=cookie_name(settings),
        max_age=SESSION_SECONDS,
        timeout=SESSION_SECONDS,
        reissue_time=REISSUE_SECONDS,
        secure=settings.secure,
        httponly=True,
        samesite="Lax",
    )
    return factory


def sign_in_session(request: Request, account: Account) -> None:
    """Start a new session with a new CSRF token for an account that has just been verified."""
    _end(request)
    request.session["account"] = account.id
    request.session["id"] = accounts.open_web_session(request.dbsession, account, now=utcnow())
    request.session["epoch"] = account.session_epoch
    request.session.new_csrf_token()


def sign_out_session(request: Request) -> None:
    """End the session on the server too, so that a copy of its cookie is worthless."""
    _end(request)
    request.session.new_csrf_token()


def end_other_access(request: Request, account_id: int) -> None:
    """End the account's sessions and API tokens, except the one of this request."""
    known = {} if request.path.startswith("/api/") else request.session
    token = request.headers.get("Authorization", "").partition(" ")[2].strip() if not known else ""
    # Reload: verifying the mail account has expunged what was loaded before.
    account = request.dbsession.get_one(Account, account_id, populate_existing=True)
    accounts.end_other_access(request.dbsession, account, session_id=str(known.get("id", "")), token=token)
    if known:
        known["epoch"] = account.session_epoch


def _end(request: Request) -> None:
    if session_id := request.session.get("id"):
        accounts.end_web_session(request.dbsession, session_id)
    request.session.invalidate()


def has_session(request: Request) -> bool:
    """Return whether there is a session, without opening one, so that recipient pages set no cookie."""
    return any(name.endswith("mailganer") for name in request.cookies) or "session" in request.__dict__


@dataclass(frozen=True)
class Flash:
    text: str
    tone: str  # good, wait, bad, news


def flash(request: Request, text: str, tone: str = "good", place: str = "") -> None:
    """Store a message for the next page in the user's language: for its top, or for ``place`` on it."""
    request.session.flash([str(request.translate(text)), tone], place)


def flashes(request: Request, place: str = "") -> list[Flash]:
    if not has_session(request) or not request.session.peek_flash(place):
        return []
    return [Flash(text, tone) for text, tone in request.session.pop_flash(place)]
