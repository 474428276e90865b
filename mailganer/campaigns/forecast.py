"""When a campaign will be done, and what it will wait for: the day's sending played through in advance.

The same counters hold as when it really sends: every sender's letters in any 24 hours, the plan's, each
sender's pace, and the turns of the campaigns beside this one (:mod:`turns`). Minutes that are alike are one
step, so that a day costs a few steps whatever its letters. Minutes when nothing can leave are jumped over.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from math import ceil
from zoneinfo import ZoneInfo

from .hours import Hours
from .turns import PLENTY, CampaignShare, shares, until_done

MINUTE = 60
WINDOW = 24 * 60  # minutes; a letter of minute m counts until minute m + WINDOW is over
# A year of full days of minutes. Who asks for more gets "later than".
LONGEST_MINUTES = 366 * WINDOW
GROWS_BACK = 30  # minutes of sending that win a whole pace back: the half that was taken, in 15
MOST_STEPS = 20_000  # of minutes that are all different: enough is known long before
EXACT_STEPS = 2_000  # after so many different minutes the hours of a day are told apart, and no more


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
    runs: deque[tuple[int, int, int]] = field(default_factory=deque)  # (minute, minutes, letters of each)
    total: int = 0

    @classmethod
    def of(cls, limit: int | None, used: Iterable[tuple[int, int]]) -> "Counter":
        counter = cls(limit)
        for minute, letters in sorted(used):
            counter.take(minute, letters)
        return counter

    @property
    def used(self) -> list[tuple[int, int]]:
        """(minute, letters), oldest first."""
        return [(start + n, each) for start, minutes, each in self.runs for n in range(minutes)]

    def room(self, minute: int) -> int | None:
        """How many letters may leave in this minute; None: any number."""
        while self.runs and self.runs[0][0] + WINDOW < minute:
            start, minutes, each = self.runs.popleft()
            over = min(minutes, minute - WINDOW - start)
            self.total -= over * each
            if over < minutes:
                self.runs.appendleft((start + over, minutes - over, each))
        return None if self.limit is None else max(0, self.limit - self.total)

    def take(self, minute: int, letters: int, minutes: int = 1) -> None:
        """Note ``letters`` in each of these minutes."""
        self.total += letters * minutes
        if self.runs:
            start, number, each = self.runs[-1]
            if minutes == number == 1 and start == minute:
                self.runs[-1] = (minute, 1, each + letters)
                return
            if each == letters and start + number == minute:
                self.runs[-1] = (start, number + minutes, each)
                return
        self.runs.append((minute, minutes, letters))

    def frees(self) -> int | None:
        """The first minute in which more may leave than now; None: never by waiting."""
        return self.runs[0][0] + WINDOW + 1 if self.runs and self.limit else None

    def blur(self, minutes: int) -> None:
        """Merge usage into intervals, each dated at its end."""
        if len(self.runs) <= WINDOW // minutes:
            return
        sums: dict[int, int] = {}
        for minute, letters in self.used:
            sums[minute // minutes] = sums.get(minute // minutes, 0) + letters
        newest = self.used[-1][0]
        self.runs = deque((min(newest, (n + 1) * minutes - 1), 1, letters) for n, letters in sums.items())

    def alike(self, minute: int, letters: int, wanted: int) -> int:
        """For how many minutes, from this one on, ``letters`` of ``wanted`` may leave in each."""
        if self.limit is None:
            return WINDOW
        freed, minutes = 0, WINDOW
        if self.runs:
            start, number, each = self.runs[0]
            if start + WINDOW == minute:
                freed, minutes = each, number + 1
            else:
                minutes = start + WINDOW + 1 - minute
        room = self.room(minute) or 0
        if letters < wanted and room == letters:
            return minutes if freed == letters else 1
        if letters > freed:
            minutes = min(minutes, (room - letters) // (letters - freed) + 1)
        return max(1, minutes)


@dataclass
class Lane:
    """One sender, as far as time is concerned."""

    name: str
    counter: Counter
    per_minute: int  # its pace
    awake_from: int | None = None  # the minute its rest ends
    grows_to: float = 0  # asked to slow down by its server, it wins this pace back while letters leave
    floor: int = 0  # where a campaign that starts takes its first turn

    def __post_init__(self) -> None:
        self._exactly = float(self.per_minute)

    @property
    def grows(self) -> bool:
        return self._exactly < self.grows_to

    def grow(self) -> None:
        """A minute of letters was taken."""
        if self.grows:
            self._exactly = min(self.grows_to, self._exactly + self.grows_to / GROWS_BACK)
            self.per_minute = max(1, round(self._exactly))


@dataclass
class Sending:
    """A campaign that takes turns with others, as far as time is concerned."""

    campaign_id: int
    left: int
    starts_at: datetime
    hours: Hours | None = None
    had: dict[int, int] = field(default_factory=dict)  # by number of the lane; it uses no other lanes


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
    *,
    campaign_id: int = 0,
    had: Sequence[int] = (),
    rivals: Sequence[Sending] = (),
) -> Forecast:
    """Plays the sending of ``letters`` through. Uses the counters up: make new ones for another question.

    ``rivals`` are other campaigns of these lanes, ``beside`` the letters of one that starts with this one.
    ``had`` is what this one has had of each lane so far.
    """
    numbers = range(len(lanes))
    so_far = dict(zip(numbers, had or [0] * len(lanes), strict=True))
    ours = Sending(campaign_id, letters, starts_at, hours, so_far)
    others = list(rivals)
    if beside:
        others.append(Sending(campaign_id - 1, beside, starts_at, hours, dict.fromkeys(numbers, 0)))
    return _Play(ours, others, lanes, plan, ZoneInfo(timezone)).played()


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


class _SendingSchedule:
    """Which campaigns may send when, and when that changes next."""

    def __init__(self, campaigns: Sequence[Sending]) -> None:
        self._next: dict[int, tuple[bool, int]] = {}  # by position: whether it may send, and until when
        self.campaigns = campaigns
        self.active: list[Sending] = []
        self.changes_at = 0

    def refresh(self, minute: int) -> None:
        """Look again who may send in this minute."""
        self.active, self.changes_at = [], minute + LONGEST_MINUTES
        for n, campaign in enumerate(self.campaigns):
            if not campaign.left:
                continue
            may, until = self._next.get(n, (False, 0))
            if minute >= until:
                may, until = self._next[n] = self._look(campaign, minute)
            if may:
                self.active.append(campaign)
            self.changes_at = min(self.changes_at, until)

    @staticmethod
    def _look(campaign: Sending, minute: int) -> tuple[bool, int]:
        starts, forever = int(campaign.starts_at.timestamp()) // MINUTE, minute + 2 * LONGEST_MINUTES
        if minute < starts:
            return False, starts
        if campaign.hours is None:
            return True, forever
        opens = opening(campaign.hours, minute)
        if opens > minute:
            return False, opens
        closes = campaign.hours.closes(moment_of(minute))
        return True, max(minute + 1, int(closes.timestamp()) // MINUTE) if closes else forever


def moment_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * MINUTE, UTC)


def opening(hours: Hours | None, minute: int) -> int:
    """The first minute from this one on that lies within the sending hours."""
    return -(-int(hours.next_open(moment_of(minute)).timestamp()) // MINUTE) if hours else minute


@dataclass
class _Queue:
    """The campaigns that take turns on one lane, and what has left of theirs since it was last divided."""

    number: int
    lane: Lane
    ours: Sending
    campaigns: list[Sending] = field(default_factory=list)
    left: int = 0  # recipients of all of them who wait
    until_done: int = 0  # letters of all until the last of ours has left
    sent: int = 0
    begins: datetime | None = None
    ends: datetime | None = None

    def fill(self, active: Iterable[Sending]) -> None:
        """Begin with those who may send now. Who could not before begins where the others are."""
        number, floor = self.number, self.lane.floor
        self.campaigns = [each for each in active if number in each.had and each.left]
        for each in self.campaigns:
            each.had[number] = max(each.had[number], floor)
        self.reckon()

    def reckon(self) -> None:
        """Count again who waits."""
        self.left = sum(each.left for each in self.campaigns)
        self.until_done = self.until_ours_are_done() if self.ours in self.campaigns else self.left

    def until_ours_are_done(self, *, whole_turn: bool = False) -> int:
        """How many letters leave until then; with ``whole_turn`` the others have had their last turn, too."""
        others = [_turn(each, self.number) for each in self.campaigns if each is not self.ours]
        ours = _turn(self.ours, self.number)
        return until_done(ours._replace(campaign_id=PLENTY) if whole_turn else ours, others)

    def divide(self, letters: int, taken: Mapping[int, int]) -> list[int]:
        """Everybody's part of so many letters. ``taken`` is what they send through other lanes meanwhile."""
        return shares(letters, [_turn(each, self.number, taken.get(id(each), 0)) for each in self.campaigns])

    def give(self, parts: Sequence[int]) -> None:
        """Note what each has had, and where the last in line is."""
        number, alone = self.number, len(self.campaigns) == 1
        for campaign, part in zip(self.campaigns, parts, strict=True):
            campaign.left -= part
            if not alone:
                campaign.had[number] += part
        waiting = [each.had[number] for each in self.campaigns if each.left]
        last = min(waiting) if waiting else min(each.had[number] for each in self.campaigns)
        self.lane.floor = max(self.lane.floor, last)
        self.sent, self.begins = 0, None


class _Play:
    def __init__(
        self,
        ours: Sending,
        rivals: Sequence[Sending],
        lanes: Sequence[Lane],
        plan: Counter,
        zone: ZoneInfo,
    ) -> None:
        self.ours, self.letters, self.starts_at = ours, ours.left, ours.starts_at
        self.agenda = _SendingSchedule([ours, *rivals])
        self.lanes, self.plan, self.zone = lanes, plan, zone
        self.queues = [_Queue(number, lane, ours) for number, lane in enumerate(lanes)]
        self.begins_at = min([ours.starts_at, *(rival.starts_at for rival in rivals)])
        self.minute = int(self.begins_at.timestamp()) // MINUTE
        self.first_minute = int(self.starts_at.timestamp()) // MINUTE
        self.last_minute = self.first_minute + LONGEST_MINUTES
        self.midnight = 0  # the first minute of the zone's next day
        self.days: dict[date, dict[str, Share]] = {}
        self.pauses: list[Pause] = []
        self.ends_at = self.starts_at

    def played(self) -> Forecast:
        for step in range(MOST_STEPS):
            if not self.ours.left or not self.lanes or self.minute > self.last_minute:
                break
            if step >= EXACT_STEPS and step % EXACT_STEPS == 0:
                self.blur()
            self.look_around()
            if not self.send() and not self.jump():
                break
        self.divide()
        return Forecast(
            letters=self.letters,
            starts_at=self.starts_at,
            finishes_at=None if self.ours.left else self.ends_at,
            days=tuple(Day(day, tuple(shares.values())) for day, shares in self.days.items()),
            pauses=tuple(self.pauses),
            unsent=self.ours.left,
        )

    def blur(self) -> None:
        for counter in (self.plan, *(lane.counter for lane in self.lanes)):
            counter.blur(MINUTE)

    # --- who may send

    def look_around(self) -> None:
        """Divide what has left, and look again who may send, where that changes."""
        if self.minute >= self.midnight:
            self.divide()
            day = moment_of(self.minute).astimezone(self.zone).date() + timedelta(days=1)
            midnight = datetime.combine(day, time(), self.zone).timestamp()
            self.midnight = max(self.minute + 1, -(-int(midnight) // MINUTE))
        if self.minute >= self.agenda.changes_at:
            self.divide()
            self.agenda.refresh(self.minute)
            for queue in self.queues:
                queue.fill(self.agenda.active)
            self.note_hours()

    def note_hours(self) -> None:
        opens = opening(self.ours.hours, max(self.minute, self.first_minute))
        if self.first_minute <= self.minute < opens and not self.is_waiting():
            self.pause(Wait.hours, opens)

    def is_waiting(self) -> bool:
        """Whether this minute lies in a pause that is noted."""
        return bool(self.pauses) and moment_of(self.minute) < self.pauses[-1].until

    def pause(self, wait: Wait, until: int, sender: str = "", limit: int | None = None) -> None:
        since = max(self.starts_at, moment_of(self.minute))
        self.pauses.append(Pause(wait, since, moment_of(until), sender, limit))

    # --- sending

    def send(self) -> bool:
        """Some minutes that are alike; False when nothing can leave in this one."""
        each, able = self.numbers()
        if not any(each):
            return False
        for queue, letters in zip(self.queues, each, strict=True):
            if queue.sent and queue.sent + letters > queue.until_done:
                self.divide()
                each, able = self.numbers()
                break
        minutes = self.alike(each, able)
        if len(self.queues) > 1 and self.undivided(each, minutes) > self.fewest():
            self.divide()
            minutes = self.at_most(each, minutes)
        for queue, letters in zip(self.queues, each, strict=True):
            if letters:
                self.take(queue, letters, minutes)
        if any(queue.sent >= queue.until_done for queue in self.queues):
            self.divide()
        self.minute += minutes
        return True

    def undivided(self, each: Sequence[int], minutes: int) -> int:
        """Letters that have left and are not divided yet, with those of so many minutes more."""
        return sum(queue.sent for queue in self.queues) + sum(each) * minutes

    def fewest(self) -> int:
        """The recipients of the smallest campaign: with fewer letters, none is done through any lane."""
        return min(each.left for each in self.agenda.active)

    def numbers(self) -> tuple[list[int], list[int]]:
        """How many letters leave through each lane in this minute, and how many could."""
        able = [self.can_send(queue) for queue in self.queues]
        if not any(able):
            return able, able
        if len(self.queues) == 1:
            left = self.queues[0].left - self.queues[0].sent
        else:
            left = sum(each.left for each in self.agenda.active) - self.undivided((), 0)
        room = self.plan.room(self.minute)
        return shared(left if room is None else min(left, room), able, self.lanes), able

    def can_send(self, queue: _Queue) -> int:
        lane = queue.lane
        if lane.awake_from is not None and self.minute < lane.awake_from:
            return 0
        room, wanted = lane.counter.room(self.minute), min(self.pace(lane), queue.left - queue.sent)
        return wanted if room is None else min(wanted, room)

    def pace(self, lane: Lane) -> int:
        """Letters of a minute; of the one in which it starts only the rest is left."""
        gone = self.begins_at.timestamp() - self.minute * MINUTE
        return lane.per_minute if gone <= 0 else max(1, int(lane.per_minute * (1 - gone / MINUTE)))

    def alike(self, each: Sequence[int], able: Sequence[int]) -> int:
        """Return the minutes until the rates or the campaigns change."""
        if self.minute * MINUTE < self.begins_at.timestamp() or any(lane.grows for lane in self.lanes):
            return 1
        ends = [self.agenda.changes_at - self.minute, self.midnight - self.minute]
        ends.append(self.plan.alike(self.minute, sum(each), sum(able)))
        for queue, letters in zip(self.queues, each, strict=True):
            lane = queue.lane
            if lane.awake_from is not None and self.minute < lane.awake_from:
                ends.append(lane.awake_from - self.minute)
            elif queue.campaigns:
                ends.append(lane.counter.alike(self.minute, letters, self.pace(lane)))
            if letters:
                ends.append((queue.until_done - queue.sent) // letters)
        return max(1, min(ends))

    def at_most(self, each: Sequence[int], minutes: int) -> int:
        """Limit ``minutes`` so that no campaign of several lanes sends more than it has left."""
        while minutes > 1:
            taken: dict[int, int] = {}
            for queue, letters in zip(self.queues, each, strict=True):
                parts = queue.divide(letters * minutes, {}) if letters else ()
                for campaign, part in zip(queue.campaigns, parts, strict=False):
                    taken[id(campaign)] = taken.get(id(campaign), 0) + part
            if all(taken.get(id(campaign), 0) <= campaign.left for campaign in self.agenda.active):
                break
            minutes //= 2
        return minutes

    def take(self, queue: _Queue, letters: int, minutes: int) -> None:
        lane = queue.lane
        lane.counter.take(self.minute, letters, minutes)
        self.plan.take(self.minute, letters, minutes)
        if queue.begins is None:
            queue.begins = max(self.starts_at, moment_of(self.minute))
        last = max(self.begins_at, moment_of(self.minute + minutes - 1))
        if queue.sent + letters * minutes > queue.until_done - 1 and self.ours in queue.campaigns:
            # Of the last minute only the turns until ours are done.
            turns = queue.until_ours_are_done(whole_turn=True) - queue.sent - letters * (minutes - 1)
            letters, queue.sent = min(letters, max(1, turns)), queue.sent + letters * minutes
        else:
            queue.sent += letters * minutes
        queue.ends = last + timedelta(seconds=ceil(MINUTE * letters / lane.per_minute))
        lane.grow()

    def divide(self) -> None:
        """Divide what has left since the last time."""
        if not any(queue.sent for queue in self.queues):
            return
        taken: dict[int, int] = {}
        for queue in self.queues:
            if not queue.sent:
                continue
            parts = queue.divide(queue.sent, taken if len(self.queues) > 1 else {})
            for campaign, part in zip(queue.campaigns, parts, strict=True):
                if campaign is self.ours:
                    self.note(queue, part)
            queue.give(parts)
        if any(not campaign.left for queue in self.queues for campaign in queue.campaigns):
            self.agenda.active = [each for each in self.agenda.active if each.left]
            for queue in self.queues:
                queue.fill(self.agenda.active)
        else:
            for queue in self.queues:
                queue.reckon()

    def note(self, queue: _Queue, letters: int) -> None:
        """Note what has left of ours."""
        begins, ends, lane = queue.begins, queue.ends, queue.lane
        if not letters or begins is None or ends is None:
            return
        shares = self.days.setdefault(begins.astimezone(self.zone).date(), {})
        known = shares.get(lane.name)
        shares[lane.name] = (
            known.and_then(letters, ends) if known else Share(lane.name, letters, begins, ends)
        )
        self.ends_at = max(self.ends_at, ends)

    # --- waiting

    def jump(self) -> bool:
        """On to the first minute in which a letter may leave; False when there is none."""
        changes_at, found = self.agenda.changes_at, self.first_waking()
        if found is None:
            self.minute = changes_at
            return changes_at <= self.last_minute
        until, wait, lane_name, limit = found
        if self.ours in self.agenda.active and not self.is_waiting():
            # Who is free at night still waits for the morning.
            self.pause(wait, opening(self.ours.hours, until), lane_name, limit)
        self.minute = min(until, changes_at)
        return True

    def first_waking(self) -> tuple[int, Wait, str, int | None] | None:
        found = [each for queue in self.queues if queue.campaigns and (each := self.wakes(queue.lane))]
        return min(found, key=lambda each: each[0], default=None)

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


def _turn(campaign: Sending, number: int, taken: int = 0) -> CampaignShare:
    return CampaignShare(campaign.campaign_id, campaign.had[number], campaign.left - taken)
