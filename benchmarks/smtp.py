"""CPU and speed of one connection: ours, and smtplib on a reused connection, against the same sink.

    python benchmarks/smtp.py [--emails 5000] [--size 27000] [--delay 0.0]

The sink runs in a separate process and only counts; the printed CPU is that of the sending process.
``--delay`` delays every reply, as the distance to a server would.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import smtplib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from mailganer.backends import Message, Network
from mailganer.backends.smtp import SMTPBackend, SMTPSettings

PIPELINING = ("PIPELINING", "8BITMIME", "SIZE 104857600")
CHUNKING = (*PIPELINING, "CHUNKING")


class Sink(threading.Thread):
    """One session: accepts everything, keeps nothing, replies with the given delay."""

    def __init__(self, sock: socket.socket, features: Sequence[str], delay: float) -> None:
        super().__init__(daemon=True)
        self._sock, self._features, self._delay = sock, features, delay
        self._answers: deque[tuple[float, bytes]] = deque()
        self._due = threading.Semaphore(0)

    def run(self) -> None:
        if self._delay:
            threading.Thread(target=self._answer_late, daemon=True).start()
        with contextlib.suppress(OSError):
            self._talk()

    def _say(self, data: bytes) -> None:
        if self._delay:
            self._answers.append((time.monotonic() + self._delay, data))
            self._due.release()
        else:
            self._sock.sendall(data)

    def _answer_late(self) -> None:
        while True:
            self._due.acquire()
            when, data = self._answers.popleft()
            time.sleep(max(0.0, when - time.monotonic()))
            try:
                self._sock.sendall(data)
            except OSError:
                return

    def _talk(self) -> None:
        self._sock.sendall(b"220 sink\r\n")
        buffer = bytearray()
        out: list[bytes] = []
        while True:
            while (end := buffer.find(b"\r\n")) >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 2]
                command = line[:4].upper()
                if command == b"EHLO":
                    lines = [b"sink", *(feature.encode() for feature in self._features)]
                    out += [b"250-" + text + b"\r\n" for text in lines[:-1]] + [b"250 " + lines[-1] + b"\r\n"]
                elif command == b"DATA":
                    out.append(b"354 go\r\n")
                    self._flush(out)
                    while (end := buffer.find(b"\r\n.\r\n")) < 0:
                        self._more(buffer)
                    del buffer[: end + 5]
                    out.append(b"250 2.0.0 Ok\r\n")
                elif command == b"BDAT":
                    size = int(line.split()[1])
                    while len(buffer) < size:
                        self._flush(out)
                        self._more(buffer)
                    del buffer[:size]
                    out.append(b"250 2.0.0 Ok\r\n")
                elif command == b"QUIT":
                    out.append(b"221 bye\r\n")
                else:
                    out.append(b"250 2.1.0 Ok\r\n")
            self._flush(out)
            self._more(buffer)

    def _flush(self, out: list[bytes]) -> None:
        if out:
            self._say(b"".join(out))
            out.clear()

    def _more(self, buffer: bytearray) -> None:
        data = self._sock.recv(262144)
        if not data:
            raise ConnectionError
        buffer += data


@contextlib.contextmanager
def sink(features: Sequence[str], delay: float) -> Iterator[int]:
    """Start a sink in a separate process; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        while True:
            sock, _address = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Sink(sock, features, delay).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def emails(count: int, size: int) -> list[Message]:
    line = b'<p style=3D"color:#333">A line of an email as it looks when it is encoded. =\r\n'
    body = line * (size // len(line))
    return [
        Message(
            number, "anna@example.com", f"reader{number}@example.org", b"Subject: %d\r\n\r\n" % number + body
        )
        for number in range(count)
    ]


def ours(port: int, depth: int) -> Callable[[Iterable[Message]], None]:
    settings = SMTPSettings.model_validate({"host": "127.0.0.1", "port": port, "security": "none"})
    options = {"depth": str(depth), "open_relay": "true"}
    backend = SMTPBackend("anna@example.com", settings, Network(allow_private=True), options)

    def send(messages: Iterable[Message]) -> None:
        with backend.connect() as connection:
            for receipt in connection.send_many(messages):
                assert receipt.outcome == "accepted", receipt

    return send


def plain(port: int) -> Callable[[Iterable[Message]], None]:
    def send(messages: Iterable[Message]) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            for message in messages:
                client.sendmail(message.sender, [message.recipient], message.content)

    return send


def measure(name: str, send: Callable[[Iterable[Message]], None], todo: list[Message]) -> None:
    began, used = time.perf_counter(), time.process_time()
    send(todo)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(f"{name:34} {len(todo) / wall:9,.0f} emails/s {cpu / len(todo) * 1e6:8.1f} us CPU an email")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emails", type=int, default=5000)
    parser.add_argument("--size", type=int, default=27_000)
    parser.add_argument("--delay", type=float, default=0.0)
    how = parser.parse_args()
    todo = emails(how.emails, how.size)
    for name, features, make in (
        ("smtplib, one connection", PIPELINING, plain),
        ("ours, command by command", PIPELINING[1:], lambda port: ours(port, 1)),
        ("ours, in groups", PIPELINING, lambda port: ours(port, 1)),
        ("ours, overlapped", PIPELINING, lambda port: ours(port, 8)),
        ("ours, chunked, eight deep", CHUNKING, lambda port: ours(port, 8)),
    ):
        with sink(features, how.delay) as port:
            measure(name, make(port), todo)


if __name__ == "__main__":
    main()
