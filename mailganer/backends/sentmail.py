"""Search for an email in the account's Sent Mail over IMAP: proof that an email in doubt was accepted.

Gmail stores what it accepts by SMTP under its Message-ID. The search only reads, takes a bounded time
whatever the server does, and never returns False because of a failure: that would send an email twice.
Temporary failures are raised, so that the search is repeated; permanent ones give None, "cannot tell".
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

from ..errors import LoginRefused, Unreachable, _
from .hosts import open_socket
from .messages import clean
from .network import Network
from .session import Login

# Characters of a Message-ID that are safe inside a quoted string.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]+@[A-Za-z0-9.\-_\[\]:]+")
# A login that is refused for now: RFC 5530, and Google's text for too many at once.
_BUSY = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|SERVERBUG|OVERQUOTA)\]|too many|temporar", re.IGNORECASE)
_LISTED = re.compile(rb'\((?P<flags>[^)]*)\) (?:"(?:[^"\\]|\\.)*"|NIL) (?P<name>.+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentMail:
    """An IMAP account. Always with implicit TLS."""

    host: str
    port: int
    login: Login
    network: Network
    seconds: float = 30.0

    def holds(self, message_id: str) -> bool | None:
        """Return whether Sent Mail has this Message-ID; None when that cannot be known: no access, no folder.

        Raises ``BackendError`` for a failure that may be temporary: it is worth asking again.
        """
        bare = message_id.strip().removeprefix("<").removesuffix(">")
        if not _MESSAGE_ID.fullmatch(bare):
            return None
        try:
            with _opened(self) as client:
                return _search(client, bare)
        except LoginRefused:
            return None
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            raise _out_of_reach(self.host, str(error)) from None


def _out_of_reach(host: str, words: str) -> Unreachable:
    return Unreachable(
        _(
            "Sent emails of this account cannot be looked up on ${host} right now.",
            mapping={"host": host},
        ),
        clean(words),
    )


class _Client(imaplib.IMAP4):
    """imaplib client on a socket to the checked address."""

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
        # The greeting is read inside imaplib's constructor, so the timer starts before it.
        self.watch = threading.Timer(account.seconds, _hang_up, [secure])
        self.watch.daemon = True
        self.watch.start()
        return secure


def _hang_up(sock: socket.socket) -> None:
    """End a search that takes too long, whichever read it waits in."""
    # Not the TLS socket's own method: that one removes its TLS layer while another thread waits in it.
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
    """Log in. Raises ``LoginRefused`` for a permanent refusal, so that logins are not retried for a day."""
    bearer = login.bearer() if login.bearer is not None else None
    try:
        if bearer is None:
            client.login(login.username, login.password.get_secret_value())
        else:
            token = bearer.get_secret_value()
            client.authenticate(
                "XOAUTH2", lambda _challenge: f"user={login.username}\x01auth=Bearer {token}\x01\x01".encode()
            )
    except imaplib.IMAP4.abort:
        raise  # the connection broke
    except imaplib.IMAP4.error as error:
        if _BUSY.search(str(error)):
            raise
        raise LoginRefused(clean(str(error))) from None  # this text is not shown


def _search(client: imaplib.IMAP4, bare: str) -> bool | None:
    folder = _sent_folder(_checked_lines(client.list()))
    if folder is None:
        return None
    _checked_lines(client.select(folder, readonly=True))
    found = _checked_lines(client.search(None, "HEADER", "Message-ID", f'"<{bare}>"'))
    return bool(found and found[0] and found[0].strip())


def _checked_lines(answer: tuple[str, list[Any]]) -> list[Any]:
    status, lines = answer
    if status != "OK":
        raise imaplib.IMAP4.error(clean(str(lines)))
    return lines


def _sent_folder(listed: list[Any]) -> str | None:
    r"""Return the folder marked ``\Sent`` (RFC 6154) that can be opened, quoted as the server named it."""
    for line in listed:
        literal = line[1] if isinstance(line, tuple) else None
        text = line[0] if isinstance(line, tuple) else line
        match = _LISTED.match(text or b"")
        flags = match["flags"].lower().split() if match else []
        if match and b"\\sent" in flags and b"\\noselect" not in flags:
            name = literal if literal is not None else match["name"].strip()
            quoted = (
                name
                if name.startswith(b'"')
                else b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
            )
            return quoted.decode("ascii", "surrogateescape")
    return None
