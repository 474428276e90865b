"""Sending hours: weekdays and times of day in which a campaign's emails may be sent.

Local time in a time zone of their own: nine in the morning stays nine when daylight saving time changes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InputError, _

DAY = timedelta(days=1)
TO_THE_MINUTE = timedelta(minutes=1)  # "not after 10:00" allows a start at 10:00:02
LOOKED_AHEAD = 15  # days: the only Sunday of a week may lose its hours to a clock change


def begins_too_late(start: datetime, latest: datetime) -> bool:
    """Return whether a campaign that starts at ``start`` misses its latest start."""
    return start >= latest + TO_THE_MINUTE


@dataclass(frozen=True)
class Hours:
    """Hours from ``begins`` until ``ends`` on ``days`` (1 is Monday).

    They span midnight if ``ends`` is earlier. The day is the one on which the hours begin: Friday 22:00-02:00
    ends on Saturday. Equal times mean a whole day.
    """

    days: frozenset[int]
    begins: time
    ends: time
    timezone: str

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> "Hours | None":
        """Return the hours stored with a campaign, or None for any time."""
        return cls.from_json(kept) if kept else None

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Hours":
        """Parse stored or given hours. Raise ``InputError`` under "hours"."""
        days = kept.get("days", ())
        if not days or any(day not in range(1, 8) for day in days):
            raise InputError({"hours": _("Choose the days of the week: 1 is Monday, 7 is Sunday.")})
        timezone = str(kept.get("timezone") or "UTC")
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InputError(
                {"hours": _("Choose a time zone from the list, such as Europe/Moscow.")}
            ) from None
        return cls(frozenset(days), _clock(kept.get("from")), _clock(kept.get("to")), timezone)

    def as_json(self) -> dict[str, Any]:
        return {
            "days": sorted(self.days),
            "from": f"{self.begins:%H:%M}",
            "to": f"{self.ends:%H:%M}",
            "timezone": self.timezone,
        }

    def is_open(self, at: datetime) -> bool:
        """Return whether emails may be sent at this time."""
        return any(start <= at < end for start, end in self._nearby_periods(at))

    def next_open(self, at: datetime) -> datetime:
        """Return the first time from this one on at which an email may be sent."""
        spans = [(start, end) for start, end in self._nearby_periods(at) if end > at]
        return max(at, min(spans)[0])

    def closes(self, at: datetime) -> datetime | None:
        """Return when the hours around ``at`` end; None if outside the hours, or not within two weeks."""
        end = at
        for start, until in sorted(self._nearby_periods(at)):
            if start <= end < until:  # adjacent hours count as one
                end = until
        around_the_clock = self.begins == self.ends and len(self.days) == 7
        return None if end == at or around_the_clock else end

    def _nearby_periods(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        zone = ZoneInfo(self.timezone)
        today = at.astimezone(zone).date()
        for number in range(-2, LOOKED_AHEAD):  # -2, because in 2011 Samoa had no 30 December
            day = today + number * DAY
            if day.isoweekday() in self.days:
                last = day if self.begins < self.ends else day + DAY
                start, end = _to_utc(day, self.begins, zone), _to_utc(last, self.ends, zone)
                if start < end:  # hours within a skipped hour of the clock are empty
                    yield start, end


def _to_utc(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Convert local time to UTC; a time that the clock skips becomes the end of the gap."""
    return datetime.combine(day, clock, zone).astimezone(UTC)


def _clock(text: Any) -> time:
    if not isinstance(text, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise InputError({"hours": _("Enter times such as 09:00 and 18:00.")})
    return time.fromisoformat(text)
