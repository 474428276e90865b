"""A browser that has proven itself once stays known by a signed cookie, until its session ends on the server.

And sentences for its next page.
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

SESSION_SECONDS = 14 * 24 * 3600  # a fortnight without a visit ends a session
REISSUE_SECONDS = 3600  # the cookie is renewed at most once an hour, not on every page


class RotatingSerializer:
    """Signs with the newest secret key and reads what any of today's keys has signed."""

    def __init__(self, secret_keys: tuple[str, ...], purpose: str = "mailganer.session") -> None:
        self._serializers = [
            SignedSerializer(key, purpose, "sha512", serializer=JSONSerializer()) for key in secret_keys
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


def cookie_name(settings: Settings) -> str:
    """Return the name of the session's cookie."""
    # The prefix makes browsers insist on Secure, our own host and the whole path.
    return "__Host-mailganer" if settings.secure else "mailganer"


def session_factory(settings: Settings) -> Callable[[Request], Any]:
    return BaseCookieSessionFactory(
        RotatingSerializer(settings.secret_keys),
        cookie_name=cookie_name(settings),
        max_age=SESSION_SECONDS,
        timeout=SESSION_SECONDS,
        reissue_time=REISSUE_SECONDS,
        secure=settings.secure,
        httponly=True,
        samesite="Lax",
    )


def enter(request: Request, account: Account) -> None:
    """Open a session for an account that has just proven itself: a new session, a new CSRF token."""
    _end(request)
    request.session["account"] = account.id
    request.session["id"] = accounts.open_web_session(request.dbsession, account, now=utcnow())
    request.session["epoch"] = account.session_epoch
    request.session.new_csrf_token()


def leave(request: Request) -> None:
    """End the session on the server too, so that a copy of its cookie opens nothing."""
    _end(request)
    request.session.new_csrf_token()


def end_other_access(request: Request, account_id: int) -> None:
    """End the account's sessions and API tokens, except the one that this request came with."""
    known = {} if request.path.startswith("/api/") else request.session
    token = request.headers.get("Authorization", "").partition(" ")[2].strip() if not known else ""
    # Read anew: proving a mail account has let go of what was read before.
    account = request.dbsession.get_one(Account, account_id, populate_existing=True)
    accounts.end_other_access(request.dbsession, account, session_id=str(known.get("id", "")), token=token)
    if known:
        known["epoch"] = account.session_epoch


def _end(request: Request) -> None:
    if session_id := request.session.get("id"):
        accounts.end_web_session(request.dbsession, session_id)
    request.session.invalidate()


def has_session(request: Request) -> bool:
    """Looks before opening the session, so that readers' pages set no cookie."""
    return any(name.endswith("mailganer") for name in request.cookies) or "session" in request.__dict__


@dataclass(frozen=True)
class Flash:
    text: str
    tone: str  # good, wait, bad, news


def flash(request: Request, text: str, tone: str = "good", place: str = "") -> None:
    """A sentence for the next page, already in the person's language: for its top, or for ``place`` on it."""
    request.session.flash([str(request.translate(text)), tone], place)


def flashes(request: Request, place: str = "") -> list[Flash]:
    if not has_session(request) or not request.session.peek_flash(place):
        return []
    return [Flash(text, tone) for text, tone in request.session.pop_flash(place)]
