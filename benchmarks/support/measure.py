"""What a piece of work took."""

import re
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, processor seconds, and the largest process in MB."""

    letters: int
    seconds: float
    cpu: float
    memory: float

    @property
    def speed(self) -> float:
        """Letters a second."""
        return self.letters / self.seconds

    @property
    def each(self) -> float:
        """Processor microseconds a letter."""
        return self.cpu / self.letters * 1e6


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
