"""Sending hours: the weekdays and the time of day in which a campaign's emails may leave.

What a clock on a wall says, in a zone of its own: nine in the morning stays nine when the clocks change.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InputError, _

DAY = timedelta(days=1)
TO_THE_MINUTE = timedelta(minutes=1)  # "not after 10:00" is kept by who starts at 10:00:02
LOOKED_AHEAD = 15  # days: the one Sunday of a week may lose its hours to the change of clocks


def begins_too_late(start: datetime, latest: datetime) -> bool:
    """Whether a campaign that starts then misses its latest start."""
    return start >= latest + TO_THE_MINUTE


@dataclass(frozen=True)
class Hours:
    """From ``begins`` until ``ends`` on ``days`` (1 is Monday); over midnight when ``ends`` comes first.

    The day is that on which the hours begin: Friday 22:00-02:00 ends on Saturday. The same time twice is a
    whole day.
    """

    days: frozenset[int]
    begins: time
    ends: time
    timezone: str

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> "Hours | None":
        """What a campaign keeps; None: at any time."""
        return cls.from_json(kept) if kept else None

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Hours":
        """Raises ``InputError`` under "hours"."""
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

    def is_open(self, moment: datetime) -> bool:
        """Whether an email may leave at this moment."""
        return any(start <= moment < end for start, end in self._around(moment))

    def next_open(self, moment: datetime) -> datetime:
        """The first moment from this one on in which an email may leave."""
        spans = [(start, end) for start, end in self._around(moment) if end > moment]
        return max(moment, min(spans)[0])

    def closes(self, moment: datetime) -> datetime | None:
        """When the hours this moment lies in end; None: not within two weeks, or they are over."""
        end = moment
        for start, until in sorted(self._around(moment)):
            if start <= end < until:  # hours that follow each other without a gap are one
                end = until
        around_the_clock = self.begins == self.ends and len(self.days) == 7
        return None if end == moment or around_the_clock else end

    def _around(self, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
        zone = ZoneInfo(self.timezone)
        today = moment.astimezone(zone).date()
        for number in range(-2, LOOKED_AHEAD):  # two: in 2011 Samoa had no 30 December
            day = today + number * DAY
            if day.isoweekday() in self.days:
                last = day if self.begins < self.ends else day + DAY
                start, end = _moment(day, self.begins, zone), _moment(last, self.ends, zone)
                if start < end:  # an hour that the clocks jump over may leave nothing
                    yield start, end


def _moment(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """A wall clock's time; one that the clock jumps over is the moment of the jump's end."""
    return datetime.combine(day, clock, zone).astimezone(UTC)


def _clock(text: Any) -> time:
    if not isinstance(text, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise InputError({"hours": _("The hours look like 09:00 and 18:00.")})
    return time.fromisoformat(text)
