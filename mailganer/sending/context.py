"""What a lane needs of its surroundings: the database, the mail accounts, the limits, a place for journals.

The worker makes one from the settings; ``mailganer send`` makes its own over a state file.
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
from ..db import make_engine, make_sessions
from ..migrations import current
from ..models import Account, Sender
from ..settings import Settings
from ..vault import Vault, key_id
from .clock import DatabaseClock, FastClock

LEASE = (
    60.0  # seconds a lane may be silent until it counts as lost; a keeper renews it several times in between
)
MARGIN = 30.0  # seconds more before anybody touches what it held: clocks of two machines differ


@dataclass(frozen=True)
class SendingContext:
    """Where emails are handed over. Used by one process; safe to share among its threads."""

    engine: Engine
    journals: Path
    open_backend: Callable[[Sender], Backend]
    limits: Callable[[Sender], Limits]
    plan_limit: Callable[[Account, datetime], int | None]  # emails in 24 hours
    public_url: str = ""  # empty: there are no pages for readers, and nothing is tracked
    now: Callable[[], datetime] = field(kw_only=True)
    lease: float = LEASE
    margin: float = MARGIN
    latest_start: timedelta = timedelta(hours=24)  # after which a campaign that missed its time asks
    folder_id: str = ""  # of the data folder; see data_folder
    key_id: str = ""  # of the newest secret key; see vault
    speed: float = 1.0  # how fast the moments of ``now`` go by; see FastClock
    sessions: sessionmaker[Session] = field(init=False)
    readers: sessionmaker[Session] = field(init=False)  # for what only reads: nobody has to wait for it

    def __post_init__(self) -> None:
        object.__setattr__(self, "sessions", make_sessions(self.engine))
        object.__setattr__(self, "readers", make_sessions(self.engine.execution_options(reading=True)))
        self.journals.mkdir(parents=True, exist_ok=True)

    def schema(self) -> str | None:
        """The database's schema; None: it has none yet."""
        return current(self.engine.execution_options(reading=True))

    def span(self, seconds: float) -> timedelta:
        """What ``now`` moves on by while so many seconds really pass: a lease is a promise about processes,
        and those are not any faster."""
        return timedelta(seconds=seconds * self.speed)

    def leased_until(self, now: datetime) -> datetime:
        """The end of a lease that is taken or renewed at ``now``."""
        return now + self.span(self.lease)


def open_sending_context(settings: Settings, now: Callable[[], datetime] | None = None) -> SendingContext:
    """The office of an installation. Opens no connection yet; a process of a pool calls it after the fork."""
    engine = make_engine(settings.database_url)
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    vault = Vault(settings.secret_keys)
    clock, speed = now or DatabaseClock(engine), 1.0
    if settings.fast_clock is not None:
        since, speed = settings.fast_clock
        clock = FastClock(clock, since, speed)
    return SendingContext(
        engine=engine,
        journals=settings.journals,
        open_backend=lambda sender: sender_backend(sender, registry, vault),
        limits=lambda sender: sender_limits(sender, registry),
        plan_limit=lambda account, moment: plan_of(account, settings, moment).per_day,
        public_url=settings.public_url,
        now=clock,
        speed=speed,
        folder_id=folder_id(settings),
        key_id=key_id(settings.secret_keys[0]),
        latest_start=timedelta(hours=settings.latest_start_hours),
    )
