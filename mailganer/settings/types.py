"""The settings of an installation, and the plans of its accounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Plan:
    """Limits of an account. ``None`` means no limit."""

    name: str
    title: str
    per_day: int | None  # emails in any 24 hours
    max_subscribers: int | None
    price: str = ""  # as shown: "1,900 ₽ a month"; empty: free
    # Title and price are ``LocalizedText`` where the operator wrote them for several languages.


NO_LIMITS = Plan("unlimited", "No limits", None, None)
"""The only plan of an installation without ``mailganer.plans``, and the plan of operators."""

DEMO_ADDRESS = "demo@example.com"


@dataclass(frozen=True)
class Settings:
    """All settings of an installation. Created by :func:`load` or :func:`from_mapping`."""

    database_url: str
    public_url: str
    secret_keys: tuple[str, ...]  # newest first
    data_dir: Path
    broker_url: str = ""  # empty: the embedded broker
    broker_program: str = ""  # path of a Redis-compatible server; empty: searched for
    backends: tuple[str, ...] = ("gmail", "smtp")
    backend_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    allow_private_smtp_hosts: bool = False
    smtp_ports: frozenset[int] = frozenset({25, 465, 587, 2525})
    smtp_ca_file: str | None = None
    plans: tuple[Plan, ...] = (NO_LIMITS,)
    operators: frozenset[str] = frozenset()  # addresses in lower case
    payments: tuple[str, ...] = ("voucher",)
    development: bool = False
    demo: bool = False
    listen: str = "127.0.0.1:6543"
    catcher: str = "127.0.0.1:2525"
    trusted_proxy: str = ""
    metrics_token: str = ""  # required for /metrics from anywhere; empty: private networks only
    grace_seconds: int = 10  # between "Send now" on a page and the first email: time to undo a mistake
    # A campaign delayed for longer is paused until its user decides: its news may be outdated.
    latest_start_hours: int = 24
    fast_clock: tuple[datetime, float] | None = None  # start and speed factor; for drills only
    ini: Path | None = None
    warnings: tuple[str, ...] = ()  # about settings that should be changed; none of them stops the start

    @property
    def embedded(self) -> bool:
        """Whether this installation starts its own broker."""
        return not self.broker_url

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def host(self) -> str:
        """The public host name."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def has_plans(self) -> bool:
        """Whether accounts can be limited: ``mailganer.plans`` names a plan."""
        return self.plans != (NO_LIMITS,)

    @property
    def uploads(self) -> Path:
        return self.data_dir / "uploads"

    @property
    def journals(self) -> Path:
        return self.data_dir / "journals"

    @property
    def outbox(self) -> Path:
        return self.data_dir / "outbox"

    def plan(self, name: str) -> Plan:
        """Return the plan of this name, or the first one when the name is no longer configured."""
        return next((plan for plan in self.plans if plan.name == name), self.plans[0])
