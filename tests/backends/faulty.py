"""A mail server that fails exactly at the requested stage, and keeps the emails it accepted."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ALL = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 10485760", "ENHANCEDSTATUSCODES")


class Gone(Exception):
    """The connection is closed."""


@dataclass(frozen=True)
class Email:
    sender: str
    recipient: str
    content: bytes
    connection: int


@dataclass
class Fault:
    """Do ``action`` instead of the correct reply, ``times`` times, after ``stage`` came ``skip`` times.

    ``action`` is a reply (421 closes the connection after it), or a function of the conversation.
    """

    stage: str
    action: str | bytes | Callable[[Conversation], None]
    skip: int = 0
    times: int = 10**9
    seen: int = 0

    def due(self, stage: str) -> bool:
        if stage != self.stage:
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times


def reset(conversation: Conversation) -> None:
    """Reset the connection without a reply."""
    conversation.reset()


def hang_up(conversation: Conversation) -> None:
    """Close the connection without a reply."""
    raise Gone


def silence(conversation: Conversation) -> None:
    """Stay silent until the client times out."""
    conversation.sock.settimeout(30)
    with contextlib.suppress(OSError):
        while conversation.sock.recv(65536):
            pass
    raise Gone


def take_and_reset(conversation: Conversation) -> None:
    """Accept the email without a reply."""
    conversation.keep()
    conversation.reset()


def endless(line: bytes, pause: float = 0.0) -> Callable[[Conversation], None]:
    """Send the same line endlessly."""

    def talk(conversation: Conversation) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            conversation.say_raw(line)
            time.sleep(pause)
        raise Gone

    return talk


@dataclass
class FaultyServer:
    features: Sequence[str] = ALL
    faults: list[Fault] = field(default_factory=list)
    passwords: dict[str, str] | None = None  # None: AUTH is not offered
    mechanisms: str = "PLAIN LOGIN"
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    needs_reset: bool = False  # a failed transaction must be cleared by RSET before the next MAIL
    receive_buffer: int = 0

    def __post_init__(self) -> None:
        self.emails: list[Email] = []
        self.commands: list[str] = []
        self.plain: list[bytes] = []  # everything received unencrypted
        self.connections = 0
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.socket()
        if self.receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def fail(self, stage: str, action: str | bytes | Callable[[Conversation], None], **when: int) -> None:
        self.faults.append(Fault(stage, action, **when))

    def fault(self, stage: str) -> Fault | None:
        with self.lock:
            due = [fault for fault in self.faults if fault.due(stage)]
        return due[0] if due else None

    @property
    def settings(self) -> dict[str, object]:
        """The fields of the ``smtp`` backend for this server."""
        return {"host": "127.0.0.1", "port": self.port, "security": "none", "password": "secret"}

    @property
    def counts(self) -> Counter[str]:
        with self.lock:
            return Counter(email.recipient for email in self.emails)

    def count(self, command: str) -> int:
        with self.lock:
            return sum(line.upper().startswith(command) for line in self.commands)

    def hang_up_on_all(self) -> None:
        with self.lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up_on_all()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self._open.add(sock)
                number = self.connections
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        conversation = Conversation(self, sock, number)
        with contextlib.suppress(Gone, OSError):
            conversation.run()
        with contextlib.suppress(OSError):
            conversation.sock.close()
        with self.lock:
            self._open.discard(sock)


class Conversation:
    def __init__(self, server: FaultyServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.buffer = b""
        self.secure = False
        self.sender: str | None = None
        self.recipient: str | None = None
        self.content = b""
        self.stuck = False

    def run(self) -> None:
        if self.server.implicit:
            self._encrypt()
        self.answer("connect", "220 faulty ESMTP")
        while True:
            line = self._line().decode("utf-8", "replace")
            with self.server.lock:
                self.server.commands.append(line)
            command, _blank, rest = line.partition(" ")
            handler = getattr(self, "do_" + command.lower(), None)
            if handler is None:
                self.say("500 5.5.2 What?")
            else:
                handler(rest)

    def do_ehlo(self, rest: str) -> None:
        offers = list(self.server.features)
        if self.server.tls and not self.server.implicit and not self.secure:
            offers.append("STARTTLS")
        if self.server.passwords is not None:
            offers.append(f"AUTH {self.server.mechanisms}")
        lines = ["faulty greets you", *offers]
        text = "\r\n".join(f"250-{line}" for line in lines[:-1])
        self.answer("ehlo", f"{text}\r\n250 {lines[-1]}" if text else f"250 {lines[-1]}")

    def do_helo(self, rest: str) -> None:
        self.say("250 faulty")

    def do_starttls(self, rest: str) -> None:
        if self.answer("starttls", "220 2.0.0 Go"):
            self._encrypt()

    def do_auth(self, rest: str) -> None:
        words = rest.split()
        if words[0] == "LOGIN":
            self.say("334 VXNlcm5hbWU6")
            user = base64.b64decode(self._line()).decode()
            self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(self._line()).decode()
        elif words[0] == "XOAUTH2":
            user, password = base64.b64decode(words[1]).decode().rstrip("\x01").split("\x01")
            user, password = user.removeprefix("user="), password.removeprefix("auth=Bearer ")
        else:
            user, password = base64.b64decode(words[1]).decode().split("\0")[1:]
        known = (self.server.passwords or {}).get(user) == password
        if not known and words[0] == "XOAUTH2":
            self.say("334 eyJzdGF0dXMiOiI0MDEifQ==")
            self._line()
        self.answer("auth", "235 2.7.0 Welcome" if known else "535 5.7.8 Wrong password")

    def do_mail(self, rest: str) -> None:
        if self.sender is not None or self.stuck:
            self.say("503 5.5.1 Nested MAIL")
        elif self.answer("mail", "250 2.1.0 Ok"):
            self.sender = rest.partition("<")[2].partition(">")[0]

    def do_rcpt(self, rest: str) -> None:
        if self.sender is None:
            self.say("503 5.5.1 MAIL first")
        elif self.answer("rcpt", "250 2.1.5 Ok"):
            self.recipient = rest.partition("<")[2].partition(">")[0]

    def do_data(self, rest: str) -> None:
        if self.recipient is None:
            self.answer("nobody", "554 5.5.1 No valid recipients")
            return
        if self.answer("data", "354 Go ahead"):
            self.take_data()

    def take_data(self) -> None:
        fault = self.server.fault("content")
        if fault is not None:
            self._do(fault)
        lines = []
        while (line := self._line(keep=True)) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        self.content = b"".join(lines)
        self._end_of_email("dot")

    def do_bdat(self, rest: str) -> None:
        fault = self.server.fault("content")
        if fault is not None:
            self._do(fault)
        size, _last = rest.split()
        self.content = self._exactly(int(size))
        if self.recipient is None:
            self.stuck = self.server.needs_reset
            self.say("503 5.5.1 RCPT first")
            return
        self._end_of_email("dot")
        if self.server.needs_reset and not self.kept:
            self.stuck = True

    def do_rset(self, rest: str) -> None:
        self.sender = self.recipient = None
        self.stuck = False
        self.answer("rset", "250 2.0.0 Reset")

    def do_quit(self, rest: str) -> None:
        self.answer("quit", "221 2.0.0 Bye")
        raise Gone

    def keep(self) -> None:
        assert self.sender is not None
        assert self.recipient is not None
        with self.server.lock:
            self.server.emails.append(Email(self.sender, self.recipient, self.content, self.number))

    def _end_of_email(self, stage: str) -> None:
        fault = self.server.fault(stage)
        self.kept = False
        if fault is not None:
            self._do(fault)
        elif self.recipient is not None:
            self.keep()
            self.kept = True
            self.say("250 2.0.0 Queued")
        else:
            self.say("554 5.5.1 No valid recipients")
        self.sender = self.recipient = None

    def answer(self, stage: str, right: str) -> bool:
        """Return whether the correct reply was sent."""
        fault = self.server.fault(stage)
        if fault is None:
            self.say(right)
            return not right.startswith(("4", "5"))
        self._do(fault)
        return False

    def _do(self, fault: Fault) -> None:
        if callable(fault.action):
            fault.action(self)
        elif isinstance(fault.action, bytes):
            self.say_raw(fault.action)
        else:
            self.say(fault.action)
            if fault.action.startswith("421"):
                raise Gone

    def say(self, text: str) -> None:
        self.say_raw(text.encode() + b"\r\n")

    def say_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """End the connection by RST, which discards what the kernel has not sent yet."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def _encrypt(self) -> None:
        assert self.server.tls is not None
        self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        self.secure = True
        self.sender = self.recipient = None

    def _line(self, keep: bool = False) -> bytes:
        while b"\n" not in self.buffer:
            self._more()
        line, _end, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n" if keep else line.rstrip(b"\r")

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        if not self.secure:
            self.server.plain.append(data)
        self.buffer += data
