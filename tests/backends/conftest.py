"""Faulty servers, a certificate authority, and an account on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailganer.backends import Message, Network, Timeouts
from mailganer.backends.smtp import SMTPBackend, SMTPSettings

from .authority import Authority
from .faulty import FaultyServer

PASSWORD = "Canary-Passw0rd-1f9c"
SENDER = "anna@example.com"

# Short enough for tests, long enough for a busy machine.
QUICK = Timeouts(connect=3, setup=3, command=2, data=2, block=2, final=2, close=1)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def network(authority: Authority) -> Network:
    return Network(allow_private=True, ca_file=authority.file, timeouts=QUICK)


@pytest.fixture
def make_server() -> Iterator[Callable[..., FaultyServer]]:
    made: list[FaultyServer] = []

    def make(**how: Any) -> FaultyServer:
        made.append(FaultyServer(**how))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def account(network: Network) -> Callable[..., SMTPBackend]:
    """``account(server)``: an account on a server, with more options or other settings if needed."""

    def make(server: FaultyServer, options: dict[str, str] | None = None, **settings: Any) -> SMTPBackend:
        known = {
            "host": "localhost" if server.tls else "127.0.0.1",
            "port": server.port,
            "security": ("tls" if server.implicit else "starttls") if server.tls else "none",
            "password": PASSWORD,
        }
        options = {"open_relay": "true" if server.passwords is None else "false", **(options or {})}
        return SMTPBackend(SENDER, SMTPSettings.model_validate(known | settings), network, options)

    return make


def email(number: int, size: int = 0, recipient: str | None = None) -> Message:
    content = (
        f"From: <{SENDER}>\r\nTo: <r{number}@example.org>\r\nSubject: {number}\r\n"
        f"Message-ID: <n{number}@example.com>\r\n\r\n.\r\n..\r\nEmail {number}\r\n.end\r\n"
    ).encode()
    content += b"x" * 70 + b"\r\n" if size else b""
    content += (b"y" * 70 + b"\r\n") * (size // 72)
    return Message(number, SENDER, f"r{number}@example.org" if recipient is None else recipient, content)
