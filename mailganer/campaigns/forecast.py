"""When a campaign will be done, and what it will wait for: the day's sending played through in advance.

Minute by minute, under the same counters that hold when it really sends: every sender's letters in any 24
hours, the plan's, and each sender's pace. Minutes in which nothing can leave are jumped over.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from math import ceil
from zoneinfo import ZoneInfo

from .hours import Hours

MINUTE = 60
WINDOW = 24 * 60  # minutes; a letter of minute m counts until minute m + WINDOW is over
# A year of full days of minutes. Who asks for more gets "later than".
LONGEST_MINUTES = 366 * WINDOW
MOST_STEPS = 50_000  # a slow sender sends in every minute of a year: enough is known long before


class Wait(StrEnum):
    """What keeps letters waiting."""

    sender = "sender"  # the mail account has sent what it may in 24 hours
    plan = "plan"  # the account's plan has
    hours = "hours"  # it is outside the campaign's sending hours
    asleep = "asleep"  # the mail account rests until a known moment


@dataclass
class Counter:
    """A limit of letters in any 24 hours, and what has been used of it, minute by minute."""

    limit: int | None
    used: deque[tuple[int, int]] = field(default_factory=deque)  # (minute, letters), oldest first
    total: int = 0

    @classmethod
    def of(cls, limit: int | None, used: Iterable[tuple[int, int]]) -> "Counter":
        rows = deque(sorted(used))
        return cls(limit, rows, sum(letters for _minute, letters in rows))

    def room(self, minute: int) -> int | None:
        """How many letters may leave in this minute; None: any number."""
        while self.used and self.used[0][0] + WINDOW < minute:
            self.total -= self.used.popleft()[1]
        return None if self.limit is None else max(0, self.limit - self.total)

    def take(self, minute: int, letters: int) -> None:
        self.total += letters
        if self.used and self.used[-1][0] == minute:
            letters += self.used.pop()[1]
        self.used.append((minute, letters))

    def frees(self) -> int | None:
        """The first minute in which more may leave than now; None: never by waiting."""
        return self.used[0][0] + WINDOW + 1 if self.used and self.limit else None


@dataclass
class Lane:
    """One sender, as far as time is concerned."""

    name: str
    counter: Counter
    per_minute: int  # its pace
    awake_from: int | None = None  # the minute its rest ends


@dataclass(frozen=True)
class Day:
    """What leaves on one day of the account's time zone."""

    date: date
    letters: int
    starts_at: datetime
    finishes_at: datetime


@dataclass(frozen=True)
class Pause:
    """A stretch in which nothing can leave, and what it waits for."""

    wait: Wait
    since: datetime
    until: datetime
    sender: str = ""  # its name, where a sender is what waits
    limit: int | None = None  # the limit that is used up


@dataclass(frozen=True)
class Forecast:
    """When letters will leave. ``unsent`` are those for whom no end is in sight."""

    letters: int
    starts_at: datetime
    finishes_at: datetime | None  # None: not within a year
    days: tuple[Day, ...]
    pauses: tuple[Pause, ...]
    unsent: int = 0

    @property
    def first_pause(self) -> Pause | None:
        return self.pauses[0] if self.pauses else None


def play(
    letters: int,
    starts_at: datetime,
    lanes: Sequence[Lane],
    plan: Counter,
    timezone: str,
    hours: Hours | None = None,
) -> Forecast:
    """Plays the sending of ``letters`` through. Uses the counters up: make new ones for another question."""
    return _Play(letters, starts_at, lanes, plan, ZoneInfo(timezone), hours).played()


class _Play:
    def __init__(
        self,
        letters: int,
        starts_at: datetime,
        lanes: Sequence[Lane],
        plan: Counter,
        zone: ZoneInfo,
        hours: Hours | None,
    ) -> None:
        self.hours, self.open_until = hours, 0  # the minute in which the hours found open are over
        self.letters, self.left = letters, letters
        self.starts_at = starts_at
        self.lanes, self.plan, self.zone = lanes, plan, zone
        self.minute = int(starts_at.timestamp()) // MINUTE
        self.last_minute = self.minute + LONGEST_MINUTES
        self.days: dict[date, Day] = {}
        self.pauses: list[Pause] = []
        self.ends_at = starts_at

    def played(self) -> Forecast:
        for _step in range(MOST_STEPS):
            if not self.left or not self.lanes or self.minute > self.last_minute:
                break
            if self.minute >= self.open_until:
                self.wait_for_hours()
            if not self.send_for_a_minute() and not self.jump():
                break
        return Forecast(
            letters=self.letters,
            starts_at=self.starts_at,
            finishes_at=None if self.left else self.ends_at,
            days=tuple(self.days.values()),
            pauses=tuple(self.pauses),
            unsent=self.left,
        )

    def wait_for_hours(self) -> None:
        """On to the first minute within the sending hours, and how long they last."""
        until = self.opens(self.minute)
        if until > self.minute:
            since = max(self.starts_at, self.moment(self.minute))
            self.pauses.append(Pause(Wait.hours, since, self.moment(until)))
            self.minute = until
        closes = self.hours.closes(self.moment(self.minute)) if self.hours else None
        self.open_until = int(closes.timestamp()) // MINUTE if closes else self.last_minute + 1

    def opens(self, minute: int) -> int:
        """The first minute from this one on that lies within the sending hours."""
        if self.hours is None:
            return minute
        return -(-int(self.hours.next_open(self.moment(minute)).timestamp()) // MINUTE)

    def send_for_a_minute(self) -> bool:
        sent, longest = 0, 0.0
        for lane in self.lanes:
            number = self.can_send(lane)
            if number:
                lane.counter.take(self.minute, number)
                self.plan.take(self.minute, number)
                self.left -= number
                sent += number
                longest = max(longest, number / lane.per_minute)
        if sent:
            self.note(sent, longest)
            self.minute += 1
        return sent > 0

    def can_send(self, lane: Lane) -> int:
        if lane.awake_from is not None and self.minute < lane.awake_from:
            return 0
        rooms = (lane.counter.room(self.minute), self.plan.room(self.minute))
        return min([self.left, lane.per_minute, *(room for room in rooms if room is not None)])

    def note(self, sent: int, part: float) -> None:
        begins = max(self.starts_at, self.moment(self.minute))
        self.ends_at = begins + timedelta(seconds=ceil(MINUTE * part))
        day = begins.astimezone(self.zone).date()
        known = self.days.get(day)
        self.days[day] = Day(
            day,
            sent + (known.letters if known else 0),
            known.starts_at if known else begins,
            self.ends_at,
        )

    def jump(self) -> bool:
        """On to the first minute in which a letter may leave; False when there is none."""
        candidates = [found for lane in self.lanes if (found := self.wakes(lane))]
        if not candidates:
            return False
        until, wait, lane_name, limit = min(candidates, key=lambda found: found[0])
        until = self.opens(until)  # who is free at night still waits for the morning
        since = max(self.starts_at, self.moment(self.minute))
        self.pauses.append(Pause(wait, since, self.moment(until), lane_name, limit))
        self.minute = until
        return True

    def wakes(self, lane: Lane) -> tuple[int, Wait, str, int | None] | None:
        """When this lane may send again, and what it waits for longest."""
        waits: list[tuple[int, Wait, str, int | None]] = []
        if lane.awake_from is not None and self.minute < lane.awake_from:
            waits.append((lane.awake_from, Wait.asleep, lane.name, None))
        for counter, wait, name in ((lane.counter, Wait.sender, lane.name), (self.plan, Wait.plan, "")):
            if counter.room(self.minute) == 0:
                frees = counter.frees()
                if frees is None:
                    return None
                waits.append((frees, wait, name, counter.limit))
        return max(waits, key=lambda found: found[0], default=None)

    @staticmethod
    def moment(minute: int) -> datetime:
        return datetime.fromtimestamp(minute * MINUTE, UTC)
