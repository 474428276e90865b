"""Model of senders and campaigns for the forecast simulation: limits, throughput, sending hours."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ..quota.rolling_counter import WINDOW, RollingCounter
from .forecast import MINUTE
from .sending_hours import Hours

# A year of full days of minutes. Longer forecasts end with "later than".
LONGEST_MINUTES = 366 * WINDOW
STARTS_SOON = timedelta(minutes=1)  # a campaign that starts sooner has its share of the limits already
GROWS_BACK = 30  # minutes of sending that restore a whole pace: 15 for the half that was taken


@dataclass
class SimulatedLane:
    """One sender in the simulation."""

    name: str
    counter: RollingCounter
    per_minute: int  # its pace
    awake_from: int | None = None  # the minute its rest ends
    grows_to: float = 0  # asked to slow down by its server, it wins this pace back while emails leave
    floor: int = 0  # where a campaign that starts takes its first turn
    per_day_by_pace: int | None = None  # emails of 24 hours at the pace it is limited to; None: no limit
    sender_id: int = 0  # decides ties, as in sending

    def __post_init__(self) -> None:
        self._exactly = float(self.per_minute)

    @property
    def grows(self) -> bool:
        return self._exactly < self.grows_to

    def grow(self, minutes: int = 1) -> None:
        """Win back pace for minutes in which emails left."""
        if minutes and self.grows:
            self._exactly = min(self.grows_to, self._exactly + minutes * self.grows_to / GROWS_BACK)
            self.per_minute = max(1, round(self._exactly))


@dataclass
class SimulatedCampaign:
    """A campaign in the simulation that shares senders with others."""

    campaign_id: int
    left: int
    starts_at: datetime
    hours: Hours | None = None
    had: dict[int, int] = field(default_factory=dict)  # by number of the lane; it uses no other lanes
    # Its emails of the last 24 hours.
    used: RollingCounter = field(default_factory=lambda: RollingCounter(None))


class SendingSchedule:
    """Schedule of which campaigns may send when, and when that changes next."""

    def __init__(self, campaigns: Sequence[SimulatedCampaign]) -> None:
        self._next: dict[int, tuple[bool, int]] = {}  # by position: whether it may send, and until when
        self.begins_at = min(campaign.starts_at for campaign in campaigns)
        self._starts = _starts(campaigns)
        self.campaigns = campaigns
        self.active: list[SimulatedCampaign] = []
        # Outside their hours, with the minute these begin.
        self.closed: list[tuple[SimulatedCampaign, int]] = []
        self.changes_at = 0

    def refresh(self, minute: int) -> None:
        """Look again who may send in this minute."""
        self.active, self.closed, self.changes_at = [], [], minute + LONGEST_MINUTES
        for n, campaign in enumerate(self.campaigns):
            if not campaign.left:
                continue
            may, until = self._next.get(n, (False, 0))
            if minute >= until:
                may, until = self._next[n] = self._availability(n, minute)
            if may:
                self.active.append(campaign)
            elif minute >= self._starts[n]:
                self.closed.append((campaign, until))
            self.changes_at = min(self.changes_at, until)

    def _availability(self, number: int, minute: int) -> tuple[bool, int]:
        campaign, starts = self.campaigns[number], self._starts[number]
        forever = minute + 2 * LONGEST_MINUTES
        if minute < starts:
            return False, starts
        if campaign.hours is None:
            return True, forever
        opens = opening(campaign.hours, minute)
        if opens > minute:
            return False, opens
        closes = campaign.hours.closes(datetime_of(minute))
        return True, max(minute + 1, int(closes.timestamp()) // MINUTE) if closes else forever


def _starts(campaigns: Sequence[SimulatedCampaign]) -> list[int]:
    """Return the minute from which each campaign has its share.

    When one starts, those that start within a minute have theirs already.
    """
    found = [0] * len(campaigns)
    first: datetime | None = None
    for n in sorted(range(len(campaigns)), key=lambda n: campaigns[n].starts_at):
        if first is None or campaigns[n].starts_at >= first + STARTS_SOON:
            first = campaigns[n].starts_at
        found[n] = int(first.timestamp()) // MINUTE
    return found


def datetime_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * MINUTE, UTC)


def opening(hours: Hours | None, minute: int) -> int:
    """Return the first minute from this one on that is within the sending hours."""
    return -(-int(hours.next_open(datetime_of(minute)).timestamp()) // MINUTE) if hours else minute
