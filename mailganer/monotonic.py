"""A monotonic clock for durations within a process. Timestamps come from :mod:`mailganer.clock`."""

import time


def elapsed() -> float:
    """Return seconds of a monotonic clock.

    Where the system has one, it also advances while the machine is suspended.
    """
    if _BOOTTIME is not None:
        return time.clock_gettime(_BOOTTIME)
    return time.monotonic()


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
