"""Group commit: what many requests write becomes one transaction, and each is answered after its commit.

A commit waits for the disk, and a statement costs more than what it does to one row. So requests that come
at about the same time share both. Nothing is answered before it is written: if the process is killed, no
answered request is lost.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Event, Thread
from time import sleep
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from ..db import DATABASE, OUT_OF_REACH, is_serialization_failure, trouble_of
from ..errors import Busy, _

log = structlog.get_logger(__name__)

AT_ONCE = 200  # members of one transaction: their rows are locked for milliseconds
MOST_WAITING = 2_000
GATHERING = 0.002  # seconds that a group waits for more members while requests come in groups
SEVERAL = 4  # members of a group that shows that
GONE = 2  # failures in a row by which a database that is gone is told from one member that it refuses
ASK_AGAIN = 5  # seconds until a refused client should retry
_BUSY = _("Too many requests are waiting right now. Try again in a few seconds.")

Member = TypeVar("Member")
Answer = TypeVar("Answer")


class OutcomeUnknown(Exception):
    """A commit failed: its changes may be there or not, so they are not written again.

    ``__cause__`` is the error of the database.
    """


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Answer]):
    """What became of a member: its answer, or the error that it failed with."""

    answer: Answer | None = None
    error: Exception | None = None

    def result(self) -> Answer | None:
        """Return the answer, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answer


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Member, Answer]):
    member: Member
    done: Callable[[Outcome[Answer]], None]
    wake: Callable[[], None] | None


class GroupWriter(Generic[Member, Answer]):
    """Writes members in groups, in the order they came.

    ``write`` takes a session and the members of a group and returns their answers in the same order; it
    neither commits nor catches errors. ``prepare`` is called before each transaction. If a group fails, each
    of its members is written alone, so that one of them does not lose the others.

    A writer may also be ``reading``: what many requests look up becomes one statement.

    With several ``threads`` one group is prepared while another one is being committed: members of different
    groups then share no order. A thread starts when a member comes that none is free for, so after a server
    has forked.
    """

    def __init__(
        self,
        name: str,
        sessions: Callable[[], sessionmaker[Session]],
        write: Callable[[Session, Sequence[Member]], Sequence[Answer | None]],
        prepare: Callable[[Sequence[Member]], object] = lambda _members: None,
        *,
        threads: int = 1,
        reading: bool = False,
    ) -> None:
        self._name = name
        self._sessions, self._write, self._prepare = sessions, write, prepare
        self._most_threads, self._reading = threads, reading
        self._begin(os.getpid())

    def _begin(self, process: int) -> None:
        self._process = process
        self._changed = Condition()
        self._waiting: deque[_Waiting[Member, Answer]] = deque()
        self._threads: list[Thread] = []
        self._idle = 0
        self._ended = False

    def submit(
        self,
        member: Member,
        done: Callable[[Outcome[Answer]], None],
        wake: Callable[[], None] | None = None,
    ) -> bool:
        """Write a member with the next group, then call ``done`` in another thread.

        Call ``wake`` once for all members of a group that gave the same one. Return False, and do nothing,
        when too many wait.
        """
        if self._process != os.getpid():
            self._begin(os.getpid())  # forked: the thread stayed with the parent
        with self._changed:
            if self._ended or len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(_Waiting(member, done, wake))
            if self._idle:
                self._changed.notify()
            elif len(self._threads) < self._most_threads:
                self._threads.append(Thread(target=self._run, name=self._name, daemon=True))
                self._threads[-1].start()
        return True

    def wait(self, member: Member) -> Outcome[Answer]:
        """Write a member with the next group and return what became of it: ``Busy`` when too many wait."""
        found: list[Outcome[Answer]] = []
        written = Event()

        def done(outcome: Outcome[Answer]) -> None:
            found.append(outcome)
            written.set()

        if not self.submit(member, done):
            return Outcome(error=Busy(_BUSY, ASK_AGAIN))
        written.wait()
        return found[0]

    def close(self) -> None:
        """Write what waits and stop the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._process == os.getpid():
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        size = 0
        while self._are_waiting():
            if size >= SEVERAL and len(self._waiting) < size and not self._ended:
                sleep(GATHERING)
            group = self._taken()
            size = len(group)
            for each, outcome in zip(group, self._written([each.member for each in group]), strict=True):
                _safely(each.done, outcome)
            for wake in {each.wake for each in group if each.wake is not None}:
                _safely(wake)

    def _are_waiting(self) -> bool:
        """Wait for members. Return False when the writer was closed and none are left."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._ended)
            self._idle -= 1
            return bool(self._waiting)

    def _taken(self) -> list[_Waiting[Member, Answer]]:
        with self._changed:
            return [self._waiting.popleft() for _each in range(min(AT_ONCE, len(self._waiting)))]

    def _written(self, members: Sequence[Member]) -> list[Outcome[Answer]]:
        if not members:  # another thread was faster
            return []
        try:
            return [Outcome(answer) for answer in self._in_one_transaction(members)]
        except Exception as error:
            return (
                self._one_by_one(members, error) if _may_try_again(error, members) else _all(members, error)
            )

    def _one_by_one(self, members: Sequence[Member], error: Exception) -> list[Outcome[Answer]]:
        """Write each member of a failed group alone, until the database fails for two in a row."""
        log.warning("group.failed", group=self._name, members=len(members), error=type(error).__name__)
        outcomes: list[Outcome[Answer]] = []
        gone = 0
        for number, member in enumerate(members):
            try:
                outcomes += [Outcome(answer) for answer in self._in_one_transaction([member])]
                gone = 0
            except Exception as own:
                outcomes.append(Outcome(error=own))
                gone = gone + 1 if _is_gone(own) else 0
                if gone == GONE:
                    return outcomes + _all(members[number + 1 :], own)
        return outcomes

    def _in_one_transaction(self, members: Sequence[Member]) -> Sequence[Answer | None]:
        try:
            self._prepare(members)
            with self._sessions()() as session:
                answers = self._write(session, members)
                _commit(session)
        except OUT_OF_REACH as error:
            if not is_serialization_failure(error):
                DATABASE.began(log, "group.not_written", number=len(members), error=trouble_of(error))
            raise
        if not self._reading:  # that would not show whether a full disk is usable again
            DATABASE.ended(log)
        return answers


def _safely(tell: Callable[..., None], *arguments: object) -> None:
    try:
        tell(*arguments)
    except Exception:  # one that cannot be told must not end the thread that all others wait for
        log.exception("group.not_told")


def _commit(session: Session) -> None:
    try:
        session.commit()
    except SQLAlchemyError as error:
        if is_serialization_failure(error):
            raise
        raise OutcomeUnknown from error


def _may_try_again(error: Exception, members: Sequence[object]) -> bool:
    if isinstance(error, OutcomeUnknown):
        return False
    return len(members) > 1 or is_serialization_failure(error)


def _is_gone(error: Exception) -> bool:
    return isinstance(error, OUT_OF_REACH) and not is_serialization_failure(error)


def _all(members: Sequence[object], error: Exception) -> list[Outcome[Answer]]:
    return [Outcome(error=error) for _member in members]
