"""The costs of a piece of work."""

import os
import re
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """Wall-clock seconds, CPU seconds, the largest process in MB, and seconds of planning before."""

    emails: int
    seconds: float
    cpu: float
    memory: float
    planning: float = 0.0

    @property
    def speed(self) -> float:
        """Return emails per second."""
        return self.emails / self.seconds

    @property
    def each(self) -> float:
        """Return CPU microseconds per email."""
        return self.cpu / self.emails * 1e6


def cpu() -> float:
    """Return the CPU seconds of this process with its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def children_cpu() -> float:
    """Return the CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak(process: int | str = "self") -> float:
    """Return the peak memory of a running process in MB. (``ru_maxrss`` starts with its parent's.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


def cpu_of(process: int) -> float:
    """Return the CPU seconds of a running process with its threads."""
    return sum(_times(process)[:2])


def cpu_of_family(process: int) -> float:
    """Return the same including its children, ended ones too."""
    spent = sum(_times(process))
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with suppress(FileNotFoundError):  # it has just ended
            spent += cpu_of(int(child))
    return spent


def _times(process: int) -> list[float]:
    """User and system time, own and of ended children."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in after_name[11:15]]
