"""The forecast's simulation where a plan's limit is divided among campaigns of several senders.

Every sender and every campaign of the account takes part, because what one of them sends is no longer there
for the others. The rules are those of the worker: :mod:`plan_shares`, then the turns at each sender.
"""

from collections.abc import Collection, Sequence
from zoneinfo import ZoneInfo

from ..quota.rolling_counter import WINDOW, RollingCounter
from .forecast import MINUTE, Forecast, Wait
from .forecast_record import ForecastRecord, end_of, midnight_after
from .plan_shares import CampaignDemand, PlanShares, plan_shares
from .simulated import LONGEST_MINUTES, Lane, Sending, SendingSchedule, datetime_of, opening
from .turns import PLENTY, CampaignShare, shares, until_done

# By number of steps so far: the minutes of a step. The first days are exact.
STEPS = ((2_000, 1), (4_000, 10), (14_000, 60))
SHORTEST_PAUSE = 2  # minutes


class PlanSimulation:
    """One campaign, ``ours``, among all campaigns and senders of its account."""

    def __init__(
        self,
        ours: Sending,
        rivals: Sequence[Sending],
        lanes: Sequence[Lane],
        plan: RollingCounter,
        zone: ZoneInfo,
    ) -> None:
        self._ours, self._lanes, self._plan, self._zone = ours, lanes, plan, zone
        self._record = ForecastRecord(ours, zone)
        self._schedule = SendingSchedule([ours, *rivals])
        self._begins_at = min([ours.starts_at, *(rival.starts_at for rival in rivals)])
        self._minute = int(self._begins_at.timestamp()) // MINUTE
        self._last_minute = int(ours.starts_at.timestamp()) // MINUTE + LONGEST_MINUTES
        self._midnight = 0
        self._waiting: tuple[Wait, int, str, int | None] | None = None  # a pause that has not ended

    def run(self) -> Forecast:
        """Send until the last email of ours has left, or no end is in sight."""
        for steps, minutes in STEPS:
            for _step in range(steps):
                if not self._ours.left or self._minute > self._last_minute:
                    return self._finished()
                self._look_around()
                self._go_on(minutes)
        return self._finished()

    def _finished(self) -> Forecast:
        self._end_pause()
        return self._record.forecast()

    def _look_around(self) -> None:
        if self._minute >= self._midnight:
            self._midnight = midnight_after(self._minute, self._zone)
        if self._minute >= self._schedule.changes_at:
            self._schedule.refresh(self._minute)
            opens = opening(self._ours.hours, self._minute)
            if (
                datetime_of(self._minute) >= self._ours.starts_at
                and opens > self._minute
                and not self._waiting
            ):
                self._record.pause(Wait.hours, self._minute, opens)

    def _go_on(self, minutes: int) -> None:
        """Send for so many minutes, or skip to the next minute in which something changes."""
        minutes = max(
            1, min(minutes, self._midnight - self._minute, self._schedule.changes_at - self._minute)
        )
        before = self._ours.left
        sent = self._send(minutes)
        if self._ours.left < before:
            self._end_pause()
        elif self._ours in self._schedule.active and self._waiting is None:
            self._waiting = self._reason()
        self._minute = self._minute + minutes if sent else self._next_change()

    # --- sending

    def _send(self, minutes: int) -> bool:
        """Send through all senders; return whether anything left."""
        awake = [n for n, lane in enumerate(self._lanes) if self._is_awake(lane)]
        free = {n: self._free(self._lanes[n]) for n in awake}
        sent = 0
        for n in awake:
            remaining = self._plan.remaining(self._minute)
            if remaining != 0 and free[n]:
                plan = plan_shares(PLENTY if remaining is None else remaining, self._demands(awake), free)
                pace = self._pace(self._lanes[n], minutes)
                emails = self._send_through(n, plan, min(free[n], pace))
                self._lanes[n].grow(minutes if emails else 0)
                free[n] -= emails
                sent += emails
        return sent > 0

    def _is_awake(self, lane: Lane) -> bool:
        return lane.awake_from is None or self._minute >= lane.awake_from

    def _free(self, lane: Lane) -> int:
        """Return what a sender may still send within 24 hours."""
        remaining = lane.counter.remaining(self._minute)
        paced = PLENTY if lane.per_day_by_pace is None else max(1, lane.per_day_by_pace - lane.counter.total)
        return paced if remaining is None else min(remaining, paced)

    def _pace(self, lane: Lane, minutes: int) -> int:
        """Return the emails of so many minutes; of the first minute only the rest is left."""
        gone = max(0.0, self._begins_at.timestamp() - self._minute * MINUTE) / MINUTE
        return max(1, int(lane.per_minute * (minutes - gone)))

    def _demands(self, awake: Collection[int]) -> list[CampaignDemand]:
        soon = (each for each, opens in self._schedule.closed if opens <= self._minute + WINDOW)
        found = []
        for campaign in (*self._schedule.active, *soon):
            if campaign.left:
                campaign.used.remaining(self._minute)
                senders = [number for number in campaign.had if number in awake]
                used = campaign.used.total
                found.append(CampaignDemand(campaign.campaign_id, used, campaign.left, senders))
        return found

    def _send_through(self, number: int, plan: PlanShares, emails: int) -> int:
        """Send at most ``emails`` through a sender, and return how many left."""
        lane, served, turns = self._lanes[number], [], []
        for each in self._schedule.active:
            if number in each.had and each.left:
                had = max(each.had[number], lane.floor)
                turn = plan.turn(CampaignShare(each.campaign_id, had, each.left))
                if turn.left:
                    each.had[number] = had
                    served.append(each)
                    turns.append(turn)
        if not turns:
            return 0
        if plan.enough:
            emails = min(emails, max(turn.left for turn in turns))
        parts = shares(emails, turns)
        if self._ours in served:
            self._note(lane, turns, served.index(self._ours), parts)
        for each, part in zip(served, parts, strict=True):
            each.left -= part
            each.used.take(self._minute, part)
            each.had[number] += part if plan.enough and len(turns) > 1 else 0
        if plan.enough:
            lane.floor = max(lane.floor, _last(number, served))
        lane.counter.take(self._minute, sum(parts))
        self._plan.take(self._minute, sum(parts))
        return sum(parts)

    def _note(self, lane: Lane, turns: Sequence[CampaignShare], n: int, parts: Sequence[int]) -> None:
        if parts[n]:
            others = [turn for turn in turns if turn is not turns[n]]
            last = min(sum(parts), until_done(turns[n], others))
            begins = max(self._ours.starts_at, datetime_of(self._minute))
            self._record.add(lane, parts[n], begins, end_of(last, self._minute, lane, self._begins_at))

    # --- waiting

    def _reason(self) -> tuple[Wait, int, str, int | None]:
        """Return what ours waits for: the plan, unless none of its senders can send."""
        waits: list[tuple[int, Wait, str, int | None]] = []
        for number in self._ours.had:
            lane = self._lanes[number]
            if not self._is_awake(lane):
                waits.append((lane.awake_from or 0, Wait.asleep, lane.name, None))
            elif lane.counter.remaining(self._minute) == 0:
                waits.append((lane.counter.frees() or PLENTY, Wait.sender, lane.name, lane.counter.limit))
            else:
                return Wait.plan, self._minute, "", self._plan.limit
        _until, wait, name, limit = min(waits, key=lambda found: found[0])
        return wait, self._minute, name, limit

    def _end_pause(self) -> None:
        if self._waiting is not None:
            wait, since, name, limit = self._waiting
            if self._minute - since >= SHORTEST_PAUSE:
                self._record.pause(wait, since, self._minute, name, limit)
            self._waiting = None

    def _next_change(self) -> int:
        """Return the first minute in which more may leave than now."""
        found = [self._schedule.changes_at, *(lane.awake_from for lane in self._lanes if lane.awake_from)]
        for counter in (self._plan, *(lane.counter for lane in self._lanes)):
            counter.remaining(self._minute)
            found.append(counter.frees() or 0)
        return min(minute for minute in found if minute > self._minute)


def _last(number: int, campaigns: Sequence[Sending]) -> int:
    """Return what the last in line has had of a sender."""
    waiting = [each.had[number] for each in campaigns if each.left]
    return min(waiting or (each.had[number] for each in campaigns))
