"""Write-behind buffer of opens: kept in memory for a fraction of a second, written in batches.

The pixel is requested far more often than anything else, and its response depends on no data. So it does not
wait for a transaction: if the process is killed, the buffered opens are lost, about half a second's worth.
When the database falls behind, responses become slower (backpressure) instead of more opens being at risk.
Only while the database accepts no writes at all does the buffer grow, so that pixels are still answered.
Clicks and unsubscribes are never buffered.
"""

import atexit
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Lock, Thread
from time import sleep

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from ..db import DATABASE, trouble_of
from .opens import Opening, record_opens

log = structlog.get_logger(__name__)

LONGEST_WAIT = 0.1  # seconds between writes; a write takes a few hundredths
SLOW = timedelta(seconds=0.2)  # an open not written by then delays each of the next requests a little
EASE = 0.005  # seconds of that delay: many short ones instead of few long ones
LATE = timedelta(seconds=0.4)  # an open not written by then holds the next requests
LONGEST_HOLD = 0.5  # seconds; a longer write means that the database is in trouble, and delays no requests
LONGEST_LOOK = 1.0  # seconds a report waits for buffered opens; without them it is slightly out of date
LONGEST_LOOK_IN_A_RUSH = 0.05  # when others come faster than they are written, and it is out of date anyway
AT_ONCE = 500  # opens in one transaction: their rows are locked for tens of milliseconds
MOST_WAITING = 50_000  # about 12 MB: twenty seconds of a very busy server without its database
PATIENCE = timedelta(minutes=1)  # how long an open waits for the database to come back


class OpenBuffer:
    """Buffer of the opens of one web process.

    ``sessions`` is called for each write, so the session factory may be replaced. The thread starts with the
    first open, that is after a server has forked, and ends with the process.
    """

    def __init__(self, sessions: Callable[[], sessionmaker[Session]]) -> None:
        self._sessions = sessions
        self._waiting: deque[Opening] = deque()
        self._lost = 0
        self._enough, self._ended = Event(), Event()
        self._starting, self._writing = Lock(), Lock()
        self._in_hand: Sequence[Opening] = ()  # those being written
        self._written = Condition()
        self._holding = True
        self._thread: Thread | None = None

    def add(self, opening: Opening) -> None:
        """Add an open to the next write. Delay while writes are slow; drop it when the buffer is full."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(opening)
        if len(self._waiting) >= AT_ONCE and not self._enough.is_set():
            self._enough.set()
        if self._thread is None:
            self._start()
        if self.holds():
            self._hold()
        elif self.delays():
            sleep(EASE)

    def delays(self) -> bool:
        """Return whether new requests are delayed because writes are slow or late."""
        return self._holding and self._is_older_than(SLOW)

    def holds(self) -> bool:
        """Return whether new requests are held because writes are late."""
        return self._holding and self._is_older_than(LATE)

    def flush(self) -> bool:
        """Write the buffered opens. Return False when the database fails; they are tried again later."""
        with self._writing:
            for _piece in range(-(-len(self._waiting) // AT_ONCE)):
                if not self._write(self._some()):
                    return False
            self._log_lost()
            return True

    def flush_those_of(self, tokens: Collection[bytes]) -> None:
        """Write the buffered opens first if some belong to these emails.

        Whether a click was a human's depends on the order of opens and clicks of its email.
        """
        if any(opening.token in tokens for opening in self._buffered()):
            self.flush()

    def catch_up(self) -> None:
        """Wait until the opens buffered now are written, at most ``LONGEST_LOOK`` seconds."""
        if self._oldest() is None:
            return
        now = datetime.now(UTC)
        longest = LONGEST_LOOK if len(self._waiting) < AT_ONCE else LONGEST_LOOK_IN_A_RUSH
        with self._written:
            self._enough.set()
            self._written.wait_for(lambda: (oldest := self._oldest()) is None or oldest.at > now, longest)

    def close(self) -> None:
        """Stop the thread and write the rest. Opens that cannot be written now are lost."""
        self._ended.set()
        self._enough.set()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.close)
        if not self.flush():
            log.error("opens.lost", number=len(self._waiting))

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._ended.is_set():
                self._thread = Thread(target=self._run, name="opens", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._enough.wait(LONGEST_WAIT)
            self._enough.clear()
            if not self.flush():
                self._ended.wait(LONGEST_WAIT)  # while the database is away, do not try again for every open

    def _is_older_than(self, age: timedelta) -> bool:
        oldest = self._oldest()
        return oldest is not None and datetime.now(UTC) - oldest.at > age

    def _oldest(self) -> Opening | None:
        # Twice in hand: one may have been taken in hand while we looked among those that wait.
        places = (*self._in_hand[:1], *self._first_waiting(), *self._in_hand[:1])
        return places[0] if places else None

    def _first_waiting(self) -> list[Opening]:
        try:
            return [self._waiting[0]]
        except IndexError:
            return []

    def _buffered(self) -> list[Opening]:
        while True:
            try:
                return [*self._in_hand, *self._waiting, *self._in_hand]  # in whichever direction one moves
            except RuntimeError:  # changed while it was copied
                continue

    def _hold(self) -> None:
        """Wait until writes have caught up. After a timeout, delay no request until a write succeeds."""
        with self._written:
            if not self._written.wait_for(lambda: not self.holds(), LONGEST_HOLD):
                self._holding = False

    def _some(self) -> list[Opening]:
        taken = [self._waiting[place] for place in range(min(AT_ONCE, len(self._waiting)))]
        self._in_hand = taken  # before they leave the queue, so that each is always in one of the two
        for _opening in taken:
            self._waiting.popleft()
        return taken

    def _write(self, openings: Sequence[Opening]) -> bool:
        done = self._try(openings)
        with self._written:
            self._in_hand, self._holding = (), done
            self._written.notify_all()
        return done

    def _try(self, openings: Sequence[Opening]) -> bool:
        try:
            with self._sessions().begin() as session:
                record_opens(session, openings)
        except SQLAlchemyError as error:
            DATABASE.began(log, "opens.not_written", number=len(openings), error=trouble_of(error))
            self._keep(openings, datetime.now(UTC) - PATIENCE)
            return False
        DATABASE.ended(log)
        return True

    def _keep(self, openings: Sequence[Opening], since: datetime) -> None:
        """Put opens back at the front in their order, except those from before ``since``, which are lost."""
        kept = [each for each in openings if each.at >= since]
        self._waiting.extendleft(reversed(kept))
        self._lost += len(openings) - len(kept)
        self._log_lost()

    def _log_lost(self) -> None:
        if self._lost:
            log.error("opens.lost", number=self._lost)
            self._lost = 0
