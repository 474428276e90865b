"""A sender backend that uses only what the contract promises to plugins."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import BaseModel, SecretStr

from mailganer.backends import Backend, Connection, Limits, LoginRefused, Message, Outcome, Receipt

KEY = "Canary-Pigeon-1"
LOFTS: dict[str, list[Message]] = {}
"""The emails delivered to each loft."""


class PigeonSettings(BaseModel):
    loft: str = "home"
    key: SecretStr = SecretStr("")


class PigeonBackend(Backend):
    name: ClassVar[str] = "pigeon"
    title: ClassVar[str] = "Pigeon post"
    domains: ClassVar[frozenset[str]] = frozenset({"pigeon.example"})
    Settings: ClassVar[type[BaseModel]] = PigeonSettings
    limits: ClassVar[Limits] = Limits(per_day=200)

    def verify(self) -> None:
        assert isinstance(self.settings, PigeonSettings)
        if self.settings.key.get_secret_value() != KEY:
            raise LoginRefused("The loft does not know this key.")

    def connect(self) -> Connection:
        self.verify()
        assert isinstance(self.settings, PigeonSettings)
        return PigeonConnection(LOFTS.setdefault(self.settings.loft, []))

    def was_accepted(self, message_id: str) -> bool | None:
        return None


class PigeonConnection(Connection):
    def __init__(self, loft: list[Message]) -> None:
        self._loft = loft

    def send_many(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        for message in messages:
            self._loft.append(message)
            yield Receipt(message.id, Outcome.accepted)
