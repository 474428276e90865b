"""Forecast of a campaign: emails by day, end, and pauses."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

MINUTE = 60


class Wait(StrEnum):
    """Cause of a pause."""

    sender = "sender"  # the mail account has used up its limit of 24 hours
    plan = "plan"  # the account's plan is used up
    hours = "hours"  # it is outside the campaign's sending hours
    asleep = "asleep"  # the mail account rests until a known time


@dataclass(frozen=True)
class Share:
    """Emails of one day through one sender."""

    sender: str  # its address
    emails: int
    starts_at: datetime
    finishes_at: datetime

    def and_then(self, emails: int, finishes_at: datetime) -> "Share":
        return Share(self.sender, self.emails + emails, self.starts_at, max(self.finishes_at, finishes_at))


@dataclass(frozen=True)
class Day:
    """Emails of one day in the account's time zone, planned or actual."""

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
    """A period in which nothing can be sent, and its cause."""

    wait: Wait
    since: datetime
    until: datetime
    sender: str = ""  # its address, if the cause is a sender
    limit: int | None = None  # the limit that is used up


@dataclass(frozen=True)
class Forecast:
    """When emails will be sent. ``unsent`` is the number of emails without a foreseeable end.

    The numbers of days are ``approximate`` where campaigns that share limits send through several senders.
    """

    emails: int
    starts_at: datetime
    finishes_at: datetime | None  # None: not within a year
    days: tuple[Day, ...]
    pauses: tuple[Pause, ...]
    unsent: int = 0
    approximate: bool = False

    @property
    def at_once(self) -> bool:
        """Return whether the last email is sent within a minute of the first."""
        return self.finishes_at is not None and self.finishes_at - self.starts_at <= timedelta(minutes=1)

    @property
    def first_pause(self) -> Pause | None:
        return self.pauses[0] if self.pauses else None
