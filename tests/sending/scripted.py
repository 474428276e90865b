"""A backend with scripted replies, inside the process."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from pydantic import BaseModel

from mailganer.backends import Backend, Connection, Limits, Message, Outcome, Receipt, Scope


class NoSettings(BaseModel):
    """No settings."""


def accept(message: Message) -> Receipt:
    return Receipt(message.id, Outcome.accepted, "250 2.0.0 kept")


@dataclass
class Script:
    """What the server does: ``answer`` per message, ``connecting`` before every connection, ``closing``
    at its end."""

    answer: Callable[[Message], Receipt] = accept
    connecting: Callable[[], None] = lambda: None
    closing: Callable[[], None] = lambda: None
    accepted: Callable[[str], bool | None] = lambda message_id: None
    limits: Limits = field(default_factory=Limits)
    seen: list[Message] = field(default_factory=list)
    got: Counter[str] = field(default_factory=Counter)  # emails a recipient has had
    connections: int = 0
    lock: Any = field(default_factory=Lock)

    def receive(self, message: Message) -> Receipt:
        receipt = self.answer(message)
        with self.lock:
            self.seen.append(message)
            if receipt.outcome is Outcome.accepted:
                self.got[message.recipient] += 1
        return receipt

    def limits_of(self, sender: Any) -> Limits:
        known = [each for each in (sender.per_day, self.limits.per_day, sender.learned_per_day) if each]
        paces = [each for each in (self.limits.per_second, sender.slowed_to) if each]
        return replace(self.limits, per_day=min(known, default=None), per_second=min(paces, default=None))

    def backend(self, email: str = "anna@example.com") -> "ScriptedBackend":
        return ScriptedBackend(email, NoSettings(), script=self)


class ScriptedConnection(Connection):
    def __init__(self, script: Script) -> None:
        self.script = script

    def send_many(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        for message in messages:
            receipt = self.script.receive(message)
            yield receipt
            if not receipt.goes_on:
                return

    def close(self) -> None:
        self.script.closing()


class ScriptedBackend(Backend):
    name = "scripted"
    title = "Scripted"
    Settings = NoSettings

    def __init__(self, email: str, settings: BaseModel, *, script: Script) -> None:
        super().__init__(email, settings)
        self.script = script

    def own_limits(self) -> Limits:
        return self.script.limits

    def identity(self) -> tuple[str, str]:
        return ("scripted", self.email)

    def verify(self) -> None:
        pass

    def connect(self) -> ScriptedConnection:
        self.script.connections += 1
        self.script.connecting()
        return ScriptedConnection(self.script)

    def was_accepted(self, message_id: str) -> bool | None:
        return self.script.accepted(message_id)


def receipt(outcome: Outcome, reply: str = "", **more: Any) -> Callable[[Message], Receipt]:
    """One reply for all recipients."""
    return lambda message: Receipt(message.id, outcome, reply, **more)


SCOPES = Scope
