"""What a piece of work took."""

import os
import re
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, processor seconds, and the largest process in MB; seconds of planning before."""

    emails: int
    seconds: float
    cpu: float
    memory: float
    planning: float = 0.0

    @property
    def speed(self) -> float:
        """Emails a second."""
        return self.emails / self.seconds

    @property
    def each(self) -> float:
        """Processor microseconds an email."""
        return self.cpu / self.emails * 1e6


def cpu() -> float:
    """Processor seconds of this process, its threads among them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def children_cpu() -> float:
    """Processor seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak(process: int | str = "self") -> float:
    """The most memory a running process has had, in MB. (``ru_maxrss`` begins with what its parent had.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


def cpu_of(process: int) -> float:
    """Processor seconds of a running process, its threads among them."""
    return sum(_times(process)[:2])


def cpu_of_family(process: int) -> float:
    """The same with its children, those that have ended too."""
    spent = sum(_times(process))
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with suppress(FileNotFoundError):  # it has just ended
            spent += cpu_of(int(child))
    return spent


def _times(process: int) -> list[float]:
    """User and system, own and of ended children."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in after_name[11:15]]
