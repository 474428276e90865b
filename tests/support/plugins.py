"""A sender backend with settings of every kind that a plugin may declare."""

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from mailganer.backends import Backend, Connection, Limits, LoginRefused, Message, Outcome, Receipt

KEY = "relay-key-1"
OPENED: list["RelaySettings"] = []
"""The settings of every account that was verified."""


class Region(Enum):
    europe = "eu"
    america = "us"


class Priority(IntEnum):
    low = 1
    high = 5


class RelaySettings(BaseModel):
    account: str = Field(title="Account number", min_length=3)
    region: Region = Field(title="Region")
    key: SecretStr = Field(title="API key", min_length=4)
    webhook_key: SecretStr | None = Field(default=None, title="Webhook key")
    batch: int = Field(20, ge=1, le=50, title="Emails in one call")
    block: int = Field(10, ge=1, multiple_of=5, title="Emails in one block")
    speed: float = Field(2.5, gt=0, lt=10, title="Calls a second")
    fee: Decimal = Field(Decimal("0.10"), title="Fee")
    retries: int | None = Field(None, title="Retries")
    pool: str | None = Field(None, title="Pool")
    stream: str = Field("outbound", title="Stream")
    priority: Priority = Field(Priority.high, title="Priority")
    version: Literal[1, 2] = Field(2, title="API version")
    tracked: bool = Field(True, title="Tracked by the relay")
    dedicated: bool | None = Field(None, title="Dedicated address")
    tags: list[str] = Field(default_factory=lambda: ["news"], title="Tags")
    since: date | None = Field(None, title="Customer since")

    @model_validator(mode="after")
    def _america_has_no_pools(self) -> "RelaySettings":
        if self.pool and self.region is Region.america:
            raise ValueError("There are no pools in America.")
        return self


class RelayBackend(Backend):
    """A backend that is no mail server: an HTTP service."""

    name: ClassVar[str] = "relay"
    title: ClassVar[str] = "Relay & Co"
    domains: ClassVar[frozenset[str]] = frozenset({"relay.example"})
    Settings: ClassVar[type[BaseModel]] = RelaySettings
    help: ClassVar[str] = "The key of your account."
    help_url: ClassVar[str] = "https://relay.example/keys"

    def own_limits(self) -> Limits:
        assert isinstance(self.settings, RelaySettings)
        return Limits(per_day=1000 if self.settings.region is Region.europe else 10)

    def verify(self) -> None:
        assert isinstance(self.settings, RelaySettings)
        if self.settings.key.get_secret_value() != KEY:
            raise LoginRefused("The relay does not know this key.")
        OPENED.append(self.settings)

    def connect(self) -> Connection:
        self.verify()
        return RelayConnection()


class RelayConnection(Connection):
    def send_many(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        for message in messages:
            yield Receipt(message.id, Outcome.accepted)
