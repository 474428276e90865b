"""Revocation of access to an account: browser sessions and API tokens."""

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ..backends import Backend
from ..models import Account, ApiToken, Identity
from .api_tokens import digest_of
from .web_sessions import end_web_sessions


def log_out_everywhere(session: Session, account: Account) -> None:
    """End every session and every API token of an account."""
    end_other_access(session, account)


def end_other_access(session: Session, account: Account, *, session_id: str = "", token: str = "") -> None:
    """End every session and API token of an account except the one of this request.

    A session that stays has to store the account's new ``session_epoch`` in its cookie.
    """
    account.session_epoch += 1
    end_web_sessions(session, account.id, but=session_id)
    kept = digest_of(token) if token else b""
    session.execute(delete(ApiToken).where(ApiToken.account_id == account.id, ApiToken.digest != kept))
    session.execute(
        update(ApiToken)
        .where(ApiToken.account_id == account.id)
        .values(session_epoch=account.session_epoch)
        .execution_options(synchronize_session="fetch")
    )
    session.flush()


def is_sign_in_identity(session: Session, account_id: int, proven: Backend) -> bool:
    """Return whether this mail account signs in to the account. Its other senders only send."""
    server, login = proven.identity()
    return (
        session.scalar(
            select(Identity.account_id).where(
                Identity.backend == proven.name, Identity.server == server, Identity.login == login
            )
        )
        == account_id
    )
