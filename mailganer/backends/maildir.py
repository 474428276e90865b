"""Maildir backend: emails go into folders instead of to recipients, for trying out. No password, no network.

Every user of this backend can sign in with any address, so it is only enabled where the operator names it.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ..errors import SenderRefused, _
from .base import Backend, Connection
from .messages import Message, Outcome, Receipt, Scope, clean
from .network import Limits
from .replies import LATER_CONNECTION

_numbers = count()
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class MaildirSettings(BaseModel):
    """No settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class MaildirBackend(Backend):
    """A Maildir per address under the operator's option ``folder`` (``var/maildir``).

    A file's name contains a digest of its Message-ID, so that an email in doubt is found without opening
    files.
    """

    name = "maildir"
    title = _("Folder on the server (Maildir)")
    domains = frozenset()
    Settings = MaildirSettings
    limits = Limits(max_connections=4)
    option_names = frozenset({"folder"})
    help = _("Emails are saved to a folder on the server and not delivered.")

    @property
    def folder(self) -> Path:
        """The folder of this account's emails."""
        safe = re.sub(r"[^a-z0-9@._+-]", "_", self.email.lower()).lstrip(".")
        return Path(self.options.get("folder") or "var/maildir") / safe

    def identity(self) -> tuple[str, str]:
        """Return "maildir" as the server and the address as the login."""
        return "maildir", self.email.casefold()

    def verify(self) -> None:
        """Create the folder and write to it."""
        with self._writable():
            self._prepare()
            probe = self.folder / "tmp" / _unique("probe")
            probe.write_bytes(b"")
            probe.unlink()

    def connect(self) -> Connection:
        """Return a connection. It cannot break, but the disk may be full."""
        with self._writable():
            self._prepare()
        return MaildirConnection(self.folder)

    def was_accepted(self, message_id: str) -> bool | None:
        """Return whether there is a file for this Message-ID. Only the rename into ``new`` creates one."""
        digest = _digest(message_id.encode())
        folders = (self.folder / "new", self.folder / "cur")
        try:
            return any(digest in name for folder in folders if folder.is_dir() for name in os.listdir(folder))
        except OSError:
            return None

    def _prepare(self) -> None:
        for part in ("tmp", "new", "cur"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SenderRefused(
                _(
                    "Mailganer cannot write to the folder ${folder}: ${problem}.",
                    mapping={"folder": str(self.folder), "problem": error.strerror or type(error).__name__},
                ),
                clean(error.strerror or ""),
            ) from None


class MaildirConnection(Connection):
    """A connection that writes one file per email."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: Message) -> Receipt:
        """Write the file, flush it to disk, and only then make it visible."""
        found = _MESSAGE_ID.search(_HEADER_END.split(message.content, maxsplit=1)[0])
        name = _unique(_digest(found[1]) if found else "none")
        waiting = self._folder / "tmp" / name
        try:
            with waiting.open("xb") as file:
                file.write(f"Return-Path: <{message.sender}>\r\n".encode())
                file.write(f"Delivered-To: {message.recipient}\r\n".encode())
                file.write(message.content)
                file.flush()
                os.fsync(file.fileno())
            waiting.rename(self._folder / "new" / name)
        except OSError as error:
            waiting.unlink(missing_ok=True)
            return LATER_CONNECTION.receipt(message.id, clean(error.strerror or ""))
        return Receipt(message.id, Outcome.accepted, name, None, Scope.recipient)


def _digest(message_id: bytes) -> str:
    bare = message_id.strip().strip(b"<>")
    return hashlib.sha256(bare).hexdigest()[:32]


def _unique(key: str) -> str:
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
    return f"{time.time_ns()}.{os.getpid()}_{next(_numbers)}_{key}.{host}"
