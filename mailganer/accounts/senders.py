"""The mail accounts letters leave through: add, change, prove again, remove, and what each has used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..backends import Backend, Registry, secret_fields, split_settings
from ..errors import BackendError, Conflict, InputError, SecretUnreadable, _
from ..models import Campaign, CampaignStatus, Sender, SenderStatus, Usage, campaign_sender
from ..vault import Vault

DAY = timedelta(hours=24)
NAME_LENGTH = 200
UNSEEN_IN_NAMES = frozenset(map(chr, (*range(32), 127, 0x85, 0x2028, 0x2029)))


def account_senders(session: Session, account_id: int) -> Sequence[Sender]:
    """An account's senders, oldest first."""
    return session.scalars(
        select(Sender).where(Sender.account_id == account_id, Sender.deleted_at.is_(None)).order_by(Sender.id)
    ).all()


def sender_backend(sender: Sender, registry: Registry, vault: Vault) -> Backend:
    """The sender as a backend, ready to connect.

    Raises ``SecretUnreadable`` and ``BackendMissing``; ``InputError`` when a newer backend wants other fields.
    """
    return registry.open(sender.backend, sender.from_email, _fields(sender, vault))


def changed_backend(
    sender: Sender, registry: Registry, vault: Vault, fields: Mapping[str, Any], email: str = ""
) -> Backend:
    """The sender as it would be with other fields: prove it, then give it to ``update_sender``.

    Secret fields that are left empty keep their stored value.
    """
    secret = secret_fields(registry.get(sender.backend).Settings)
    given = {name: value for name, value in fields.items() if value not in (None, "") or name not in secret}
    try:
        known = _fields(sender, vault)
    except SecretUnreadable:
        known = dict(sender.settings)  # a new password is being given, or asked for
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
    """A new ready sender. Asks the mail server, unless ``proven`` is a backend that has just been verified."""
    check_names(name=name, from_name=from_name)
    if proven is None:
        proven = registry.open(backend, email, fields)
        proven.verify()
    for other in account_senders(session, account_id):
        if other.from_email == proven.email and same_mail_account(registry, vault, other, proven):
            raise Conflict(_("${email} is already one of your senders.", mapping={"email": proven.email}))
    sender = new_sender(vault, account_id, proven, now=now, name=name, from_name=from_name)
    session.add(sender)
    session.flush()
    return sender


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
    per_day: int | None = None,
    keep_per_day: bool = True,
    proven: Backend | None = None,
) -> None:
    """Change a sender. New settings come as a ``proven`` backend (see ``changed_backend``)."""
    check_names(name=name or "", from_name=from_name or "")
    if per_day is not None and per_day < 1:
        raise InputError(
            {"per_day": _("Write how many letters a day, 1 or more; leave it empty for the usual.")}
        )
    if name is not None:
        sender.name = name.strip() or sender.from_email
    if from_name is not None:
        sender.from_name = from_name.strip()
    if per_day is not None or not keep_per_day:
        sender.per_day = per_day
    if proven is not None:
        public, secrets = split_settings(proven.settings)
        sender.from_email = proven.email
        sender.settings = public
        sender.secrets = vault.encrypt(sender.account_id, secrets)
        mark_ready(sender, now=now)
    session.flush()


def check_names(**names: str) -> None:
    """Names end up in headers of letters: one line, no control characters, not endless."""
    wrong = {
        field: _("One line of at most ${length} characters is expected.", mapping={"length": NAME_LENGTH})
        for field, value in names.items()
        if len(value) > NAME_LENGTH or UNSEEN_IN_NAMES & set(value)
    }
    if wrong:
        raise InputError(wrong)


def mark_ready(sender: Sender, *, now: datetime) -> None:
    """The mail server has just accepted this sender. One that rests because of its quota goes on resting."""
    if sender.status is not SenderStatus.sleeping:
        sender.status = SenderStatus.ready
    sender.error = None
    sender.failures = 0
    sender.verified_at = now


def mark_failing(sender: Sender, error: BackendError) -> None:
    """The mail server has just refused this sender: it sends nothing until somebody has looked."""
    sender.status = SenderStatus.failing
    sender.sleeps_until = None
    sender.error = f"{error} {error.reply}".strip()


def delete_sender(session: Session, sender: Sender, *, now: datetime) -> None:
    """Remove a sender and its password. Raises ``Conflict`` while a campaign needs it."""
    needing = session.scalar(
        select(func.count())
        .select_from(Campaign)
        .join(campaign_sender, campaign_sender.c.campaign_id == Campaign.id)
        .where(
            campaign_sender.c.sender_id == sender.id,
            Campaign.status.in_((CampaignStatus.scheduled, CampaignStatus.sending, CampaignStatus.paused)),
        )
    )
    if needing:
        raise Conflict(
            _("A campaign that is not finished sends from here. Cancel it or let it finish first.")
        )
    sender.deleted_at = now
    sender.secrets = None
    session.flush()


def same_mail_account(registry: Registry, vault: Vault, sender: Sender, proven: Backend) -> bool:
    """Whether a stored sender and a backend are one login at one server."""
    if sender.backend != proven.name:
        return False
    try:
        known = registry.open(sender.backend, sender.from_email, _fields(sender, vault))
    except (InputError, SecretUnreadable):
        return False  # cannot be compared, so it is not taken for the same
    return known.identity() == proven.identity()


def _fields(sender: Sender, vault: Vault) -> dict[str, Any]:
    secrets = vault.decrypt(sender.account_id, sender.secrets) if sender.secrets else {}
    return dict(sender.settings) | secrets


# --- what was used -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SenderUse:
    """A sender's rolling 24 hours. ``limit`` None: no limit is known. ``frees_at``: when one more is free."""

    used: int
    limit: int | None
    frees_at: datetime | None

    @property
    def free(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)


def sender_use(session: Session, sender: Sender, registry: Registry, *, now: datetime) -> SenderUse:
    """What the sender has sent in the last 24 hours, and what is left."""
    since = _minute(now - DAY)
    used, oldest = session.execute(
        select(func.coalesce(func.sum(Usage.letters), 0), func.min(Usage.minute)).where(
            Usage.sender_id == sender.id, Usage.minute > since, Usage.letters > 0
        )
    ).one()
    limit = day_limit(sender, registry)
    exhausted = limit is not None and used >= limit and oldest is not None
    return SenderUse(int(used), limit, _moment(oldest + 1) + DAY if exhausted else None)


def day_limit(sender: Sender, registry: Registry) -> int | None:
    """Letters in 24 hours: the person's own limit or the backend's, never above what the server taught us."""
    usual = sender.per_day
    if usual is None and sender.backend in registry.names:
        usual = registry.get(sender.backend).limits.per_day
    known = [limit for limit in (usual, sender.learned_per_day) if limit is not None]
    return min(known, default=None)


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
