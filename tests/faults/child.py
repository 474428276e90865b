"""A process forked from the test, to be killed or to fail."""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies(owner: Any, name: str, nth: int = 1, *, after: bool = False) -> None:
    """Kill this process at the ``nth`` call of ``owner.name``, before or after it."""
    original, calls = getattr(owner, name), count(1)

    def mortal(*arguments: Any, **options: Any) -> Any:
        last = next(calls) == nth
        if last and not after:
            die()
        answer = original(*arguments, **options)
        if last:
            die()
        return answer

    setattr(owner, name, mortal)


class Place:
    """A point where a forked process waits until the test has changed its environment."""

    def __init__(self) -> None:
        self._here, self._arrive = os.pipe()
        self._start, self._go = os.pipe()

    def stop(self) -> None:
        """In the child: report the arrival and wait."""
        os.write(self._arrive, b".")
        os.read(self._start, 1)

    def await_child(self, timeout: float = 30) -> None:
        arrived, _, _ = select.select([self._here], [], [], timeout)
        assert arrived, "the child never came that far"
        os.read(self._here, 1)

    def go_on(self) -> None:
        os.write(self._go, b".")

    def close(self) -> None:
        for end in (self._here, self._arrive, self._start, self._go):
            os.close(end)


def stops(place: Place, owner: Any, name: str, nth: int = 1, *, after: bool = False) -> None:
    """Stop this process at ``place`` on the ``nth`` call of ``owner.name``, before or after it."""
    original, calls = getattr(owner, name), count(1)

    def stopping(*arguments: Any, **options: Any) -> Any:
        now = next(calls) == nth
        if now and not after:
            place.stop()
        answer = original(*arguments, **options)
        if now and after:
            place.stop()
        return answer

    setattr(owner, name, stopping)


def fork(work: Callable[[], object]) -> int:
    """Run ``work`` in a new process and return it. Its exit code is 0, or 1 for an exception."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def end_of(child: int) -> int:
    """Wait for it and return its exit code; for a signal, the negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
