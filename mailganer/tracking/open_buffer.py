"""Opens on their way into the database: kept in memory for a moment, written many at a time.

A picture is fetched far more often than anything else, and its answer says nothing. So it does not wait for a
transaction: what is kept here when the process is killed is lost, about half a second's opens. In a rush that
the database cannot follow, pictures become slower, not the risk greater. Only while the database takes
nothing at all is more kept, rather than no picture answered. Clicks and unsubscribes never come this way.
"""

import atexit
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Lock, Thread

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from ..db import DATABASE, trouble_of
from .opens import Opening, record_opens

log = structlog.get_logger(__name__)

LONGEST_WAIT = 0.25  # seconds; a write takes some hundredths
LATE = timedelta(seconds=0.4)  # an open not written by then holds up the next pictures
LONGEST_HOLD = 0.5  # seconds; a write that takes longer is a database in trouble, and holds up nobody
LONGEST_LOOK = 1.0  # seconds a report waits for opens; without them it is right to within a moment
AT_ONCE = 500  # opens of one transaction: their rows are locked for some tens of milliseconds
MOST_WAITING = 50_000  # a dozen megabytes: twenty seconds of a very busy server without its database
PATIENCE = timedelta(minutes=1)  # so long an open waits for the database to come back


class OpenBuffer:
    """The opens of one web process. ``sessions`` is asked for each write, so that it may be exchanged.

    Its thread starts with the first open, hence after a server has forked, and ends with the process.
    """

    def __init__(self, sessions: Callable[[], sessionmaker[Session]]) -> None:
        self._sessions = sessions
        self._waiting: deque[Opening] = deque()
        self._lost = 0
        self._enough, self._ended = Event(), Event()
        self._starting, self._writing = Lock(), Lock()
        self._in_hand: Opening | None = None  # the first of those that are being written
        self._written = Condition()
        self._holding = True
        self._thread: Thread | None = None

    def add(self, opening: Opening) -> None:
        """Keeps an open for the next write. Waits while it :meth:`holds`; a full buffer loses it."""
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

    def holds(self) -> bool:
        """Whether who comes now has to wait for a moment, because writes are late."""
        return self._holding and self._late()

    def flush(self) -> bool:
        """Writes what is waiting. False when the database does not take it: it is tried again later."""
        with self._writing:
            for _piece in range(-(-len(self._waiting) // AT_ONCE)):
                if not self._write(self._some()):
                    return False
            self._own_up()
            return True

    def catch_up(self) -> None:
        """Waits until what is here now is written; not for long, in case that the database takes nothing."""
        if self._oldest() is None:
            return
        now = datetime.now(UTC)
        with self._written:
            self._enough.set()
            self._written.wait_for(
                lambda: (oldest := self._oldest()) is None or oldest.at > now, LONGEST_LOOK
            )

    def close(self) -> None:
        """Ends the thread and writes the rest: there is no later any more."""
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
                self._ended.wait(LONGEST_WAIT)  # a database that is away is not asked by every open

    def _late(self) -> bool:
        oldest = self._oldest()
        return oldest is not None and datetime.now(UTC) - oldest.at > LATE

    def _oldest(self) -> Opening | None:
        try:
            return self._in_hand or self._waiting[0]
        except IndexError:
            return None

    def _hold(self) -> None:
        """Until writes have caught up. Where none comes at all, nobody is held again before one does."""
        with self._written:
            if not self._written.wait_for(lambda: not self.holds(), LONGEST_HOLD):
                self._holding = False

    def _some(self) -> list[Opening]:
        self._in_hand = self._waiting[0]
        return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]

    def _write(self, openings: Sequence[Opening]) -> bool:
        done = self._try(openings)
        with self._written:
            self._in_hand, self._holding = None, done
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
        """Back to the front, in their order; those from before ``since`` have waited long enough."""
        kept = [each for each in openings if each.at >= since]
        self._waiting.extendleft(reversed(kept))
        self._lost += len(openings) - len(kept)
        self._own_up()

    def _own_up(self) -> None:
        if self._lost:
            log.error("opens.lost", number=self._lost)
            self._lost = 0
