"""Faulty mail server of the drill, which fails at every stage and records every email it really accepts.

An email is recorded before it is acknowledged. The server is a process of its own, ``python -m
mailganer.drill.server FOLDER SEED EMAILS``, so the record survives whatever is killed in a drill. The port is
in ``FOLDER/port``, the record in ``FOLDER/record``: lines that are only ever appended, fields separated by
tabs. The seed decides what fails on which connection.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from random import Random

from .conversation import Conversation, Gone
from .faults import CUT
from .record import PORT, RECORD, TAKEN

CUTS = 100  # broken connections in a whole drill: after each the installation waits for its next tick
ENOUGH_FOR = 1.5  # seconds in which everything gets that answer


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
            Conversation(self, sock, Random(f"{self.seed}/{number}")).run()  # noqa: S311 - repeatable


if __name__ == "__main__":
    DrillServer(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()
