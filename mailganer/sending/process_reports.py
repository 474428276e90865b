"""Reports of the data folder and secret keys with which each worker and web process was started.

A tick records the same for the worker that runs it, but a worker that gets no tick is never seen that way,
and web processes run none. A report is one small row, written by its own thread in its own transaction over a
connection that is closed afterwards. So it delays no other work, and an unreachable or full database delays
only the report.
"""

import logging
import mmap
import os
import secrets
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Literal

from sqlalchemy import Engine, delete, or_, select, update
from sqlalchemy.orm import Session

from ..data_folder import folder_id
from ..db import UNTRACKED, database_now, make_engine, make_sessions, upsert
from ..migrations import current, newest
from ..models import Heartbeat
from ..monotonic import elapsed
from ..settings import Settings
from ..vault import key_id

EVERY = 10.0  # seconds between two reports of a part
VALID_FOR = timedelta(seconds=30)  # three reports; a killed process is listed for so long
FORGOTTEN_AFTER = timedelta(minutes=5)
FAREWELL = 2.0  # seconds within which a stopping part may remove its report
PREFIX = "process "  # name of a heartbeat: "process PART HOST:PID ID"
WORKER = "worker "  # name of a heartbeat that a tick writes: "worker HOST:PID"
MOST_KEYS, KEY_DIGITS = 4, 8  # the ids of secret keys share a column of 32 characters

Part = Literal["web", "worker"]

log = logging.getLogger(__name__)


# --- writing


class ProcessReport:
    """The report of one part: a web process, or a worker with all processes of its pool.

    Created before a pool is forked. Whichever process of the pool finds the report due writes it, for all of
    them. The random id in the name distinguishes containers with the same host name and process number.
    """

    def __init__(self, part: Part, settings: Settings) -> None:
        self._owner = os.getpid()
        self._process = f"{part} {socket.gethostname()[:200]}:{self._owner}"
        self.name = f"{PREFIX}{self._process} {secrets.token_hex(4)}"
        self._settings = settings
        self._due = mmap.mmap(-1, 8)  # seconds by ``elapsed``; shared with processes that are forked later
        self._ended = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Report now and then regularly, in a thread, while the part runs.

        Call it in the process that reports.
        """
        self._thread = Thread(target=self._run, name="process-report", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Remove the report of a part that stops, within ``FAREWELL`` seconds.

        What remains expires.
        """
        self._ended.set()
        if self._thread is None:  # reports came from the processes of the pool, which have ended
            self._thread = Thread(target=self._remove, name="process-report", daemon=True)
            self._thread.start()
        self._thread.join(FAREWELL)

    def write(self, engine: Engine) -> None:
        """Write the report, unless the database has another schema revision."""
        folder, keys = folder_id(self._settings), "".join(_key_ids(self._settings))
        if current(engine.execution_options(reading=True)) != newest():
            return
        with make_sessions(engine).begin() as session:
            values = {"seen_at": database_now(session), "folder_id": folder, "key_id": keys}
            row = upsert(session, Heartbeat).values(name=self.name, **values)
            session.execute(row.on_conflict_do_update(index_elements=[Heartbeat.name], set_=values))

    def _run(self) -> None:
        engine = make_engine(self._settings.database_url)
        has_cleaned = False
        while self._lives() and not self._ended.is_set():
            if self._take_turn():
                try:
                    self.write(engine)
                    if not has_cleaned:
                        _forget_old(engine)
                        has_cleaned = True
                except Exception as error:  # whatever the error is, the thread continues and tries again
                    self._set_due(0.0)
                    log.debug("this process could not be reported: %s", type(error).__name__)
                finally:
                    engine.dispose()
            self._ended.wait(EVERY)
        if self._ended.is_set():
            self._remove()

    def _lives(self) -> bool:
        """Return whether this is the part's own process, or a pool process whose worker still runs."""
        return self._owner in (os.getpid(), os.getppid())

    def _take_turn(self) -> bool:
        """Return whether this process reports now; if so, make the other processes of the part wait."""
        (due,) = struct.unpack("d", self._due[:8])
        if elapsed() < due:
            return False
        self._set_due(elapsed() + EVERY - 1)
        return True

    def _set_due(self, due_at: float) -> None:
        self._due[:8] = struct.pack("d", due_at)

    def _remove(self) -> None:
        """Remove the report, and the setup that ticks of this worker have recorded."""
        engine = make_engine(self._settings.database_url)
        noted_by_tick = Heartbeat.name == self._process
        try:
            if current(engine.execution_options(reading=True)) != newest():
                return
            with make_sessions(engine).begin() as session:
                session.execute(delete(Heartbeat).where(Heartbeat.name == self.name))
                session.execute(update(Heartbeat).where(noted_by_tick).values(folder_id="", key_id=""))
        except Exception as error:
            log.debug("the report could not be removed: %s", type(error).__name__)
        finally:
            engine.dispose()


def _forget_old(engine: Engine) -> None:
    """Delete reports of killed processes, including those from before the clock was set back."""
    with make_sessions(engine).begin() as session:
        now = database_now(session)
        session.execute(
            delete(Heartbeat).where(
                Heartbeat.name.startswith(PREFIX),
                or_(Heartbeat.seen_at < now - FORGOTTEN_AFTER, Heartbeat.seen_at > now + FORGOTTEN_AFTER),
            ),
            execution_options=UNTRACKED,
        )


# --- comparing


@dataclass(frozen=True)
class ConfigMismatch:
    """A process with a different data folder or secret key, and which of the two differs."""

    part: str  # "web" or "worker"
    process: str  # "worker HOST:PID"
    what: Literal["data folder", "secret key"]


def config_mismatches(
    session: Session, settings: Settings, now: datetime, *, create: bool = True
) -> list[ConfigMismatch]:
    """Return the live processes whose data folder or secret keys differ from those of ``settings``.

    ``create``: give a data folder its id if it has none yet.
    """
    query = (
        select(Heartbeat)
        .where(
            or_(Heartbeat.name.startswith(PREFIX), Heartbeat.name.startswith(WORKER)),
            Heartbeat.seen_at.between(now - VALID_FOR, now + VALID_FOR),
        )
        .order_by(Heartbeat.name)
    )
    ours = folder_id(settings, create=create), _key_ids(settings)
    found = [misfit for row in session.scalars(query) for misfit in _compared(row, *ours)]
    return list(dict.fromkeys(found))


def _compared(row: Heartbeat, our_folder: str, our_keys: list[str]) -> Iterator[ConfigMismatch]:
    process = row.name
    if process.startswith(PREFIX):
        process = process.removeprefix(PREFIX).rpartition(" ")[0]
    part = process.partition(" ")[0]
    if row.folder_id and our_folder and row.folder_id != our_folder:  # empty: the folder id could not be read
        yield ConfigMismatch(part, process, "data folder")
    if row.key_id and not _read_each_other(row, our_keys):
        yield ConfigMismatch(part, process, "secret key")


def _read_each_other(row: Heartbeat, our_keys: list[str]) -> bool:
    """Return whether each process can decrypt what the other encrypts with its first key.

    A report written by a tick has the first key only.
    """
    if not row.name.startswith(PREFIX):
        return row.key_id[:KEY_DIGITS] in our_keys
    theirs = [row.key_id[at : at + KEY_DIGITS] for at in range(0, len(row.key_id), KEY_DIGITS)]
    return theirs[0] in our_keys and our_keys[0] in theirs


def _key_ids(settings: Settings) -> list[str]:
    return [key_id(key)[:KEY_DIGITS] for key in settings.secret_keys[:MOST_KEYS]]
