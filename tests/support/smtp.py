"""A mail server for tests: a real port, AUTH, and every email kept in memory."""

import base64
import email
import email.policy
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage

from .ports import free_port

_FEATURES = ("SIZE 33554432", "8BITMIME", "SMTPUTF8")


@dataclass(frozen=True)
class Collected:
    """One email as it was received."""

    sender: str
    recipient: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)

    def part(self, kind: str = "html") -> str:
        """Return the decoded text of its HTML part, or else of its text part."""
        body = self.message.get_body((kind,))
        assert body is not None, f"the email to {self.recipient} has no {kind} part"
        return body.get_content()


@dataclass
class SMTPServer:
    """Accepts the logins in ``passwords`` and keeps the emails.

    ``refuse`` maps a recipient to the reply it gets instead, as ``"550 5.1.1 no such user"``.
    With ``needs_login=False`` it accepts emails without a login.
    """

    passwords: dict[str, str] = field(default_factory=lambda: {"anna@example.com": "secret"})
    needs_login: bool = True
    refuse: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.port = free_port()
        self.logins: list[str] = []
        self._emails: list[Collected] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[_Conversation] = set()
        self._threads: list[threading.Thread] = []
        self.start()

    @property
    def emails(self) -> list[Collected]:
        with self._lock:
            return list(self._emails)

    @property
    def counts(self) -> Counter[str]:
        """Return how many emails each recipient got."""
        with self._lock:
            return Counter(email.recipient for email in self._emails)

    @property
    def settings(self) -> dict[str, object]:
        """Return the fields of the ``smtp`` backend for this server."""
        security = "starttls" if self.tls else "none"
        return {"host": self.host, "port": self.port, "security": security, "password": "secret"}

    def to(self, recipient: str) -> list[Collected]:
        return [email for email in self.emails if email.recipient == recipient]

    def forget(self) -> None:
        with self._lock:
            self._emails.clear()

    def start(self) -> None:
        self._listener = socket.create_server((self.host, self.port), backlog=100)
        self._thread(self._accept, self._listener)

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._listener is None:
            return
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with self._lock:
            for conversation in self._open:
                conversation.break_off()
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()

    def log_in(self, login: str, password: str) -> bool:
        self.logins.append(login)
        return self.passwords.get(login) == password

    def keep(self, sender: str, recipients: list[str], content: bytes) -> None:
        with self._lock:
            self._emails += [Collected(sender, recipient, content) for recipient in recipients]

    def _thread(self, run: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=run, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _address = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        conversation = _Conversation(self, connection)
        with self._lock:
            self._open.add(conversation)
        if self._listener is None:
            conversation.break_off()  # it was accepted while the server was stopping
        with suppress(OSError, _Gone):
            conversation.run()
        with self._lock:
            self._open.discard(conversation)
        conversation.close()


class _Gone(Exception):
    """The connection is over."""


class _Conversation:
    """The commands of one connection and the replies to them."""

    def __init__(self, server: SMTPServer, connection: socket.socket) -> None:
        self._server, self._connection = server, connection
        self._input = connection.makefile("rb")
        self._is_secure = self._is_logged_in = False
        self._sender: str | None = None
        self._recipients: list[str] = []

    def run(self) -> None:
        self._say("220 test ESMTP")
        while True:
            command, _, rest = self._line().partition(" ")
            answer = getattr(self, f"_on_{command.lower()}", None)
            self._say(answer(rest) if answer else f"500 5.5.2 {command} is unknown")
            if command.upper() == "QUIT":
                return
            if command.upper() == "STARTTLS":
                self._encrypt()

    def break_off(self) -> None:
        with suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._input.close()
            self._connection.close()

    def _on_ehlo(self, rest: str) -> str:
        features = [*_FEATURES, "AUTH LOGIN PLAIN" if self._may_log_in else "STARTTLS"]
        return "\r\n".join(["250-test", *(f"250-{each}" for each in features), "250 HELP"])

    def _on_helo(self, rest: str) -> str:
        return "250 test"

    def _on_starttls(self, rest: str) -> str:
        if self._may_log_in:
            raise _Gone
        return "220 2.0.0 Go on"

    def _on_auth(self, rest: str) -> str:
        if not self._may_log_in:
            return "538 5.7.11 Encryption required"
        mechanism, _, first = rest.partition(" ")
        if mechanism.upper() == "PLAIN":
            _, login, password = self._secret("", first).split("\0")
        elif mechanism.upper() == "LOGIN":
            login, password = self._secret("User Name", first), self._secret("Password")
        else:
            return "504 5.5.4 This mechanism is unknown"
        self._is_logged_in = self._server.log_in(login, password)
        return "235 2.7.0 Welcome" if self._is_logged_in else "535 5.7.8 Wrong login or password"

    def _on_mail(self, rest: str) -> str:
        if self._server.needs_login and not self._is_logged_in:
            return "530 5.7.0 Authentication required"
        if self._sender is not None:
            return "503 5.5.1 The sender is known"
        self._sender = _address(rest)
        return "250 2.1.0 OK"

    def _on_rcpt(self, rest: str) -> str:
        if self._sender is None:
            return "503 5.5.1 MAIL first"
        address = _address(rest)
        if address in self._server.refuse:
            return self._server.refuse[address]
        self._recipients.append(address)
        return "250 2.1.5 OK"

    def _on_data(self, rest: str) -> str:
        if self._sender is None or not self._recipients:
            return "503 5.5.1 RCPT first"
        self._say("354 Go ahead")
        self._server.keep(self._sender, self._recipients, self._content())
        self._forget()
        return "250 2.0.0 kept"

    def _on_rset(self, rest: str) -> str:
        self._forget()
        return "250 2.0.0 OK"

    def _on_noop(self, rest: str) -> str:
        return "250 2.0.0 OK"

    def _on_quit(self, rest: str) -> str:
        return "221 2.0.0 Bye"

    @property
    def _may_log_in(self) -> bool:
        return self._is_secure or self._server.tls is None

    def _encrypt(self) -> None:
        assert self._server.tls is not None
        self._input.close()
        self._connection = self._server.tls.wrap_socket(self._connection, server_side=True)
        self._input = self._connection.makefile("rb")
        self._is_secure, self._is_logged_in = True, False
        self._forget()

    def _forget(self) -> None:
        self._sender, self._recipients = None, []

    def _secret(self, question: str, answer: str = "") -> str:
        """Return the decoded answer, which may have come with the command."""
        if not answer:
            self._say("334 " + base64.b64encode(question.encode()).decode())
            answer = self._line()
        return base64.b64decode(answer).decode()

    def _content(self) -> bytes:
        lines = []
        while (line := self._read()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _line(self) -> str:
        return self._read().decode().rstrip("\r\n")

    def _read(self) -> bytes:
        line = self._input.readline()
        if not line.endswith(b"\n"):
            raise _Gone
        return line

    def _say(self, reply: str) -> None:
        self._connection.sendall(reply.encode() + b"\r\n")


def _address(rest: str) -> str:
    """Return what stands between the angle brackets of ``FROM:<...>`` or ``TO:<...>``."""
    return rest.partition("<")[2].partition(">")[0]
