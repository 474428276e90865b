"""Operators: accounts of those who run the installation. No plan limits apply to them."""

from sqlalchemy import func, select
from sqlalchemy.orm import object_session

from ..models import Account
from ..settings import Settings


def is_operator(account: Account, settings: Settings) -> bool:
    """Return whether ``mailganer.operators`` names this account.

    An address can sign in at more than one mail server, and each is an account of its own. Only the oldest
    open one counts: an attacker with a mail server of their own gains nothing by using the address.
    """
    address = account.email.lower()
    if address not in settings.operators:
        return False
    session = object_session(account)
    if session is None:
        raise ValueError("An account outside a session cannot be compared with the others of its address.")
    oldest = select(func.min(Account.id)).where(
        func.lower(Account.email) == address, Account.closed_at.is_(None)
    )
    return session.scalar(oldest) == account.id
