"""Faulty mail server of the drill, which fails at every stage and records every email it really accepts.

An email is recorded before it is acknowledged. The server is a process of its own, ``python -m
mailganer.drill.server FOLDER SEED EMAILS``, so the record survives whatever is killed in a drill. The port is
in ``FOLDER/port``, the record in ``FOLDER/record``: lines that are only ever appended, fields separated by
tabs. The seed decides what fails on which connection.
"""

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

RECORD, PORT = "record", "port"
TAKEN, DROPPED, SAID = "taken", "dropped", "said"
FEATURES = (("PIPELINING", "CHUNKING"), ("PIPELINING",), ())
STAGES = ("mail", "rcpt", "data", "content", "dot", "taken", "answered")
GREETED_BADLY = 0.02  # of the connections
CUT = 0.02  # of the emails at most, but ...
CUTS = 100  # ... about this many in a whole drill: after each the installation waits for its next tick
PUT_OFF = 0.02  # of the emails: this recipient, later
REFUSED = 0.01  # of the emails: this recipient, never
SLOW, SLOWEST = 0.003, 0.5  # of the emails; seconds
DAILY_LIMIT = "550 5.4.5 Daily user sending limit exceeded"
ENOUGH_FOR = 1.5  # seconds in which everything gets that answer
LATER = {
    "mail": ("452 4.3.1 Insufficient system storage", "451 4.3.0 Try again later"),
    "rcpt": ("450 4.2.1 The user is receiving mail too quickly", "452 4.2.2 Mailbox full"),
    "dot": ("451 4.3.0 Could not be queued", "452 4.3.1 Insufficient system storage"),
}
NEVER = {
    "rcpt": ("550 5.1.1 No such user", "550 5.2.1 Mailbox disabled"),
    "dot": ("550 5.7.1 Looks unwanted", "550 5.6.0 Not understood"),
}
# No text about pace: a sender that is asked to slow down does so, and at random it would soon be very slow.
BUSY = "421 4.3.2 Service shutting down, closing connection"


class Gone(Exception):
    """The connection is closed."""


@dataclass(frozen=True)
class DrillRecord:
    """The record of a drill's server."""

    taken: tuple[str, ...] = ()  # recipients, one entry per email
    dropped: int = 0  # connections broken by the server
    refusals: Counter[str] | None = None  # refusals by their code


def read_record(folder: Path) -> DrillRecord:
    """Read everything a server recorded."""
    path = folder / RECORD
    lines = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
    return DrillRecord(
        taken=tuple(line[2] for line in lines if line[0] == TAKEN),
        dropped=sum(line[0] == DROPPED for line in lines),
        refusals=Counter(" ".join(line[3].split()[:2]) for line in lines if line[0] == SAID),
    )


class DrillServer:
    """Accepts connections and holds their shared state."""

    def __init__(self, folder: Path, seed: str, emails: int) -> None:
        self.seed, self.cut = seed, min(CUT, CUTS / max(1, emails))
        self._record = os.open(folder / RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        chance = Random(f"{seed}/limit")  # noqa: S311 - repeatable, not secret
        self._limits = [int(emails * chance.uniform(0.6, 0.8)), int(emails * chance.uniform(0.2, 0.5))]
        self._enough_until = 0.0
        self._taken = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        # Renamed into place, so that nothing reads half a number.
        (folder / "port.new").write_text(str(self._listener.getsockname()[1]))
        (folder / "port.new").replace(folder / PORT)

    def run(self) -> None:
        number = 0
        while True:
            sock, _address = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number += 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def note(self, *fields: str) -> None:
        """Append one line in one write: the kernel has it when this returns."""
        kind, *rest = fields
        os.write(self._record, "\t".join((kind, f"{time.time():.3f}", *rest)).encode() + b"\n")

    def take(self, recipient: str) -> None:
        self.note(TAKEN, recipient)
        with self._lock:
            self._taken += 1
            if self._limits and self._taken >= self._limits[-1]:
                self._limits.pop()
                self._enough_until = time.monotonic() + ENOUGH_FOR

    def is_over_limit(self) -> bool:
        """Return whether the account is over its daily limit now."""
        return time.monotonic() < self._enough_until

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock, contextlib.suppress(Gone, OSError):
            _Conversation(self, sock, Random(f"{self.seed}/{number}")).run()  # noqa: S311 - repeatable


class _Conversation:
    """One connection. Before each email it is drawn at random whether and how it fails."""

    def __init__(self, server: DrillServer, sock: socket.socket, chance: Random) -> None:
        self.server, self.sock, self.chance = server, sock, chance
        self.buffer = bytearray()
        self.sender = self.recipient = ""
        self.features = chance.choice(FEATURES)
        self.cut_at = self.busy_at = ""
        self.answers: dict[str, str] = {}

    def run(self) -> None:
        if self.chance.random() < GREETED_BADLY:
            self._cut("connect")
        self._say("220 drill ESMTP")
        while True:
            word, _blank, rest = self._line().partition(" ")
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
        self._choose_faults()
        if self.server.is_over_limit():
            self._refuse("mail", DAILY_LIMIT)
        elif self._goes_well("mail", "250 2.1.0 Ok"):
            self.sender, self.recipient = _address(rest), ""

    def do_rcpt(self, rest: str) -> None:
        if not self.sender:
            self._say("503 5.5.1 MAIL first")
        elif self._goes_well("rcpt", "250 2.1.5 Ok"):
            self.recipient = _address(rest)

    def do_data(self, rest: str) -> None:
        if not self.recipient:
            self._say("554 5.5.1 No valid recipients")
        elif self._goes_well("data", "354 Go ahead"):
            if self.cut_at == "content":
                self._more()
                self._cut("content")
            self._until_dot()
            self._end_of_email()

    def do_bdat(self, rest: str) -> None:
        size = int(rest.split()[0])
        if self.cut_at == "content" and self.recipient:
            self._exactly(size // 2)
            self._cut("content")
        self._exactly(size)
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

    def _choose_faults(self) -> None:
        chance, self.answers, self.cut_at, self.busy_at = self.chance, {}, "", ""
        if chance.random() < self.server.cut:
            self.cut_at = chance.choice(STAGES)
        elif chance.random() < self.server.cut / 2:
            self.busy_at = chance.choice(("mail", "rcpt", "data", "dot"))
        for share, table in ((PUT_OFF, LATER), (REFUSED, NEVER)):
            if chance.random() < share:
                stage = chance.choice(sorted(table))
                # A failure of the server itself makes the sender wait, as a broken connection does, so it
                # must be rare.
                if stage != "mail" or chance.random() < self.server.cut / CUT:
                    self.answers[stage] = chance.choice(table[stage])
        if chance.random() < SLOW:
            time.sleep(chance.uniform(0, SLOWEST))

    def _end_of_email(self) -> None:
        recipient, self.sender = self.recipient, ""
        self.recipient = ""
        if self.cut_at == "dot":
            self._cut("dot")
        if self.server.is_over_limit():
            self._refuse("dot", DAILY_LIMIT)
        elif self._may_continue("dot"):
            self.server.take(recipient)
            if self.cut_at == "taken":
                self._cut("taken")
            self._say("250 2.0.0 Queued")
            if self.cut_at == "answered":
                self._cut("answered")

    def _goes_well(self, stage: str, right: str) -> bool:
        """Return whether the right answer was given."""
        if self.cut_at == stage:
            self._cut(stage)
        if not self._may_continue(stage):
            return False
        self._say(right)
        return True

    def _may_continue(self, stage: str) -> bool:
        if self.busy_at == stage:
            self._refuse(stage, BUSY)
            self._cut(stage, reset=False)
        if answer := self.answers.get(stage):
            self._refuse(stage, answer)
            return False
        return True

    def _refuse(self, stage: str, answer: str) -> None:
        self.server.note(SAID, stage, answer)
        self._say(answer)

    def _cut(self, stage: str, *, reset: bool = True) -> None:
        """Close the connection, half of the time by RST, which discards what is on its way."""
        self.server.note(DROPPED, stage)
        if reset and self.chance.random() < 0.5:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def _say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\r\n")

    def _line(self) -> str:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line.decode("utf-8", "replace")

    def _exactly(self, size: int) -> None:
        while len(self.buffer) < size:
            self._more()
        del self.buffer[:size]

    def _until_dot(self) -> None:
        """Read an email's content up to the line with nothing but a dot."""
        if self.buffer.startswith(b".\r\n"):
            del self.buffer[:3]
            return
        while (end := self.buffer.find(b"\r\n.\r\n")) < 0:
            self._more()
        del self.buffer[: end + 5]

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        self.buffer += data


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]


if __name__ == "__main__":
    DrillServer(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()
