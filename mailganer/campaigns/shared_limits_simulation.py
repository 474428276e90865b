"""The forecast's simulation where limits are divided among campaigns of several senders.

Every sender and every campaign of the account takes part, because what one of them sends is no longer there
for the others. The rule is that of the worker: :mod:`plan_shares`. The limits are divided again only when
quota becomes free or the campaigns change: until then, sending does not change the division.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from ..quota.rolling_counter import WINDOW, RollingCounter
from .campaign_shares import PLENTY, CampaignShare, shares, until_done
from .forecast import MINUTE, Forecast, Wait
from .forecast_builder import ForecastBuilder, end_of, midnight_after
from .plan_shares import CampaignDemand, PlanShares, SenderQuota, plan_shares
from .simulation_model import (
    LONGEST_MINUTES,
    SendingSchedule,
    SimulatedCampaign,
    SimulatedLane,
    datetime_of,
    opening,
)

# By number of steps so far: how many minutes are taken together. The first days are exact, of many campaigns
# fewer; later, quota that becomes free within these minutes is free at their beginning.
STEPS = ((2_000, 1), (2_000, 10), (4_000, 60), (8_000, WINDOW))
QUICK = 25  # campaigns times senders; with more of them there are fewer steps
FEWEST_STEPS = 50
SHORTEST_PAUSE = 2  # minutes

_Queue = list[tuple[SimulatedCampaign, CampaignShare]]  # of one lane: each campaign with what it may send


class SharedLimitsSimulation:
    """One campaign, ``ours``, among all campaigns and senders of its account."""

    def __init__(
        self,
        ours: SimulatedCampaign,
        rivals: Sequence[SimulatedCampaign],
        lanes: Sequence[SimulatedLane],
        plan: RollingCounter,
        zone: ZoneInfo,
    ) -> None:
        self._ours, self._lanes, self._plan, self._zone = ours, lanes, plan, zone
        self._campaigns = [ours, *rivals]
        self._builder = ForecastBuilder(ours, zone)
        self._schedule = SendingSchedule(self._campaigns)
        self._begins_at = self._schedule.begins_at
        self._minute = int(self._begins_at.timestamp()) // MINUTE
        self._last_minute = int(ours.starts_at.timestamp()) // MINUTE + LONGEST_MINUTES
        self._midnight = 0
        self._waiting: tuple[Wait, int, str, int | None] | None = None  # a pause that has not ended
        self._grain = 1  # minutes that are taken together
        self._divided: PlanShares | None = None
        self._changes_at = 0  # the minute in which the limits have to be divided again
        self._left: dict[int, dict[int, int]] = {}  # by campaign: what it may still send through each lane
        self._of_lane: list[list[SimulatedCampaign]] = []  # by lane: the campaigns that may send now
        self._sent: dict[int, int] = {}  # by campaign: emails of this step
        self._idle: set[int] = set()  # lanes that had nothing of their own in the step before

    def run(self) -> Forecast:
        """Send until the last email of ours has left, or no end is in sight."""
        size = max(1, len(self._campaigns) * len(self._lanes) // QUICK)
        for steps, minutes in STEPS:
            for _step in range(max(FEWEST_STEPS, steps // size)):
                if not self._ours.left or self._minute > self._last_minute:
                    return self._finished()
                self._grain = minutes
                self._refresh()
                self._advance()
        return self._finished()

    def _finished(self) -> Forecast:
        self._end_pause()
        several = len(self._campaigns) > 1 and any(len(each.had) > 1 for each in self._campaigns)
        return replace(self._builder.forecast(), approximate=several)

    def _refresh(self) -> None:
        if self._minute >= self._midnight:
            self._midnight = midnight_after(self._minute, self._zone)
        if self._minute >= self._schedule.changes_at:
            self._schedule.refresh(self._minute)
            active = self._schedule.active
            self._of_lane = [[each for each in active if n in each.had] for n in range(len(self._lanes))]
            self._changes_at = self._minute
            opens = opening(self._ours.hours, self._minute)
            if (
                datetime_of(self._minute) >= self._ours.starts_at
                and opens > self._minute
                and not self._waiting
            ):
                self._builder.pause(Wait.hours, self._minute, opens)

    def _advance(self) -> None:
        """Send for some minutes, or advance to the next minute in which something changes."""
        if self._counted >= self._changes_at:
            self._divide()
        before = self._ours.left
        sent = self._send()
        if self._ours.left < before:
            self._end_pause()
        elif self._ours in self._schedule.active and self._waiting is None:
            self._waiting = self._reason()
        if sent:  # quota of these minutes is free again a day later
            self._changes_at = min(self._changes_at, self._minute + WINDOW + 1)
        self._minute = self._minute + sent if sent else self._next_change()

    @property
    def _counted(self) -> int:
        """The minute up to which quota becomes free in this step."""
        return self._minute - self._minute % self._grain + self._grain - 1

    # --- dividing

    def _divide(self) -> None:
        """Divide what the limits allow from now on."""
        awake = {n: self._quota(lane) for n, lane in enumerate(self._lanes) if self._is_awake(lane)}
        remaining = self._plan.remaining(self._counted)
        self._divided = plan_shares(PLENTY if remaining is None else remaining, self._demands(), awake)
        self._left = {number: dict(way) for number, way in self._divided.parts.items()}
        self._changes_at = min(self._schedule.changes_at, self._next_change())

    def _is_awake(self, lane: SimulatedLane) -> bool:
        return lane.awake_from is None or self._minute >= lane.awake_from

    def _quota(self, lane: SimulatedLane) -> SenderQuota:
        """Return what a sender has sent, and what it may still send within 24 hours."""
        remaining = lane.counter.remaining(self._counted)
        paced = PLENTY if lane.per_day_by_pace is None else max(1, lane.per_day_by_pace - lane.counter.total)
        return SenderQuota(lane.counter.total, paced if remaining is None else min(remaining, paced))

    def _demands(self) -> list[CampaignDemand]:
        soon = [each for each, opens in self._schedule.closed if opens <= self._minute + WINDOW]
        found = []
        for campaign in (*self._schedule.active, *soon):
            if campaign.left:
                campaign.used.remaining(self._counted)
                later = campaign in soon
                used = campaign.used.total
                found.append(
                    CampaignDemand(campaign.campaign_id, used, campaign.left, tuple(campaign.had), later)
                )
        return found

    # --- sending

    def _send(self) -> int:
        """Send through all senders; return for how many minutes, 0 if nothing left."""
        queues = {n: self._queue(n) for n, lane in enumerate(self._lanes) if self._is_awake(lane)}
        ready = {n: sum(share.left for _each, share in queue) for n, queue in queues.items()}
        minutes = self._alike(queues, ready)
        for n, emails in ready.items():
            if emails:
                emails = min(emails, self._pace(self._lanes[n], minutes))
                self._send_through(n, queues[n], emails, minutes)
        waits = self._help([n for n, emails in ready.items() if not emails], minutes)
        return minutes if self._count(minutes) or waits else 0

    def _help(self, lanes: Sequence[int], minutes: int) -> bool:
        """Let lanes without anything of their own send what is left to others.

        They wait for a step, as senders do. Return whether one begins to wait.
        """
        idle = set()
        for n in lanes:
            if queue := self._queue_of_helper(n):
                idle.add(n)
                if n in self._idle:
                    emails = min(sum(share.left for _each, share in queue), self._quota(self._lanes[n]).free)
                    self._send_through(n, queue, min(emails, self._pace(self._lanes[n], minutes)), minutes)
                    self._changes_at = self._minute + 1  # what is left goes through other lanes than before
        waits, self._idle = bool(idle - self._idle), idle
        return waits

    def _queue(self, number: int) -> _Queue:
        """Return the campaigns that can send through a lane, each with what it may."""
        return [
            (each, CampaignShare(each.campaign_id, each.used.total, emails))
            for each in self._of_lane[number]
            if each.left and (emails := self._left.get(each.campaign_id, {}).get(number, 0))
        ]

    def _queue_of_helper(self, number: int) -> _Queue:
        """Return the campaigns whose emails a lane may take over from others."""
        free = self._divided.free.get(number, 0) if self._divided else 0
        return [
            (each, CampaignShare(each.campaign_id, each.used.total, min(emails, free)))
            for each in self._of_lane[number]
            if each.left and free and (emails := sum(self._left.get(each.campaign_id, {}).values()))
        ]

    def _alike(self, queues: Mapping[int, _Queue], ready: Mapping[int, int]) -> int:
        """Return the minutes until something changes."""
        most = min(self._midnight, self._schedule.changes_at) - self._minute
        ends = [self._changes_at - self._minute]
        if self._minute * MINUTE < self._begins_at.timestamp() or any(lane.grows for lane in self._lanes):
            return 1
        for number, emails in ready.items():
            if emails and len(queues[number]) == 1:
                ends.append(emails // self._lanes[number].per_minute)
            elif emails or self._queue_of_helper(number):
                ends.append(1)
        busy = max((-(-emails // self._lanes[n].per_minute) for n, emails in ready.items()), default=1)
        return max(1, min(most, max(min(self._grain, busy), min(ends))))

    def _pace(self, lane: SimulatedLane, minutes: int) -> int:
        """Return the emails of so many minutes; of the first minute only the rest is left."""
        gone = max(0.0, self._begins_at.timestamp() - self._minute * MINUTE) / MINUTE
        return max(1, int(lane.per_minute * (minutes - gone)))

    def _send_through(
        self,
        number: int,
        queue: _Queue,
        emails: int,
        minutes: int,
    ) -> None:
        """Send emails through a lane within so many minutes."""
        lane = self._lanes[number]
        queued = [share for _each, share in queue]
        parts = shares(emails, queued)
        for n, (each, part) in enumerate(zip((each for each, _share in queue), parts, strict=True)):
            if each is self._ours:
                self._note(lane, queued, n, parts)
            each.left -= part
            self._sent[each.campaign_id] = self._sent.get(each.campaign_id, 0) + part
            if part:
                _spend(self._left[each.campaign_id], number, part)
        _take(lane.counter, self._minute, sum(parts), minutes)
        lane.grow(minutes)

    def _count(self, minutes: int) -> int:
        """Count what was sent within so many minutes, of all lanes together; return how many emails."""
        for each in self._schedule.active:
            _take(each.used, self._minute, self._sent.get(each.campaign_id, 0), minutes)
        emails = sum(self._sent.values())
        _take(self._plan, self._minute, emails, minutes)
        self._sent = {}
        return emails

    def _note(
        self, lane: SimulatedLane, queued: Sequence[CampaignShare], n: int, parts: Sequence[int]
    ) -> None:
        if parts[n]:
            others = [share for share in queued if share is not queued[n]]
            before_equals = queued[n]._replace(campaign_id=PLENTY)  # equals are sent before the last of ours
            last = min(sum(parts), until_done(before_equals, others))
            begins = max(self._ours.starts_at, datetime_of(self._minute))
            self._builder.add(lane, parts[n], begins, end_of(last, self._minute, lane, self._begins_at))

    # --- waiting

    def _reason(self) -> tuple[Wait, int, str, int | None]:
        """Return what ours waits for: the plan, if it has a limit and one of its senders can send."""
        waits: list[tuple[int, Wait, str, int | None]] = []
        for number in self._ours.had:
            lane = self._lanes[number]
            if not self._is_awake(lane):
                waits.append((lane.awake_from or 0, Wait.asleep, lane.name, None))
            elif self._plan.limit is None or lane.counter.remaining(self._counted) == 0:
                waits.append((lane.counter.frees() or PLENTY, Wait.sender, lane.name, lane.counter.limit))
            else:
                return Wait.plan, self._minute, "", self._plan.limit
        _until, wait, name, limit = min(waits, key=lambda found: found[0])
        return wait, self._minute, name, limit

    def _end_pause(self) -> None:
        if self._waiting is not None:
            wait, since, name, limit = self._waiting
            known = limit is not None or wait not in (Wait.sender, Wait.plan)
            if known and self._minute - since >= SHORTEST_PAUSE:
                self._builder.pause(wait, since, self._minute, name, limit)
            self._waiting = None

    def _next_change(self) -> int:
        """Return the first minute after this one in which more may leave than now."""
        found = [self._schedule.changes_at, *(lane.awake_from for lane in self._lanes if lane.awake_from)]
        counters = [self._plan, *(lane.counter for lane in self._lanes)]
        counters += [campaign.used for campaign in self._schedule.active]
        for counter in counters:
            counter.remaining(self._counted)
            if counter.runs:
                found.append(counter.runs[0][0] + WINDOW + 1)
        following = min(minute for minute in found if minute > self._minute)
        return max(self._minute + 1, following - following % self._grain)


def _take(counter: RollingCounter, minute: int, emails: int, minutes: int) -> None:
    """Count emails sent evenly in so many minutes."""
    each, more = divmod(emails, minutes)
    if each:
        counter.take(minute, each, minutes)
    if more:
        counter.take(minute + minutes - 1, more)


def _spend(left: dict[int, int], number: int, emails: int) -> None:
    """Take emails from what a campaign may send through this lane, else from what it may through others."""
    for lane in (number, *sorted(left)):
        taken = min(emails, left.get(lane, 0))
        if taken:
            left[lane] -= taken
            emails -= taken
