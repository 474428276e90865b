"""How busy the machine is: bounds on time are those of a quiet machine, and grow with what else runs."""

import os
from pathlib import Path

_LOAD = Path("/proc/loadavg")


def busyness() -> float:
    """Return how many threads want each core, at least 1: everything takes that many times longer."""
    return max(1.0, max(os.getloadavg()[0], _running()) / (os.cpu_count() or 1))


def within(seconds: float) -> float:
    """Return the bound for something that takes less than ``seconds`` on a quiet machine."""
    return seconds * busyness()


def _running() -> int:
    """Return how many threads want a core now, 0 where it is not told; the average is a minute behind."""
    try:
        return int(_LOAD.read_text().split()[3].partition("/")[0])
    except OSError:
        return 0
