"""Dependencies of a lane: database, mail accounts, limits and a directory for journals.

The worker creates one from the settings; ``mailganer send`` creates its own over a state file.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from ..accounts import network_of, sender_backend, sender_limits
from ..backends import Backend, Limits, load_backends
from ..billing import plan_of
from ..data_folder import folder_id
from ..db import make_sessions
from ..migrations import current
from ..models import Account, Sender
from ..settings import Settings
from ..vault import Vault, key_id
from ..worker_process import WorkerProcess

# Seconds without a renewal until a lane counts as lost; LeaseRenewer renews several times in between.
LEASE = 60.0
MARGIN = 30.0  # additional seconds before a lost lane's work is taken over: clocks of two machines differ


@dataclass(frozen=True)
class SendingContext:
    """Everything a worker process needs to send. Used by one process; safe to share among its threads."""

    engine: Engine
    journals: Path
    open_backend: Callable[[Sender], Backend]
    limits: Callable[[Sender], Limits]
    plan_limit: Callable[[Account, datetime], int | None]  # emails in 24 hours
    public_url: str = ""  # empty: there are no pages for recipients, and nothing is tracked
    now: Callable[[], datetime] = field(kw_only=True)
    lease: float = LEASE
    margin: float = MARGIN
    latest_start: timedelta = timedelta(hours=24)  # a campaign later than this is paused
    folder_id: str = ""  # of the data folder; see data_folder
    key_id: str = ""  # of the newest secret key; see vault
    speed: float = 1.0  # how fast ``now`` runs; see FastClock
    sessions: sessionmaker[Session] = field(init=False)
    readers: sessionmaker[Session] = field(init=False)  # for read-only transactions: they block no writer

    def __post_init__(self) -> None:
        object.__setattr__(self, "sessions", make_sessions(self.engine))
        object.__setattr__(self, "readers", make_sessions(self.engine.execution_options(reading=True)))
        self.journals.mkdir(parents=True, exist_ok=True)

    def schema(self) -> str | None:
        """Return the database's schema revision, or None when it has none yet."""
        return current(self.engine.execution_options(reading=True))

    def span(self, seconds: float) -> timedelta:
        """Convert real ``seconds`` to the time by which ``now`` advances in them.

        A lease is a promise about processes, and a fast clock does not make those any faster.
        """
        return timedelta(seconds=seconds * self.speed)

    def leased_until(self, now: datetime) -> datetime:
        """Return the end of a lease that is taken or renewed at ``now``."""
        return now + self.span(self.lease)


def open_sending_context(settings: Settings, now: Callable[[], datetime] | None = None) -> SendingContext:
    """Create the sending context of an installation. It opens no connection yet."""
    return sending_context_of(WorkerProcess.of(settings, now))


def sending_context_of(process: WorkerProcess) -> SendingContext:
    """Create the sending context of a process that runs tasks."""
    settings = process.settings
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    vault = Vault(settings.secret_keys)
    return SendingContext(
        engine=process.engine,
        journals=settings.journals,
        open_backend=lambda sender: sender_backend(sender, registry, vault),
        limits=lambda sender: sender_limits(sender, registry),
        plan_limit=lambda account, at: plan_of(account, settings, at).per_day,
        public_url=settings.public_url,
        now=process.now,
        speed=process.speed,
        folder_id=folder_id(settings),
        key_id=key_id(settings.secret_keys[0]),
        latest_start=timedelta(hours=settings.latest_start_hours),
    )
