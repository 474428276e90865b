"""Builder of a forecast: collects what a simulated campaign sends, and when it pauses."""

from datetime import date, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from .forecast import MINUTE, Day, Forecast, Pause, Share, Wait
from .simulation_model import SimulatedCampaign, SimulatedLane, datetime_of


class ForecastBuilder:
    """Collect emails by day and sender, and pauses, into a ``Forecast``."""

    def __init__(self, campaign: SimulatedCampaign, zone: ZoneInfo) -> None:
        self._campaign, self._emails, self._zone = campaign, campaign.left, zone
        self._starts_at = self._ends_at = campaign.starts_at
        self._days: dict[date, dict[str, Share]] = {}
        self._pauses: list[Pause] = []

    def add(self, lane: SimulatedLane, emails: int, begins: datetime, ends: datetime) -> None:
        """Record emails sent on one day."""
        shares = self._days.setdefault(begins.astimezone(self._zone).date(), {})
        known = shares.get(lane.name)
        shares[lane.name] = known.and_then(emails, ends) if known else Share(lane.name, emails, begins, ends)
        self._ends_at = max(self._ends_at, ends)

    def is_waiting(self, minute: int) -> bool:
        """Return whether this minute is within the last recorded pause."""
        return bool(self._pauses) and datetime_of(minute) < self._pauses[-1].until

    def pause(self, wait: Wait, minute: int, until: int, sender: str = "", limit: int | None = None) -> None:
        """Record a pause from ``minute`` until the minute ``until``."""
        since = max(self._starts_at, datetime_of(minute))
        self._pauses.append(Pause(wait, since, datetime_of(until), sender, limit))

    def forecast(self) -> Forecast:
        """Return the forecast."""
        left = self._campaign.left
        return Forecast(
            emails=self._emails,
            starts_at=self._starts_at,
            finishes_at=None if left else self._ends_at,
            days=tuple(Day(day, tuple(shares.values())) for day, shares in self._days.items()),
            pauses=tuple(self._pauses),
            unsent=left,
        )


def end_of(emails: int, minute: int, lane: SimulatedLane, begins_at: datetime) -> datetime:
    """Return when the last of the emails of this minute has been sent."""
    return max(begins_at, datetime_of(minute)) + timedelta(seconds=ceil(MINUTE * emails / lane.per_minute))


def midnight_after(minute: int, zone: ZoneInfo) -> int:
    """Return the first minute of the zone's next day."""
    day = datetime_of(minute).astimezone(zone).date() + timedelta(days=1)
    midnight = datetime.combine(day, datetime.min.time(), zone).timestamp()
    return max(minute + 1, -(-int(midnight) // MINUTE))
