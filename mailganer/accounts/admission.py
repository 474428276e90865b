"""Admission: sign-in with a verified mail account, account settings, and closing an account."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..backends import Backend, Registry, split_settings
from ..i18n.languages import SOURCE_LANGUAGE
from ..models import ACTIVE_STATES, Account, Campaign, Identity, Sender, state_changes
from ..vault import Vault
from .access import log_out_everywhere
from .senders import account_senders, mark_ready, new_sender, same_mail_account


@dataclass(frozen=True)
class SignIn:
    """Result of a sign-in: the account, the ready sender, and whether the account is new."""

    account: Account
    sender: Sender
    created: bool


def admit(
    session: Session,
    registry: Registry,
    vault: Vault,
    proven: Backend,
    *,
    now: datetime,
    plan: str,
    locale: str = SOURCE_LANGUAGE,
    timezone: str = "UTC",
) -> SignIn:
    """Return the account and the ready sender for a backend whose ``verify`` has just succeeded."""
    identity = _identity(session, proven)
    created = identity is None
    if identity is None:
        identity = _new_account(session, proven, now=now, plan=plan, locale=locale, timezone=timezone)
    account = identity.account
    sender = _sender(session, registry, vault, account, proven, now)
    session.flush()
    return SignIn(account, sender, created=created)


def _identity(session: Session, proven: Backend) -> Identity | None:
    """Return the identity by backend, server and login; never by an address alone."""
    server, login = proven.identity()
    return session.scalar(
        select(Identity).where(
            Identity.backend == proven.name, Identity.server == server, Identity.login == login
        )
    )


def _new_account(
    session: Session, proven: Backend, *, now: datetime, plan: str, locale: str, timezone: str
) -> Identity:
    server, login = proven.identity()
    try:
        with session.begin_nested():
            account = Account(email=proven.email, plan=plan, locale=locale, timezone=timezone, created_at=now)
            identity = Identity(
                account=account, backend=proven.name, server=server, login=login, created_at=now
            )
            session.add_all([account, identity])
            session.flush()
    except IntegrityError:  # the same user in two tabs: the other request was faster
        found = _identity(session, proven)
        if found is None:
            raise
        return found
    return identity


def _sender(
    session: Session, registry: Registry, vault: Vault, account: Account, proven: Backend, now: datetime
) -> Sender:
    for sender in account_senders(session, account.id):
        if sender.from_email == proven.email and same_mail_account(registry, vault, sender, proven):
            _store_password(vault, account, sender, proven, now)
            return sender
    sender = new_sender(vault, account.id, proven, now=now)
    session.add(sender)
    return sender


def _store_password(vault: Vault, account: Account, sender: Sender, proven: Backend, now: datetime) -> None:
    """Store the password that works now. A changed one ends all sessions: others may know the old one."""
    public, secrets = split_settings(proven.settings)
    known = vault.decrypt(account.id, sender.secrets) if sender.secrets else {}
    if known != secrets:
        sender.secrets = vault.encrypt(account.id, secrets)
        account.session_epoch += 1
    sender.settings = public
    mark_ready(sender, now=now)


def update_account(
    account: Account,
    *,
    locale: str | None = None,
    timezone: str | None = None,
    postal_address: str | None = None,
) -> None:
    """Change the settings of an account."""
    if locale is not None:
        account.locale = locale
    if timezone is not None:
        account.timezone = timezone
    if postal_address is not None:
        account.postal_address = postal_address.strip()[:500]


def _lock(session: Session, account: Account) -> None:
    """Lock senders, then the account, in the order lanes use: no window is opened, no sender is added."""
    senders = select(Sender.id).where(Sender.account_id == account.id).order_by(Sender.id)
    session.execute(senders.with_for_update(key_share=True))
    session.refresh(account, with_for_update={"key_share": True})


def close_account(session: Session, account: Account, *, now: datetime) -> None:
    """Close an account for good: cancel its campaigns, end all access, delete stored passwords."""
    _lock(session, account)
    under_way = select(Campaign).where(Campaign.account_id == account.id, Campaign.status.in_(ACTIVE_STATES))
    locked = under_way.order_by(Campaign.id).with_for_update(key_share=True)
    for campaign in session.scalars(locked.execution_options(populate_existing=True)):
        state_changes.cancel_campaign(session, campaign, now)
    for sender in account_senders(session, account.id):
        sender.deleted_at = now
        sender.secrets = None
    session.execute(delete(Identity).where(Identity.account_id == account.id))
    log_out_everywhere(session, account)
    account.closed_at = now
    session.flush()
