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
GROWS_BACK = 30  # minutes of sending that win a whole pace back: the half that was taken, in 15
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
    grows_to: float = 0  # asked to slow down by its server, it wins this pace back while letters leave

    def __post_init__(self) -> None:
        self._exactly = float(self.per_minute)

    def grow(self) -> None:
        """A minute of letters was taken."""
        if self._exactly < self.grows_to:
            self._exactly = min(self.grows_to, self._exactly + self.grows_to / GROWS_BACK)
            self.per_minute = max(1, round(self._exactly))


@dataclass(frozen=True)
class Share:
    """What leaves on a day through one sender."""

    sender: str  # its address
    letters: int
    starts_at: datetime
    finishes_at: datetime

    def and_then(self, letters: int, finishes_at: datetime) -> "Share":
        return Share(self.sender, self.letters + letters, self.starts_at, max(self.finishes_at, finishes_at))


@dataclass(frozen=True)
class Day:
    """What leaves on one day of the account's time zone: planned, or what really did."""

    date: date
    shares: tuple[Share, ...]

    @property
    def letters(self) -> int:
        return sum(share.letters for share in self.shares)

    @property
    def starts_at(self) -> datetime:
        return min(share.starts_at for share in self.shares)

    @property
    def finishes_at(self) -> datetime:
        return max(share.finishes_at for share in self.shares)


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
    def at_once(self) -> bool:
        """Whether the last letter leaves within a minute of the first."""
        return self.finishes_at is not None and self.finishes_at - self.starts_at <= timedelta(minutes=1)

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
    beside: int = 0,
) -> Forecast:
    """Plays the sending of ``letters`` through. Uses the counters up: make new ones for another question.

    ``beside`` are letters of other campaigns that leave in turn with these.
    """
    return _Play(letters, starts_at, lanes, plan, ZoneInfo(timezone), hours, beside).played()


def shared(allowed: int, wanted: Sequence[int], lanes: Sequence[Lane]) -> list[int]:
    """How many each lane has of ``allowed`` letters: they work side by side, a faster one gets more."""
    shares = [0] * len(lanes)
    left = min(allowed, sum(wanted))
    while left:
        able = [n for n, share in enumerate(shares) if share < wanted[n]]
        round_of, together = left, sum(lanes[n].per_minute for n in able)
        for n in able:
            part = max(1, round_of * lanes[n].per_minute // together)
            number = min(part, wanted[n] - shares[n], left)
            shares[n] += number
            left -= number
    return shares


class _Play:
    def __init__(
        self,
        letters: int,
        starts_at: datetime,
        lanes: Sequence[Lane],
        plan: Counter,
        zone: ZoneInfo,
        hours: Hours | None,
        beside: int,
    ) -> None:
        self.hours, self.open_until = hours, 0  # the minute in which the hours found open are over
        self.letters, self.left, self.beside = letters, letters, beside
        self.starts_at = starts_at
        self.lanes, self.plan, self.zone = lanes, plan, zone
        self.minute = int(starts_at.timestamp()) // MINUTE
        self.last_minute = self.minute + LONGEST_MINUTES
        self.days: dict[date, dict[str, Share]] = {}
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
            days=tuple(Day(day, tuple(shares.values())) for day, shares in self.days.items()),
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
        room, wanted = self.plan.room(self.minute), self.left + self.beside
        allowed = wanted if room is None else min(wanted, room)
        shares = shared(allowed, [self.can_send(lane) for lane in self.lanes], self.lanes)
        for lane, number in zip(self.lanes, shares, strict=True):
            if number:
                lane.counter.take(self.minute, number)
                self.plan.take(self.minute, number)
                self.note(lane, self.take_turns(number), number)
                lane.grow()
        if any(shares):
            self.minute += 1
        return any(shares)

    def take_turns(self, number: int) -> int:
        """How many of these letters are ours."""
        ours = -(-number * self.left // (self.left + self.beside))
        self.left -= ours
        self.beside -= number - ours
        return ours

    def can_send(self, lane: Lane) -> int:
        if lane.awake_from is not None and self.minute < lane.awake_from:
            return 0
        room = lane.counter.room(self.minute)
        return self.pace(lane) if room is None else min(self.pace(lane), room)

    def pace(self, lane: Lane) -> int:
        """Letters of a minute; of the one in which it starts only the rest is left."""
        gone = (self.starts_at - self.moment(self.minute)).total_seconds()
        return lane.per_minute if gone <= 0 else max(1, int(lane.per_minute * (1 - gone / MINUTE)))

    def note(self, lane: Lane, letters: int, together: int) -> None:
        """``letters`` of ours left, with ``together`` of all who share the lane."""
        if not letters:
            return
        begins = max(self.starts_at, self.moment(self.minute))
        ends = begins + timedelta(seconds=ceil(MINUTE * together / lane.per_minute))
        shares = self.days.setdefault(begins.astimezone(self.zone).date(), {})
        known = shares.get(lane.name)
        shares[lane.name] = (
            known.and_then(letters, ends) if known else Share(lane.name, letters, begins, ends)
        )
        self.ends_at = max(self.ends_at, ends)

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
        for counter, wait, name in ((lane.counter, Wait.sender, lane.name), (self.plan, Wait.plan, "")):
            if counter.room(self.minute) == 0:
                frees = counter.frees()
                if frees is None:
                    return None
                waits.append((frees, wait, name, counter.limit))
        # Behind the counters: who rests until its letters count no more waits for that, and it says more.
        if lane.awake_from is not None and self.minute < lane.awake_from:
            waits.append((lane.awake_from, Wait.asleep, lane.name, None))
        return max(waits, key=lambda found: found[0], default=None)

    @staticmethod
    def moment(minute: int) -> datetime:
        return datetime.fromtimestamp(minute * MINUTE, UTC)
