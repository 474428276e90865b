"""Free ports, waiting for a response, and children that end with the tests."""

import ctypes
import signal
import socket
import time
from collections.abc import Callable

from .pace import within

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def free_port() -> int:
    """Return a TCP port of the loopback address on which nothing listened just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent() -> None:
    """End this child when the tests end, however they end. For ``preexec_fn``."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(
    answers: Callable[[], object], timeout: float = 30, what: str = "", every: float = 0.05
) -> object:
    """Return the first true result; fail if there is none within ``timeout`` seconds of a quiet machine.

    Connection errors count as "not yet".
    """
    began = time.monotonic()
    trouble: Exception | None = None
    while time.monotonic() - began < within(timeout):
        try:
            if answer := answers():
                return answer
        except OSError as error:
            trouble = error
        time.sleep(every)
    raise AssertionError(f"waited {timeout:g} s in vain for {what or answers}: {trouble or 'no'}")
