"""Numbers, dates, times and durations as text, in one language and time zone."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal

from babel import dates, numbers

from .languages import Language
from .line_breaks import NO_BREAK

RECENT = timedelta(days=6)  # beyond this, a date is clearer than a number of days


class Formatter:
    """Formats values in one language and time zone; ``unbroken`` joins the parts of a date."""

    def __init__(self, language: Language, timezone: tzinfo = UTC, *, unbroken: bool = False) -> None:
        self.language = language
        self.timezone = timezone
        self._locale = language.locale
        self._unbroken = unbroken

    # --- numbers

    def number(self, value: float) -> str:
        """Format a number: 1204 -> "1,204" or "1 204"."""
        return numbers.format_decimal(value, locale=self._locale)

    def percent(self, value: float) -> str:
        """Format a fraction: 0.314 -> "31%" or "31 %"."""
        return numbers.format_percent(value, locale=self._locale)

    # --- dates and times

    def format_date(self, at: datetime | date, form: str = "medium") -> str:
        """Format a date by a Babel pattern, or as short, medium, long or full: 23 Nov 2026."""
        return dates.format_date(self._here(at), form, locale=self._locale)

    def format_time(self, at: datetime, form: str = "short") -> str:
        """Format a time: 09:14; "medium" with seconds."""
        return dates.format_time(self._here(at), form, locale=self._locale)

    def format_datetime(self, at: datetime) -> str:
        """Format a date and time: 23 Nov 2026, 09:14."""
        return self._unbreakable(self.format_datetime_by(at, self.language.date_formats.short))

    def sentence_datetime(self, at: datetime) -> str:
        """Format a date and time: 23 November 2026, 09:14."""
        return self._unbreakable(self.format_datetime_by(at, self.language.date_formats.in_sentence))

    def sentence_date(self, at: datetime | date) -> str:
        """Format a date: 23 Nov 2026."""
        return self._unbreakable(self.format_date(at))

    def exact(self, at: datetime | date) -> str:
        """Format a date with weekday, and of a datetime also time and zone."""
        if not isinstance(at, datetime):
            return self.format_date(at, "full")
        return self.format_datetime_by(at, self.language.date_formats.exact)

    def format_datetime_by(self, at: datetime, pattern: str) -> str:
        """Format a datetime by a Babel pattern."""
        return dates.format_datetime(self._here(at), pattern, locale=self._locale)

    def relative(self, distance: timedelta) -> str:
        """Format a distance to now: "5 minutes ago", "in 2 hours"."""
        return dates.format_timedelta(distance, add_direction=True, locale=self._locale)

    def duration(self, length: timedelta) -> str:
        """Format a duration: "24 hours".

        Days are used only from 72 hours on, because rounded to days a day and a minute would become two.
        """
        hours = length / timedelta(hours=1)
        if hours < 1:
            return self._timedelta(max(length, timedelta(minutes=1)), "minute")
        return self._timedelta(length, "hour" if hours < 72 else "day")

    def weekday(self, number: int) -> str:
        """Return the short stand-alone name of a weekday: 1 -> "Mon" or "пн"."""
        names = dates.get_day_names("abbreviated", context="stand-alone", locale=self._locale)
        return str(names[number - 1])

    def weekdays(self, numbers: Sequence[int]) -> str:
        """Format weekdays: [1, 2, 3, 4, 5] -> "Mon–Fri"; [1, 3] -> "Mon, Wed"."""
        first, last = numbers[0], numbers[-1]
        if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
            return f"{self.weekday(first)}–{self.weekday(last)}"
        return ", ".join(map(self.weekday, numbers))

    def _timedelta(self, length: timedelta, unit: Literal["minute", "hour", "day"]) -> str:
        step = {"minute": 60, "hour": 3600, "day": 86400}[unit]
        whole = timedelta(seconds=step * round(length.total_seconds() / step))
        text = dates.format_timedelta(whole, granularity=unit, threshold=1000, locale=self._locale)
        return self._unbreakable(text)

    def _here(self, at: Any) -> Any:
        return at.astimezone(self.timezone) if isinstance(at, datetime) else at

    def _unbreakable(self, text: str) -> str:
        """Join a date with no-break spaces, but for the space between date and time."""
        return re.sub(r"(?<!,) ", NO_BREAK, text) if self._unbroken else text
