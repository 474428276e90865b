"""Senders: mail accounts for sending; add, change, verify again, delete, and their limits."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, object_session

from ..backends import Backend, Limits, Registry, secret_fields, split_settings, stored_settings
from ..errors import BackendError, Conflict, InputError, NotFound, SecretUnreadable, _
from ..models import (
    ACTIVE_STATES,
    Account,
    Campaign,
    CampaignStatus,
    Delay,
    Sender,
    SenderStatus,
    campaign_sender,
    state_changes,
)
from ..vault import Vault
from .access import is_sign_in_identity

LARGEST_LIMIT = 10_000_000
NAME_LENGTH = 200
UNSEEN_IN_NAMES = frozenset(map(chr, (*range(32), 127, 0x85, 0x2028, 0x2029)))


def account_senders(session: Session, account_id: int) -> Sequence[Sender]:
    """Return an account's senders, oldest first."""
    return session.scalars(
        select(Sender).where(Sender.account_id == account_id, Sender.deleted_at.is_(None)).order_by(Sender.id)
    ).all()


def sender_backend(sender: Sender, registry: Registry, vault: Vault) -> Backend:
    """Return the sender as a backend, ready to connect.

    Raise ``SecretUnreadable``, ``BackendMissing``, and ``InputError`` when the backend now requires other
    fields.
    """
    return registry.open(sender.backend, sender.from_email, _fields(sender, vault))


def changed_backend(
    sender: Sender, registry: Registry, vault: Vault, fields: Mapping[str, Any], email: str = ""
) -> Backend:
    """Return the sender's backend with other fields: verify it, then pass it to ``update_sender``.

    Empty secret fields keep their stored value.
    """
    secret = secret_fields(registry.get(sender.backend).Settings)
    given = {name: value for name, value in fields.items() if value not in (None, "") or name not in secret}
    try:
        known = _fields(sender, vault)
    except SecretUnreadable:
        known = dict(sender.settings)  # a new password is given, or will be asked for
    return registry.open(sender.backend, email or sender.from_email, known | given)


def create_sender(
    session: Session,
    registry: Registry,
    vault: Vault,
    account_id: int,
    *,
    backend: str,
    email: str,
    fields: Mapping[str, Any],
    now: datetime,
    name: str = "",
    from_name: str = "",
    proven: Backend | None = None,
) -> Sender:
    """Create a ready sender. Verifies it at the mail server, unless ``proven`` has just been verified.

    Raise ``NotFound`` when the account was closed in the meantime, ``Conflict`` for an existing sender.
    """
    check_names(name=name, from_name=from_name)
    if proven is None:
        proven = registry.open(backend, email, fields)
        proven.verify()
    _require_open(session, account_id)
    for other in account_senders(session, account_id):
        if other.from_email == proven.email and same_mail_account(registry, vault, other, proven):
            raise Conflict(_("${email} is already one of your senders.", mapping={"email": proven.email}))
    sender = new_sender(vault, account_id, proven, now=now, name=name, from_name=from_name)
    session.add(sender)
    session.flush()
    return sender


def _require_open(session: Session, account_id: int) -> None:
    """Lock the account against closing until this transaction ends: a closed account stores no password."""
    account = session.get(Account, account_id, with_for_update={"read": True}, populate_existing=True)
    if account is None or account.closed_at is not None:
        raise NotFound()


def new_sender(
    vault: Vault, account_id: int, proven: Backend, *, now: datetime, name: str = "", from_name: str = ""
) -> Sender:
    public, secrets = split_settings(proven.settings)
    return Sender(
        account_id=account_id,
        name=name.strip() or proven.email,
        from_name=from_name.strip(),
        from_email=proven.email,
        backend=proven.name,
        settings=public,
        secrets=vault.encrypt(account_id, secrets),
        status=SenderStatus.ready,
        created_at=now,
        verified_at=now,
    )


def update_sender(
    session: Session,
    vault: Vault,
    sender: Sender,
    *,
    now: datetime,
    name: str | None = None,
    from_name: str | None = None,
    proven: Backend | None = None,
) -> bool:
    """Change a sender. New settings are given as a ``proven`` backend (see ``changed_backend``).

    Return whether a password that signs in to the account has changed: others may know the old one, so the
    caller has to end their sessions and tokens (``end_other_access``).
    """
    check_names(name=name or "", from_name=from_name or "")
    changed = False
    if name is not None:
        sender.name = name.strip() or sender.from_email
    if from_name is not None:
        sender.from_name = from_name.strip()
    if proven is not None:
        public, secrets = split_settings(proven.settings)
        changed = secrets != _known_secrets(sender, vault) and is_sign_in_identity(
            session, sender.account_id, proven
        )
        sender.from_email = proven.email
        sender.settings = public
        sender.secrets = vault.encrypt(sender.account_id, secrets)
        mark_ready(sender, now=now)
    session.flush()
    return changed


def _known_secrets(sender: Sender, vault: Vault) -> dict[str, str] | None:
    """Return the stored secrets, or None if they cannot be decrypted any more."""
    try:
        return vault.decrypt(sender.account_id, sender.secrets) if sender.secrets else {}
    except SecretUnreadable:
        return None


def check_names(**names: str) -> None:
    """Validate names for email headers: one line, no control characters, limited length."""
    wrong = {
        field: _("Enter one line of at most ${length} characters.", mapping={"length": NAME_LENGTH})
        for field, value in names.items()
        if len(value) > NAME_LENGTH or UNSEEN_IN_NAMES & set(value)
    }
    if wrong:
        raise InputError(wrong)


def mark_ready(sender: Sender, *, now: datetime) -> None:
    """Mark a sender as accepted by its mail server. One that rests because of its quota keeps resting."""
    if sender.status is not SenderStatus.sleeping or sender.failures:
        _clear_recorded_end(sender)
        sender.status, sender.sleeps_until = SenderStatus.ready, None
    sender.error = None
    sender.failures = 0
    sender.verified_at = now


def mark_failing(session: Session, sender: Sender, error: BackendError, *, now: datetime) -> None:
    """Mark a sender as refused by its mail server: it sends nothing until a user has fixed it."""
    state_changes.fail(session, sender.id, error.message, now)
    session.refresh(sender)


def delete_sender(session: Session, sender: Sender, *, now: datetime) -> None:
    """Delete a sender and its password, from drafts too. Raise ``Conflict`` while a campaign needs it."""
    needing = session.scalar(
        select(func.count())
        .select_from(Campaign)
        .join(campaign_sender, campaign_sender.c.campaign_id == Campaign.id)
        .where(
            campaign_sender.c.sender_id == sender.id,
            Campaign.status.in_(ACTIVE_STATES),
        )
    )
    if needing:
        raise Conflict(
            _("An unfinished campaign uses this sender. Cancel the campaign or wait until it is finished.")
        )
    drafts = select(Campaign.id).where(
        Campaign.account_id == sender.account_id, Campaign.status == CampaignStatus.draft
    )
    session.execute(
        delete(campaign_sender).where(
            campaign_sender.c.sender_id == sender.id, campaign_sender.c.campaign_id.in_(drafts)
        )
    )
    sender.deleted_at = now
    sender.secrets = None
    session.flush()


def same_mail_account(registry: Registry, vault: Vault, sender: Sender, proven: Backend) -> bool:
    """Return whether a stored sender and a backend are the same login at the same server."""
    if sender.backend != proven.name:
        return False
    try:
        known = registry.open(sender.backend, sender.from_email, _fields(sender, vault))
    except (InputError, SecretUnreadable):
        return False  # cannot be compared, so treat it as another
    return known.identity() == proven.identity()


def _fields(sender: Sender, vault: Vault) -> dict[str, Any]:
    secrets = vault.decrypt(sender.account_id, sender.secrets) if sender.secrets else {}
    return dict(sender.settings) | secrets


# --- limits ------------------------------------------------------------------------------------------------


class KEEP_UNCHANGED(Enum):
    """Marker of an argument that is not given; None stands for the backend's default."""

    it = None


def limit_sender(
    sender: Sender,
    *,
    per_day: int | KEEP_UNCHANGED | None = KEEP_UNCHANGED.it,
    per_second: float | KEEP_UNCHANGED | None = KEEP_UNCHANGED.it,
    max_connections: int | KEEP_UNCHANGED | None = KEEP_UNCHANGED.it,
) -> None:
    """Set a sender's own limits; None means the backend's. Raise ``InputError`` for invalid ones."""
    given = {"per_day": per_day, "per_second": per_second, "max_connections": max_connections}
    given_settings = {name: value for name, value in given.items() if value is not KEEP_UNCHANGED.it}
    wrong = {
        name: _("Enter a number greater than 0, or leave empty for the default.")
        for name, value in given_settings.items()
        if isinstance(value, int | float) and not 0 < value <= LARGEST_LIMIT
    }
    if wrong:
        raise InputError(wrong)
    for name, value in given_settings.items():
        setattr(sender, name, value)
    if "per_day" in given_settings and sender.status is SenderStatus.sleeping and not sender.failures:
        # It rests because its daily limit was reached; the lane checks again, and lets it rest if needed.
        _clear_recorded_end(sender)
        sender.status, sender.sleeps_until = SenderStatus.ready, None


def sender_limits(sender: Sender, registry: Registry) -> Limits:
    """Return the limits of a sender: its own or the backend's, never above what its server accepts.

    ``per_day`` counts emails in any 24 hours. For the number used, see
    ``quota.plan_and_sender_usage``.
    """
    usual = _usual_limits(sender, registry)
    own = usual.per_day if sender.per_day is None else sender.per_day
    known = [limit for limit in (own, sender.learned_per_day) if limit is not None]
    paces = [pace for pace in (sender.per_second or usual.per_second, sender.slowed_to) if pace]
    return Limits(
        per_day=min(known, default=None),
        per_second=min(paces, default=None),
        max_connections=sender.max_connections or usual.max_connections,
        per_connection=usual.per_connection,
    )


def day_limit(sender: Sender, registry: Registry) -> int | None:
    """Return the emails allowed in any 24 hours; None if no limit is known."""
    return sender_limits(sender, registry).per_day


def _usual_limits(sender: Sender, registry: Registry) -> Limits:
    if sender.backend not in registry.names:
        return Limits()
    kind = registry.get(sender.backend)
    try:  # a provider's limits do not depend on the password
        settings = stored_settings(kind.Settings, sender.settings)
        options = registry.options.get(kind.name, {})
        return kind(sender.from_email, settings, registry.network, options).own_limits()
    except InputError:  # the operator no longer allows this server
        return kind.limits


def _clear_recorded_end(sender: Sender) -> None:
    """Set the recorded end of the rest to unknown: it ends sooner than planned."""
    session = object_session(sender)
    if session is not None and sender.sleeps_until is not None:
        cut = update(Delay).where(Delay.sender_id == sender.id, Delay.until == sender.sleeps_until)
        session.execute(cut.values(until=None), execution_options={"synchronize_session": False})
