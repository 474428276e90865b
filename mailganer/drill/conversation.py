"""One connection to the drill's mail server."""

import socket
import struct
import time
from random import Random
from typing import TYPE_CHECKING

from .faults import BUSY, EmailFaults, draw_faults
from .record import DROPPED, REPLIED

if TYPE_CHECKING:
    from .server import DrillServer

FEATURES = (("PIPELINING", "CHUNKING"), ("PIPELINING",), ())
GREETED_BADLY = 0.02  # of the connections
DAILY_LIMIT = "550 5.4.5 Daily user sending limit exceeded"


class Gone(Exception):
    """The connection is closed."""


class ConnectionInput:
    """What a client sends, line by line. Each method raises ``Gone`` when the connection is closed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()

    def line(self) -> str:
        """Return the next line without its end."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.more()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line.decode("utf-8", "replace")

    def skip(self, size: int) -> None:
        """Read and discard this many bytes."""
        while len(self.buffer) < size:
            self.more()
        del self.buffer[:size]

    def skip_to_dot(self) -> None:
        """Read and discard an email's content, up to the line with nothing but a dot."""
        if self.buffer.startswith(b".\r\n"):
            del self.buffer[:3]
            return
        while (end := self.buffer.find(b"\r\n.\r\n")) < 0:
            self.more()
        del self.buffer[: end + 5]

    def more(self) -> None:
        """Wait for more bytes."""
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        self.buffer += data


class Conversation:
    """One connection. Before each email it is drawn at random whether and how it fails."""

    def __init__(self, server: "DrillServer", sock: socket.socket, chance: Random) -> None:
        self.server, self.sock, self.chance = server, sock, chance
        self.input = ConnectionInput(sock)
        self.sender = self.recipient = ""
        self.features = chance.choice(FEATURES)
        self.faults = EmailFaults()

    def run(self) -> None:
        if self.chance.random() < GREETED_BADLY:
            self._cut("connect")
        self._say("220 drill ESMTP")
        while True:
            word, _blank, rest = self.input.line().partition(" ")
            handler = getattr(self, f"do_{word.lower()}", None)
            if handler is None:
                self._say("500 5.5.2 What?")
            else:
                handler(rest)

    def do_ehlo(self, rest: str) -> None:
        if self.chance.random() < GREETED_BADLY:
            self._cut("ehlo")
        lines = ["drill", *self.features, "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 10485760"]
        self._say("\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]))

    def do_mail(self, rest: str) -> None:
        if self.sender:
            self._say("503 5.5.1 Nested MAIL")
            return
        self.faults = draw_faults(self.chance, self.server.cut)
        if self.faults.delay:
            time.sleep(self.faults.delay)
        if self.server.is_over_limit():
            self._refuse("mail", DAILY_LIMIT)
        elif self._succeeds("mail", "250 2.1.0 Ok"):
            self.sender, self.recipient = _address(rest), ""

    def do_rcpt(self, rest: str) -> None:
        if not self.sender:
            self._say("503 5.5.1 MAIL first")
        elif self._succeeds("rcpt", "250 2.1.5 Ok"):
            self.recipient = _address(rest)

    def do_data(self, rest: str) -> None:
        if not self.recipient:
            self._say("554 5.5.1 No valid recipients")
        elif self._succeeds("data", "354 Go ahead"):
            if self.faults.cut_at == "content":
                self.input.more()
                self._cut("content")
            self.input.skip_to_dot()
            self._end_of_email()

    def do_bdat(self, rest: str) -> None:
        size = int(rest.split()[0])
        if self.faults.cut_at == "content" and self.recipient:
            self.input.skip(size // 2)
            self._cut("content")
        self.input.skip(size)
        if self.recipient:
            self._end_of_email()
        else:
            self._say("503 5.5.1 RCPT first")

    def do_rset(self, rest: str) -> None:
        self.sender = self.recipient = ""
        self._say("250 2.0.0 Reset")

    def do_quit(self, rest: str) -> None:
        if self.chance.random() < self.server.cut:
            self._cut("quit")
        self._say("221 2.0.0 Bye")
        raise Gone

    def _end_of_email(self) -> None:
        recipient, self.sender = self.recipient, ""
        self.recipient = ""
        if self.faults.cut_at == "dot":
            self._cut("dot")
        if self.server.is_over_limit():
            self._refuse("dot", DAILY_LIMIT)
        elif self._may_continue("dot"):
            self.server.take(recipient)
            if self.faults.cut_at == "taken":
                self._cut("taken")
            self._say("250 2.0.0 Queued")
            if self.faults.cut_at == "answered":
                self._cut("answered")

    def _succeeds(self, stage: str, right: str) -> bool:
        """Return whether the right answer was given."""
        if self.faults.cut_at == stage:
            self._cut(stage)
        if not self._may_continue(stage):
            return False
        self._say(right)
        return True

    def _may_continue(self, stage: str) -> bool:
        if self.faults.busy_at == stage:
            self._refuse(stage, BUSY)
            self._cut(stage, reset=False)
        if answer := self.faults.answers.get(stage):
            self._refuse(stage, answer)
            return False
        return True

    def _refuse(self, stage: str, answer: str) -> None:
        self.server.note(REPLIED, stage, answer)
        self._say(answer)

    def _cut(self, stage: str, *, reset: bool = True) -> None:
        """Close the connection, half of the time by RST, which discards what is on its way."""
        self.server.note(DROPPED, stage)
        if reset and self.chance.random() < 0.5:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def _say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\r\n")


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
