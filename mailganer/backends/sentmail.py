"""Looking for a letter in the account's Sent Mail, over IMAP: the proof that a doubtful letter was taken.

Gmail files what it takes by SMTP under its Message-ID. The look-up only reads, takes a bounded time whatever
the server does, and answers "cannot tell" for every trouble on the way: a wrong "no" would send a letter
twice.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError
from .base import Network
from .hosts import open_socket
from .session import Login

# What a Message-ID may hold and still stand in a quoted string without being read as anything else.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]+@[A-Za-z0-9.\-_\[\]:]+")
_LISTED = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?:[^"\\]|\\.)*"|NIL) (?P<name>.+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentMail:
    """An IMAP account. TLS from the first byte, always."""

    host: str
    port: int
    login: Login
    network: Network
    seconds: float = 30.0

    def holds(self, message_id: str) -> bool | None:
        """Whether Sent Mail has this Message-ID; None when that cannot be said."""
        bare = message_id.strip().removeprefix("<").removesuffix(">")
        if not _MESSAGE_ID.fullmatch(bare):
            return None
        try:
            with _opened(self) as client:
                return _search(client, bare)
        except (imaplib.IMAP4.error, BackendError, OSError, ValueError):
            return None


class _Client(imaplib.IMAP4):
    """imaplib over a socket to the checked address."""

    def __init__(self, account: SentMail) -> None:
        self._account = account
        super().__init__(account.host, account.port)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        account = self._account
        sock, _private = open_socket(account.host, account.port, account.network)
        context = ssl.create_default_context()
        if account.network.ca_file:
            context.load_verify_locations(cafile=account.network.ca_file)
        sock.settimeout(account.seconds)
        try:
            secure = context.wrap_socket(sock, server_hostname=account.host)
        except BaseException:
            sock.close()
            raise
        # The greeting is read inside imaplib's constructor: the watch stands before it.
        self.watch = threading.Timer(account.seconds, _hang_up, [secure])
        self.watch.daemon = True
        self.watch.start()
        return secure


def _hang_up(sock: socket.socket) -> None:
    """End a look-up that takes too long, whichever read it waits in."""
    # Not the TLS socket's own method: that one forgets its TLS layer under the feet of a waiting thread.
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


@contextmanager
def _opened(account: SentMail) -> Iterator[imaplib.IMAP4]:
    client = _Client(account)
    try:
        _log_in(client, account.login)
        yield client
        with suppress(imaplib.IMAP4.error, OSError):
            client.logout()
    finally:
        client.watch.cancel()
        with suppress(OSError):
            client.shutdown()


def _log_in(client: imaplib.IMAP4, login: Login) -> None:
    if login.bearer is None:
        client.login(login.username, login.password.get_secret_value())
        return
    token = login.bearer().get_secret_value()
    client.authenticate(
        "XOAUTH2", lambda _challenge: f"user={login.username}\x01auth=Bearer {token}\x01\x01".encode()
    )


def _search(client: imaplib.IMAP4, bare: str) -> bool | None:
    folder = _sent_folder(client.list()[1])
    if folder is None:
        return None
    status, _count = client.select(folder, readonly=True)
    if status != "OK":
        return None
    status, found = client.search(None, "HEADER", "Message-ID", f'"<{bare}>"')
    if status != "OK":
        return None
    return bool(found and found[0] and found[0].strip())


def _sent_folder(listed: list[Any]) -> str | None:
    r"""The folder marked ``\Sent`` (RFC 6154), quoted as the server named it."""
    for line in listed:
        literal = line[1] if isinstance(line, tuple) else None
        text = line[0] if isinstance(line, tuple) else line
        match = _LISTED.match(text or b"")
        if match and b"\\sent" in match["flags"].lower().split():
            name = literal if literal is not None else match["name"].strip()
            quoted = (
                name
                if name.startswith(b'"')
                else b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
            )
            return quoted.decode("ascii", "surrogateescape")
    return None
