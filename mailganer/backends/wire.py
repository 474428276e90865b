"""Bytes to and from one server: every answer bounded in size, every wait bounded in time.

The server is named by a user and so untrusted. It may answer forever, one line a second, or in endless lines;
a socket's own timeout starts anew with each byte and does not help against that.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections import deque

from ..errors import _
from .replies import Reply

MAX_LINE = 4096  # RFC 5321 requires 512; real servers write more
MAX_REPLY = 65536
READ_SIZE = 65536
TLS_RECORD = 16384  # one write, one record: what was not sent is known to the length of a record
LOOK_AT_CLOCK = 60.0  # seconds; setting a timeout costs a system call, reading the clock does not
SLOWEST = 4096  # bytes a second; a server that reads more slowly holds us up on purpose


class Broken(Exception):
    """The connection is unusable. ``reason`` is a sentence without variables, or the server's last answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReplyTimeout(Broken):
    """No complete answer came in time."""


class ConnectionClosed(Broken):
    """The other side closed the connection."""


class InvalidReply(Broken):
    """The answer is not SMTP, or too long."""


class Wire:
    """A socket with a line buffer that knows how many bytes may have been sent.

    ``sent`` counts bytes the kernel certainly took, ``maybe_sent`` those it may have taken: they differ only
    after a failed write under TLS, where a record counts as sent once it was tried.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._lines: deque[bytes] = deque()  # complete lines that have not been read yet
        self._rest = b""  # and the beginning of another
        self._timeout: float | None = -1.0
        self.until = until  # monotonic; a limit for all stages together until the login is accepted
        self.sent = 0
        self.maybe_sent = 0

    def write(self, data: bytes, seconds: float) -> None:
        """Pass all of ``data`` to the kernel, or raise ``Broken``."""
        deadline = self._deadline(seconds + len(data) / SLOWEST)
        secure = isinstance(self._sock, ssl.SSLSocket)
        view = memoryview(data)
        while view:
            self._wait_at_most(deadline)
            part = view[:TLS_RECORD] if secure else view
            if secure:
                self.maybe_sent = self.sent + len(part)
            try:
                count = self._sock.send(part)
            except TimeoutError:
                continue  # until the deadline
            except OSError:
                raise ConnectionClosed(CLOSED) from None
            self.sent += count
            self.maybe_sent = self.sent
            view = view[count:]

    def reply(self, seconds: float) -> Reply:
        """Read the next complete answer."""
        deadline = self._deadline(seconds)
        line = self._line(deadline)
        code = _ONE_LINE.get(line[:4])
        if code is not None:
            return Reply(code, line)
        code = _code(line)
        if line[3:4] != b"-":
            return Reply(code, line)
        lines, size = [line], len(line)
        while line[3:4] == b"-":
            line = self._line(deadline)
            size += len(line) + 2
            if size > MAX_REPLY or _code(line) != code:
                raise InvalidReply(NOT_SMTP)
            lines.append(line)
        return Reply(code, _joined(lines))

    def take_successes(self, count: int) -> Reply | None:
        """Return the last of ``count`` answers, if all are here, one line each, and all are 2yz.

        Otherwise return None and consume nothing. A few such answers follow every email, so this fast path is
        worth it.
        """
        lines = self._lines
        if len(lines) < count:
            return None
        for at in range(count):
            if lines[at][:4] not in _GOOD or len(lines[at]) > MAX_LINE:
                return None
        for _each in range(count - 1):
            lines.popleft()
        last = lines.popleft()
        return Reply(_GOOD[last[:4]], last.rstrip(b"\r"))

    def lines(self, seconds: float) -> tuple[Reply, list[bytes]]:
        """Read the next answer with its lines apart, as needed for EHLO."""
        deadline = self._deadline(seconds)
        lines, size = [], 0
        while True:
            line = self._line(deadline)
            size += len(line) + 2
            if size > MAX_REPLY:
                raise InvalidReply(NOT_SMTP)
            lines.append(line)
            if line[3:4] != b"-":
                return Reply(_code(line), _joined(lines)), [text[4:] for text in lines]

    @property
    def pending(self) -> bool:
        """Whether bytes arrived that have not been read yet."""
        return bool(self._lines or self._rest)

    def is_quiet(self) -> bool:
        """Return whether nothing came while nothing was expected: neither a close nor a farewell."""
        if self.pending:
            return False
        try:
            poll = select.poll()  # select() takes no descriptor above 1023
            poll.register(self._sock, select.POLLIN)
            return not poll.poll(0)
        except (OSError, ValueError):
            return False

    def ends(self, seconds: float) -> bool:
        """Return whether the other side closes the connection without another answer."""
        if self.pending:
            return False
        try:
            self._fill(self._deadline(seconds))
        except ConnectionClosed:
            return True
        except Broken:
            return False
        return False

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Start TLS. Raises ``ssl.SSLError``, ``ReplyTimeout`` or ``ConnectionClosed``."""
        self._wait_at_most(self.until)
        self._timeout = -1.0
        try:
            self._sock = context.wrap_socket(self._sock, server_hostname=host)
        except ssl.SSLError:
            raise
        except TimeoutError:
            raise ReplyTimeout(TIMED_OUT) from None
        except (OSError, ValueError):
            raise ConnectionClosed(CLOSED) from None

    def address(self) -> str:
        """Return our own address as the server sees it, in the form for EHLO (RFC 5321, section 4.1.3)."""
        try:
            own = str(self._sock.getsockname()[0]).partition("%")[0]
        except OSError:
            own = "127.0.0.1"
        return f"[IPv6:{own}]" if ":" in own else f"[{own}]"

    def abort(self) -> None:
        """End every wait on this wire, from any thread. The socket still has to be closed."""
        # Not the TLS socket's own method: that one removes its TLS layer while another thread waits in it.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._sock.close()

    def _line(self, deadline: float) -> bytes:
        while not self._lines:
            if len(self._rest) > MAX_LINE:
                raise InvalidReply(NOT_SMTP)
            self._fill(deadline)
        line = self._lines.popleft()
        if len(line) > MAX_LINE:
            raise InvalidReply(NOT_SMTP)
        return line.rstrip(b"\r")

    def _fill(self, deadline: float) -> None:
        data = None
        while data is None:
            self._wait_at_most(deadline)
            try:
                data = self._sock.recv(READ_SIZE)
            except TimeoutError:
                continue  # until the deadline
            except OSError:
                raise ConnectionClosed(CLOSED) from None
        if not data:
            raise ConnectionClosed(CLOSED)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)

    def _deadline(self, seconds: float) -> float:
        return min(time.monotonic() + seconds, self.until)

    def _wait_at_most(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ReplyTimeout(TIMED_OUT)
        left = min(left, LOOK_AT_CLOCK)
        # Only when the timeout has become noticeably different.
        if not 0.9 * left <= (self._timeout or 0.0) <= left + 0.01:
            self._timeout = left
            try:
                self._sock.settimeout(left)
            except OSError:
                raise ConnectionClosed(CLOSED) from None


TIMED_OUT = str(_("The server did not respond in time."))
CLOSED = str(_("The server closed the connection."))
NOT_SMTP = str(_("The server sent a response that is not SMTP."))


_ONE_LINE = {b"%d " % code: code for code in range(200, 600)}
_GOOD = {start: code for start, code in _ONE_LINE.items() if code < 300}


def _code(line: bytes) -> int:
    code = line[:3]
    if (
        len(code) != 3
        or not code.isdigit()
        or not b"200" <= code < b"600"
        or line[3:4] not in (b"", b" ", b"-")
    ):
        raise InvalidReply(NOT_SMTP)
    return int(code)


def _joined(lines: list[bytes]) -> bytes:
    """Join all lines. The digits, and an enhanced code that repeats itself, are kept once."""
    first = lines[0][:3] + b" " + lines[0][4:]
    repeated = lines[0][4:].partition(b" ")[0]
    rest = []
    for line in lines[1:]:
        text = line[4:]
        if repeated.count(b".") == 2 and text.startswith(repeated):
            text = text[len(repeated) :]
        rest.append(text.strip())
    return b" ".join([first, *rest])
