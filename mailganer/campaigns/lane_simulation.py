"""Simulation of sending where each lane divides its emails among its own campaigns.

Equal minutes are one step, so that a day costs a few steps whatever its number of emails. Minutes in which
nothing can be sent are skipped.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from ..quota.rolling_counter import RollingCounter
from .forecast import MINUTE, Forecast, Wait
from .forecast_builder import ForecastBuilder, end_of, midnight_after
from .lane_queue import LaneQueue
from .simulation_model import (
    LONGEST_MINUTES,
    SendingSchedule,
    SimulatedCampaign,
    SimulatedLane,
    datetime_of,
    opening,
)

MOST_STEPS = 20_000  # steps at most, if all minutes differ: the result is known long before
EXACT_STEPS = 2_000  # after this many different minutes, counters are merged into hours


def shared(allowed: int, wanted: Sequence[int], lanes: Sequence[SimulatedLane]) -> list[int]:
    """Return each lane's share of ``allowed`` emails: lanes work in parallel, a faster one gets more."""
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


class LaneSimulation:
    """Forecast where each lane divides its emails among its own campaigns."""

    def __init__(
        self,
        ours: SimulatedCampaign,
        rivals: Sequence[SimulatedCampaign],
        lanes: Sequence[SimulatedLane],
        plan: RollingCounter,
        zone: ZoneInfo,
    ) -> None:
        self.ours, self.starts_at = ours, ours.starts_at
        self.builder = ForecastBuilder(ours, zone)
        self.agenda = SendingSchedule([ours, *rivals])
        self.lanes, self.plan, self.zone = lanes, plan, zone
        self.queues = [LaneQueue(number, lane, ours) for number, lane in enumerate(lanes)]
        self.begins_at = self.agenda.begins_at
        self.minute = int(self.begins_at.timestamp()) // MINUTE
        self.first_minute = int(self.starts_at.timestamp()) // MINUTE
        self.last_minute = self.first_minute + LONGEST_MINUTES
        self.midnight = 0  # the first minute of the zone's next day

    def run(self) -> Forecast:
        for step in range(MOST_STEPS):
            if not self.ours.left or not self.lanes or self.minute > self.last_minute:
                break
            if step >= EXACT_STEPS and step % EXACT_STEPS == 0:
                _merge_minutes([self.plan, *(lane.counter for lane in self.lanes)])
            self.update_active()
            if not self.send() and not self.jump():
                break
        self.divide()
        return self.builder.forecast()

    # --- active campaigns

    def update_active(self) -> None:
        """Divide the sent emails and update the active campaigns whenever those change."""
        if self.minute >= self.midnight:
            self.divide()
            self.midnight = midnight_after(self.minute, self.zone)
        if self.minute >= self.agenda.changes_at:
            self.divide()
            self.agenda.refresh(self.minute)
            for queue in self.queues:
                queue.fill(self.agenda.active)
            self.note_hours()

    def note_hours(self) -> None:
        opens = opening(self.ours.hours, max(self.minute, self.first_minute))
        if self.first_minute <= self.minute < opens and not self.builder.is_waiting(self.minute):
            self.builder.pause(Wait.hours, self.minute, opens)

    # --- sending

    def send(self) -> bool:
        """Send for a number of equal minutes. Return False when nothing can be sent in this one."""
        each, able = self.numbers()
        if not any(each):
            return False
        for queue, emails in zip(self.queues, each, strict=True):
            if queue.sent and queue.sent + emails > queue.until_done:
                self.divide()
                each, able = self.numbers()
                break
        minutes = self.alike(each, able)
        if len(self.queues) > 1 and self.undivided(each, minutes) > self.fewest():
            self.divide()
            minutes = _at_most(self.queues, each, self.agenda.active, minutes)
        for queue, emails in zip(self.queues, each, strict=True):
            if emails:
                self.take(queue, emails, minutes)
        if any(queue.sent >= queue.until_done for queue in self.queues):
            self.divide()
        self.minute += minutes
        return True

    def undivided(self, each: Sequence[int], minutes: int) -> int:
        """Return the emails sent but not divided yet, plus those of the given minutes."""
        return sum(queue.sent for queue in self.queues) + sum(each) * minutes

    def fewest(self) -> int:
        """Return the recipients of the smallest campaign: fewer emails than that finish no campaign."""
        return min(each.left for each in self.agenda.active)

    def numbers(self) -> tuple[list[int], list[int]]:
        """Return how many emails each lane sends in this minute, and how many it could."""
        able = [self.can_send(queue) for queue in self.queues]
        if not any(able):
            return able, able
        if len(self.queues) == 1:
            left = self.queues[0].left - self.queues[0].sent
        else:
            left = sum(each.left for each in self.agenda.active) - self.undivided((), 0)
        remaining = self.plan.remaining(self.minute)
        return shared(left if remaining is None else min(left, remaining), able, self.lanes), able

    def can_send(self, queue: LaneQueue) -> int:
        lane = queue.lane
        if lane.awake_from is not None and self.minute < lane.awake_from:
            return 0
        remaining, wanted = (
            lane.counter.remaining(self.minute),
            min(_pace(lane, self.minute, self.begins_at), queue.left - queue.sent),
        )
        return wanted if remaining is None else min(wanted, remaining)

    def alike(self, each: Sequence[int], able: Sequence[int]) -> int:
        """Return the minutes until the rates or the campaigns change."""
        if self.minute * MINUTE < self.begins_at.timestamp() or any(lane.grows for lane in self.lanes):
            return 1
        ends = [self.agenda.changes_at - self.minute, self.midnight - self.minute]
        ends.append(self.plan.alike(self.minute, sum(each), sum(able)))
        for queue, emails in zip(self.queues, each, strict=True):
            lane = queue.lane
            if lane.awake_from is not None and self.minute < lane.awake_from:
                ends.append(lane.awake_from - self.minute)
            elif queue.campaigns:
                ends.append(lane.counter.alike(self.minute, emails, _pace(lane, self.minute, self.begins_at)))
            if emails:
                ends.append((queue.until_done - queue.sent) // emails)
        return max(1, min(ends))

    def take(self, queue: LaneQueue, emails: int, minutes: int) -> None:
        lane = queue.lane
        lane.counter.take(self.minute, emails, minutes)
        self.plan.take(self.minute, emails, minutes)
        if queue.begins is None:
            queue.begins = max(self.starts_at, datetime_of(self.minute))
        if queue.sent + emails * minutes > queue.until_done - 1 and self.ours in queue.campaigns:
            # In the last minute, count only the emails until ours is done.
            number = queue.emails_until_ours_are_sent(count_equals=True) - queue.sent - emails * (minutes - 1)
            emails, queue.sent = min(emails, max(1, number)), queue.sent + emails * minutes
        else:
            queue.sent += emails * minutes
        queue.ends = end_of(emails, self.minute + minutes - 1, lane, self.begins_at)
        lane.grow()

    def divide(self) -> None:
        """Divide the emails sent since the last time among the campaigns."""
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
            queue.record_shares(parts)
        if any(not campaign.left for queue in self.queues for campaign in queue.campaigns):
            self.agenda.active = [each for each in self.agenda.active if each.left]
            for queue in self.queues:
                queue.fill(self.agenda.active)
        else:
            for queue in self.queues:
                queue.recount()

    def note(self, queue: LaneQueue, emails: int) -> None:
        """Record emails of our campaign."""
        if emails and queue.begins is not None and queue.ends is not None:
            self.builder.add(queue.lane, emails, queue.begins, queue.ends)

    # --- waiting

    def jump(self) -> bool:
        """Skip to the first minute in which an email may be sent. Return False when there is none."""
        changes_at, found = self.agenda.changes_at, self.next_wake_up()
        if found is None:
            self.minute = changes_at
            return changes_at <= self.last_minute
        until, wait, lane_name, limit = found
        if self.ours in self.agenda.active and not self.builder.is_waiting(self.minute):
            # A campaign that can send only at night still waits for the morning.
            self.builder.pause(wait, self.minute, opening(self.ours.hours, until), lane_name, limit)
        self.minute = min(until, changes_at)
        return True

    def next_wake_up(self) -> tuple[int, Wait, str, int | None] | None:
        able = [queue.lane for queue in self.queues if queue.campaigns]
        found = [each for lane in able if (each := _wakes(lane, self.plan, self.minute))]
        return min(found, key=lambda each: each[0], default=None)


def _merge_minutes(counters: Iterable[RollingCounter]) -> None:
    for counter in counters:
        counter.blur(MINUTE)


def _pace(lane: SimulatedLane, minute: int, begins_at: datetime) -> int:
    """Return the emails of a minute; of the minute in which sending starts, only the rest counts."""
    gone = begins_at.timestamp() - minute * MINUTE
    return lane.per_minute if gone <= 0 else max(1, int(lane.per_minute * (1 - gone / MINUTE)))


def _at_most(
    queues: Sequence[LaneQueue], each: Sequence[int], active: Iterable[SimulatedCampaign], minutes: int
) -> int:
    """Limit ``minutes`` so that no campaign of several lanes sends more than it has left."""
    while minutes > 1:
        taken: dict[int, int] = {}
        for queue, emails in zip(queues, each, strict=True):
            parts = queue.divide(emails * minutes, {}) if emails else ()
            for campaign, part in zip(queue.campaigns, parts, strict=False):
                taken[id(campaign)] = taken.get(id(campaign), 0) + part
        if all(taken.get(id(campaign), 0) <= campaign.left for campaign in active):
            break
        minutes //= 2
    return minutes


def _wakes(
    lane: SimulatedLane, plan: RollingCounter, minute: int
) -> tuple[int, Wait, str, int | None] | None:
    """Return when a lane may send again, and what it waits for longest."""
    waits: list[tuple[int, Wait, str, int | None]] = []
    for counter, wait, name in ((lane.counter, Wait.sender, lane.name), (plan, Wait.plan, "")):
        if counter.remaining(minute) == 0:
            frees = counter.frees()
            if frees is None:
                return None
            waits.append((frees, wait, name, counter.limit))
    # Last, because of equal ends max() takes the first: a sender that rests until its emails expire waits for
    # its limit, which is more informative.
    if lane.awake_from is not None and minute < lane.awake_from:
        waits.append((lane.awake_from, Wait.asleep, lane.name, None))
    return max(waits, key=lambda found: found[0], default=None)
