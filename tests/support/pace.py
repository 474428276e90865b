"""The load of the machine: bounds on time hold for a quiet machine and grow with the load."""

import os
from pathlib import Path

_LOAD = Path("/proc/loadavg")


def busyness() -> float:
    """Return how many threads compete for each core, at least 1: everything takes that much longer."""
    return max(1.0, max(os.getloadavg()[0], _running()) / (os.cpu_count() or 1))


def within(seconds: float) -> float:
    """Return the bound for something that takes less than ``seconds`` on a quiet machine."""
    return seconds * busyness()


def _running() -> int:
    """Return how many threads want a core now, 0 if unknown; the load average lags by a minute."""
    try:
        return int(_LOAD.read_text().split()[3].partition("/")[0])
    except OSError:
        return 0
