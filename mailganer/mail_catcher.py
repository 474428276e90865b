"""Local mail catcher: a mail server that keeps every email and delivers none.

Used by ``mailganer catch`` and the demo. Emails are kept in a Maildir whose file names begin with the time of
arrival and contain the recipient, so that the newest of ten thousand, or those to one recipient, are found
without opening the others.
"""

from __future__ import annotations

import asyncio
import email.policy
import logging
import os
import re
import signal
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from heapq import nlargest
from itertools import count
from pathlib import Path
from typing import Any

from .errors import MailganerError, NotFound, _

MAX_EMAIL = 50 * 1024 * 1024
_HEAD = 64 * 1024  # headers are read for a list, not whole emails
_KEY = re.compile(r"(?P<time>\d{19})\.\d+_\d+\.(?P<to>[A-Za-z0-9%._~@+-]*)")
_numbers = count()


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the inbox. ``key`` identifies the email."""

    key: str
    received_at: datetime
    sender: str  # of the envelope
    recipient: str  # of the envelope
    from_: str
    to: str
    subject: str
    size: int


@dataclass(frozen=True, slots=True)
class CaughtEmail:
    """An email as it arrived. ``content`` is exactly what the sender transmitted."""

    summary: Summary
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    content: bytes


@dataclass(frozen=True, slots=True)
class CaughtPage:
    """One page of emails, newest first. Pass ``next`` as ``before`` for the next page; None on the last."""

    items: tuple[Summary, ...]
    next: str | None
    total: int


def serve_catcher(host: str, port: int, folder: Path, ready: threading.Event | None = None) -> None:
    """Catch emails until SIGTERM or SIGINT. ``ready`` is set when the port is open."""
    try:
        import aiosmtpd  # noqa: F401 - imported early, so that its absence is reported
    except ImportError:
        raise MailganerError(
            _("The mail catcher needs the package aiosmtpd. Install it: pip install aiosmtpd.")
        ) from None
    make_folder(folder)
    _quieten()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(host, port, folder, ready))


def _quieten() -> None:
    # Without a configured logger, aiosmtpd writes every login and its own deprecations to the terminal.
    logging.getLogger("mail.log").setLevel(logging.ERROR)


async def _serve(host: str, port: int, folder: Path, ready: threading.Event | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    try:
        server = await loop.create_server(lambda: _protocol(folder, loop), host, port)
    except OSError as error:
        raise MailganerError(
            _(
                "The mail catcher cannot listen on ${host}, port ${port}: ${problem}. Choose another port.",
                mapping={"host": host, "port": port, "problem": error.strerror or str(error)},
            )
        ) from None
    if ready is not None:
        ready.set()
    await stop.wait()
    server.close()


def _protocol(folder: Path, loop: asyncio.AbstractEventLoop) -> Any:
    from aiosmtpd.smtp import SMTP, AuthResult

    return SMTP(
        _Handler(folder),
        hostname="catcher.localhost",
        ident="Mailganer catcher",
        data_size_limit=MAX_EMAIL,
        enable_SMTPUTF8=True,
        authenticator=lambda *_arguments: AuthResult(success=True),
        auth_require_tls=False,
        loop=loop,
    )


class _Handler:
    """aiosmtpd handler: writes every email to a file before it is acknowledged with 250."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        # aiosmtpd reads commands one by one from a buffer, so pipelined commands work and can be offered.
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        for recipient in envelope.rcpt_tos:
            store_email(self._folder, envelope.mail_from or "", recipient, envelope.content)
        return "250 2.0.0 Kept"


def make_folder(folder: Path) -> None:
    """Create the Maildir. Raises ``MailganerError`` on failure."""
    try:
        for part in ("tmp", "new", "cur"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MailganerError(
            _(
                "Mailganer cannot write to the folder ${folder}: ${problem}.",
                mapping={"folder": str(folder), "problem": error.strerror or str(error)},
            )
        ) from None


def store_email(folder: Path, sender: str, recipient: str, content: bytes) -> str:
    """Store an email in the Maildir and return its key. Two headers above it hold the envelope."""
    quoted = urllib.parse.quote(recipient, safe="@+")[:120]
    key = f"{time.time_ns():019d}.{os.getpid()}_{next(_numbers)}.{quoted}"
    waiting = folder / "tmp" / key
    envelope = f"Return-Path: <{_one_line(sender)}>\r\nDelivered-To: {_one_line(recipient)}\r\n"
    waiting.write_bytes(envelope.encode("utf-8", "surrogateescape") + content)
    waiting.rename(folder / "new" / key)
    return key


def read_outbox(folder: Path, limit: int = 50, before: str | None = None, to: str = "") -> CaughtPage:
    """Return the newest emails older than ``before``, only those whose recipient contains ``to``."""
    wanted = urllib.parse.quote(to.strip(), safe="@+").lower()
    keys = [key for key in _keys(folder) if wanted in key.partition("_")[2].partition(".")[2].lower()]
    older = keys if before is None else [key for key in keys if key < before]
    newest = nlargest(limit + 1, older)
    items = [summary for key in newest[:limit] if (summary := _summary(folder, key)) is not None]
    return CaughtPage(tuple(items), newest[limit - 1] if len(newest) > limit else None, len(keys))


def read_email(folder: Path, key: str) -> CaughtEmail:
    """Return one email. Raises ``NotFound``."""
    data = _read(folder, key, None)
    if data is None:
        raise NotFound(_("This email is no longer in the mail catcher."))
    message = _parsed(data)
    body = data.split(b"\n", 2)[2]  # without the two lines of the envelope
    return CaughtEmail(
        summary=_summarised(key, message, len(body)),
        headers=tuple((name, str(value)) for name, value in message.items()[2:]),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        content=body,
    )


def clear_outbox(folder: Path) -> int:
    """Delete all emails and return their number."""
    keys = list(_keys(folder))
    for key in keys:
        (folder / "new" / key).unlink(missing_ok=True)
    return len(keys)


def _keys(folder: Path) -> Iterator[str]:
    with suppress(FileNotFoundError):
        yield from (name for name in os.listdir(folder / "new") if _KEY.fullmatch(name))


def _summary(folder: Path, key: str) -> Summary | None:
    data = _read(folder, key, _HEAD)
    if data is None:
        return None
    head = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0]
    size = (folder / "new" / key).stat().st_size - sum(len(line) + 1 for line in data.split(b"\n", 2)[:2])
    return _summarised(key, _parsed(head + b"\r\n\r\n"), size)


def _read(folder: Path, key: str, size: int | None) -> bytes | None:
    if not _KEY.fullmatch(key):  # keys come from page addresses and must not lead out of the folder
        return None
    try:
        with (folder / "new" / key).open("rb") as file:
            return file.read() if size is None else file.read(size)
    except FileNotFoundError:
        return None


def _parsed(data: bytes) -> EmailMessage:
    return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(data)


def _summarised(key: str, message: EmailMessage, size: int) -> Summary:
    nanoseconds = int(key[:19])
    return Summary(
        key=key,
        received_at=datetime.fromtimestamp(nanoseconds / 1e9, UTC),
        sender=_header(message, "Return-Path").strip("<>"),
        recipient=_header(message, "Delivered-To"),
        from_=_header(message, "From"),
        to=_header(message, "To"),
        subject=_header(message, "Subject"),
        size=size,
    )


def _header(message: EmailMessage, name: str) -> str:
    return str(message.get(name, ""))


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (LookupError, UnicodeError):  # an unknown charset
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _one_line(address: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "", address)
