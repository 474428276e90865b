"""A process forked from the test, to be killed or to go wrong in."""

import os
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
    """From now on this process dies when ``owner.name`` is called for the ``nth`` time, before or after."""
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


def fork(work: Callable[[], object]) -> int:
    """Does ``work`` in a process of its own, and answers which. It ends with 0; with 1 for an exception."""
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
    """Waits for it, and answers its exit code; of a signal, the negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
