"""Rolling counter of emails in any 24 hours, by minute, without a database."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW = 24 * 60  # minutes; an email of minute m counts until minute m + WINDOW is over


@dataclass
class RollingCounter:
    """A limit of emails in any 24 hours, and its usage by minute."""

    limit: int | None
    runs: deque[tuple[int, int, int]] = field(default_factory=deque)  # (first, minutes, emails in each)
    total: int = 0

    @classmethod
    def of(cls, limit: int | None, used: Iterable[tuple[int, int]]) -> "RollingCounter":
        counter = cls(limit)
        for minute, emails in sorted(used):
            counter.take(minute, emails)
        return counter

    @property
    def used(self) -> list[tuple[int, int]]:
        """Return usage as (minute, emails), oldest first."""
        return [(start + n, each) for start, minutes, each in self.runs for n in range(minutes)]

    def remaining(self, minute: int) -> int | None:
        """Return how many emails may be sent in this minute; None for any number."""
        while self.runs and self.runs[0][0] + WINDOW < minute:
            start, minutes, each = self.runs.popleft()
            over = min(minutes, minute - WINDOW - start)
            self.total -= over * each
            if over < minutes:
                self.runs.appendleft((start + over, minutes - over, each))
        return None if self.limit is None else max(0, self.limit - self.total)

    def take(self, minute: int, emails: int, minutes: int = 1) -> None:
        """Record ``emails`` in each of these minutes."""
        self.total += emails * minutes
        if self.runs:
            start, number, each = self.runs[-1]
            if minutes == number == 1 and start == minute:
                self.runs[-1] = (minute, 1, each + emails)
                return
            if each == emails and start + number == minute:
                self.runs[-1] = (start, number + minutes, each)
                return
        self.runs.append((minute, minutes, emails))

    def frees(self) -> int | None:
        """Return the first minute with more room than now; None if waiting does not help."""
        return self.runs[0][0] + WINDOW + 1 if self.runs and self.limit else None

    def blur(self, minutes: int) -> None:
        """Merge usage into intervals, each dated at its end."""
        if len(self.runs) <= WINDOW // minutes:
            return
        sums: dict[int, int] = {}
        for minute, emails in self.used:
            sums[minute // minutes] = sums.get(minute // minutes, 0) + emails
        newest = self.used[-1][0]
        self.runs = deque((min(newest, (n + 1) * minutes - 1), 1, emails) for n, emails in sums.items())

    def alike(self, minute: int, emails: int, wanted: int) -> int:
        """Return for how many minutes, from this one on, ``emails`` of ``wanted`` may be sent in each."""
        if self.limit is None:
            return WINDOW
        freed, minutes = 0, WINDOW
        if self.runs:
            start, number, each = self.runs[0]
            if start + WINDOW == minute:
                freed, minutes = each, number + 1
            else:
                minutes = start + WINDOW + 1 - minute
        remaining = self.remaining(minute) or 0
        if emails < wanted and remaining == emails:
            return minutes if freed == emails else 1
        if emails > freed:
            minutes = min(minutes, (remaining - emails) // (emails - freed) + 1)
        return max(1, minutes)
