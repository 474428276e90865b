"""Browser sessions: opened at sign-in, ended at sign-out, stored by the hash of a random id."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ..models import Account, WebSession

LONGEST_SESSION = timedelta(days=180)
"""A session ends then even if it is used every day: its row is deleted."""


def open_web_session(session: Session, account: Account, *, now: datetime) -> str:
    """Open a session of ``account``. Return its id, for the signed cookie of one browser."""
    session_id = secrets.token_urlsafe(24)
    session.add(WebSession(key=_key(session_id), account_id=account.id, created_at=now))
    session.flush()
    return session_id


def account_of_web_session(session: Session, account_id: int, session_id: str) -> Account | None:
    """Return the account if this session of it is still open, else None."""
    return session.scalar(
        select(Account)
        .join(WebSession, WebSession.account_id == Account.id)
        .where(Account.id == account_id, WebSession.key == _key(session_id), Account.closed_at.is_(None))
    )


def end_web_session(session: Session, session_id: str) -> None:
    """End one session, so that copies of its cookie become invalid."""
    session.execute(delete(WebSession).where(WebSession.key == _key(session_id)))


def end_web_sessions(session: Session, account_id: int, *, but: str = "") -> None:
    """End every session of an account, except the one with the id ``but``."""
    session.execute(
        delete(WebSession).where(WebSession.account_id == account_id, WebSession.key != _key(but))
    )


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()
