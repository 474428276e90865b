"""API tokens: 256 random bits, shown once; only their SHA-256 is stored."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import InputError, _
from ..models import Account, ApiToken, owned

PREFIX = "mg_"  # lets users and secret scanners recognize a leaked token
USED_RECENTLY = timedelta(hours=1)  # "last used" need not be exact, so not every request writes


def create_api_token(session: Session, account: Account, *, name: str, now: datetime) -> tuple[str, ApiToken]:
    """Create a token. Return it with its row. The token cannot be shown again."""
    name = name.strip()
    if not name or len(name) > 200:
        raise InputError({"name": _("Enter a token name of at most 200 characters.")})
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        account_id=account.id,
        name=name,
        digest=digest_of(token),
        session_epoch=account.session_epoch,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return token, row


def account_of_token(
    session: Session, token: str, *, now: datetime, remember_use: bool = True
) -> Account | None:
    """Return the account of a token, or None. Logging out everywhere and changing a password end tokens."""
    row = session.scalar(select(ApiToken).where(ApiToken.digest == digest_of(token)))
    if row is None or row.account.closed_at or row.session_epoch != row.account.session_epoch:
        return None
    if remember_use and (row.last_used_at is None or now - row.last_used_at > USED_RECENTLY):
        row.last_used_at = now
    return row.account


def account_tokens(session: Session, account_id: int) -> Sequence[ApiToken]:
    """Return an account's valid tokens, newest first."""
    return session.scalars(
        select(ApiToken)
        .join(Account)
        .where(ApiToken.account_id == account_id, ApiToken.session_epoch == Account.session_epoch)
        .order_by(ApiToken.id.desc())
    ).all()


def delete_api_token(session: Session, account_id: int, token_id: int) -> None:
    """Delete a token. Raise ``NotFound``."""
    session.delete(owned(session, ApiToken, account_id, token_id))
    session.flush()


def digest_of(token: str) -> bytes:
    """Return the stored digest of a token."""
    return hashlib.sha256(token.encode()).digest()
