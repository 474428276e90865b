"""Journal of a lane: which emails were handed over and answered, kept in a file that survives ``kill -9``.

A small memory-mapped file per lane. Its pages belong to the kernel, so they outlive the process, but not the
machine; hence the boot id stored with each window. The lock on the file shows whether the process lives: the
kernel releases it when the process ends, in whatever way and in whatever container it ran.

Every step is one byte, written last, so the file is never ahead of what happened.
"""

import fcntl
import mmap
import os
import socket
import struct
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from ...backends import Outcome, Receipt, Scope
from ...errors import in_english

SLOTS = 1000  # emails in the largest window
SLOT_SIZE = 256
REPLY_SIZE = 240  # bytes of a reply that are kept; enough for its codes and its first sentence

_HEADER = struct.Struct("<8sqi")
_MAGIC = b"mailgan1"
_DETAILS = struct.Struct("<BBiH")  # outcome, scope, retry_after, length of the reply
_OUTCOMES = tuple(Outcome)
_SCOPES = tuple(Scope)
_START = 64
_SIZE = _START + SLOTS * SLOT_SIZE

UNTOUCHED, HANDED, ANSWERED = 0, 1, 2


@cache
def host_name() -> str:
    """Return this machine's name and boot id.

    Journals of another host, or of another boot, cannot be trusted.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # a restart cannot be detected, so treat every process as a machine of its own
        boot = uuid.uuid4().hex
    return f"{socket.gethostname()[:200]}/{boot}"


def same_boot(host: str) -> bool:
    """Return whether this machine, under whatever name, has not been restarted since ``host`` was written."""
    return host.rpartition("/")[2] == host_name().rpartition("/")[2]


class Journal:
    """A lane's own journal, for one window at a time.

    Raise ``OSError`` when it cannot be created; no file remains then.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self._file = self.path.open("x+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._allocate()
            self._map = mmap.mmap(self._file.fileno(), _SIZE)
        except OSError:
            self.path.unlink(missing_ok=True)
            self._file.close()
            raise

    def _allocate(self) -> None:
        """Allocate the file on the disk now.

        A full disk would otherwise kill the process in the middle of an email.
        """
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), 0, _SIZE)
        else:
            self._file.write(bytes(_SIZE))
            self._file.flush()

    def begin(self, window_id: int, size: int) -> None:
        """Begin a new window. Until this returns, a reader finds that nothing of it was handed over."""
        _HEADER.pack_into(self._map, 0, _MAGIC, 0, 0)
        self._map[_START : _START + size * SLOT_SIZE] = bytes(size * SLOT_SIZE)
        _HEADER.pack_into(self._map, 0, _MAGIC, window_id, size)

    def handed(self, slot: int) -> None:
        self._map[_START + slot * SLOT_SIZE] = HANDED

    def answered(self, slot: int, receipt: Receipt) -> None:
        start = _START + slot * SLOT_SIZE
        reply = in_english(receipt.reply).encode()[:REPLY_SIZE]
        _DETAILS.pack_into(
            self._map,
            start + 1,
            _OUTCOMES.index(receipt.outcome),
            _SCOPES.index(receipt.scope),
            -1 if receipt.retry_after is None else min(receipt.retry_after, 2**31 - 1),
            len(reply),
        )
        begin = start + 1 + _DETAILS.size
        self._map[begin : begin + len(reply)] = reply
        self._map[start] = ANSWERED

    def close(self, *, keep: bool = False) -> None:
        """Close the journal, and delete it unless the sweep still has to settle a window by it (``keep``)."""
        if not keep:
            self.path.unlink(missing_ok=True)
        self._map.close()
        self._file.close()


@dataclass(frozen=True)
class JournalEntry:
    """One email of a window, as recorded in its journal."""

    state: int
    receipt: Receipt | None = None


@dataclass(frozen=True)
class LeftoverJournal:
    """A journal left by a dead process, or still in use. ``abandoned``: the process that wrote it is gone."""

    path: Path
    window_id: int
    notes: tuple[JournalEntry, ...]
    abandoned: bool


def is_abandoned(path: Path) -> bool:
    """Return whether the journal exists and the process that wrote it is gone."""
    try:
        with path.open("rb") as file:
            return _unlocked(file)
    except FileNotFoundError:
        return False


def read(path: Path) -> LeftoverJournal | None:
    """Read a journal; return None when it is not on this machine or is unreadable."""
    try:
        with path.open("rb") as file:
            abandoned = _unlocked(file)
            content = file.read()
    except OSError:
        return None
    if len(content) < _SIZE:
        return LeftoverJournal(path, 0, (), abandoned) if abandoned else None
    magic, window_id, size = _HEADER.unpack_from(content)
    if magic != _MAGIC:
        # Created but never begun, so its process had handed nothing over.
        window_id, size = 0, 0
    return LeftoverJournal(path, window_id, tuple(_note(content, slot) for slot in range(size)), abandoned)


def _unlocked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _note(content: bytes, slot: int) -> JournalEntry:
    start = _START + slot * SLOT_SIZE
    state = content[start]
    if state != ANSWERED:
        return JournalEntry(state)
    outcome, scope, retry_after, length = _DETAILS.unpack_from(content, start + 1)
    begin = start + 1 + _DETAILS.size
    reply = content[begin : begin + length].decode("utf-8", "ignore")
    wait = None if retry_after < 0 else retry_after
    return JournalEntry(state, Receipt(slot, _OUTCOMES[outcome], reply, wait, _SCOPES[scope]))
