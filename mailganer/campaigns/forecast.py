"""The forecast of a campaign: what leaves on which day, when it is done, and what it waits for."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

MINUTE = 60


class Wait(StrEnum):
    """What keeps emails waiting."""

    sender = "sender"  # the mail account has sent what it may in 24 hours
    plan = "plan"  # the account's plan has
    hours = "hours"  # it is outside the campaign's sending hours
    asleep = "asleep"  # the mail account rests until a known moment


@dataclass(frozen=True)
class Share:
    """What leaves on a day through one sender."""

    sender: str  # its address
    emails: int
    starts_at: datetime
    finishes_at: datetime

    def and_then(self, emails: int, finishes_at: datetime) -> "Share":
        return Share(self.sender, self.emails + emails, self.starts_at, max(self.finishes_at, finishes_at))


@dataclass(frozen=True)
class Day:
    """What leaves on one day of the account's time zone: planned, or what really did."""

    date: date
    shares: tuple[Share, ...]

    @property
    def emails(self) -> int:
        return sum(share.emails for share in self.shares)

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
    """When emails will leave. ``unsent`` are those for whom no end is in sight."""

    emails: int
    starts_at: datetime
    finishes_at: datetime | None  # None: not within a year
    days: tuple[Day, ...]
    pauses: tuple[Pause, ...]
    unsent: int = 0

    @property
    def at_once(self) -> bool:
        """Whether the last email leaves within a minute of the first."""
        return self.finishes_at is not None and self.finishes_at - self.starts_at <= timedelta(minutes=1)

    @property
    def first_pause(self) -> Pause | None:
        return self.pauses[0] if self.pauses else None
