"""Campaign timeline: events by hour for the first two days, later by day."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, String, func, select
from sqlalchemy.orm import Session

from ..audience.kept_results import kept_at_version
from ..models import Campaign, Delivery, Event, EventKind, EventSource
from ..models.meta import UTCDateTime
from ..tracking import Numbers

HOUR = timedelta(hours=1)
CLOSE = timedelta(days=2)  # 80% of all opens happen within this time
MOST_DAYS = 90  # longest daily series; each day is a point of the chart
KINDS = (EventKind.open, EventKind.click, EventKind.unsubscribe)


@dataclass(frozen=True)
class TimelineBucket:
    """Events within ``hours`` (1 or 24) from ``at``, without those of machines."""

    at: datetime
    hours: int
    opens: int
    clicks: int
    unsubscribes: int

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"at": self.at.astimezone(UTC).isoformat()}


def timeline(
    session: Session, campaign: Campaign, now: datetime | None = None, numbers: Numbers | None = None
) -> tuple[TimelineBucket, ...]:
    """Return intervals without gaps from the campaign's start to ``now``, or to the last event.

    After two days the timeline ends with the last event even with ``now``, to avoid an empty chart. With the
    campaign's ``numbers``, opens and clicks counted for the same numbers are used again.
    """
    if campaign.started_at is None:
        return ()
    start = campaign.started_at.replace(minute=0, second=0, microsecond=0)
    hours = _by_hour(session, campaign, numbers)
    last = max((hour for hour, _kind in hours), default=start)
    return _hourly(hours, start, max(last, now or last)) + _daily(hours, start, last)


def _by_hour(
    session: Session, campaign: Campaign, numbers: Numbers | None
) -> Counter[tuple[datetime, EventKind]]:
    def opens_and_clicks() -> list[tuple[Any, EventKind, int]]:
        seen = _counted(session, campaign).where(Event.kind.in_([EventKind.open, EventKind.click]))
        return [(at, kind, number) for at, kind, number in session.execute(seen)]

    question = ("opens and clicks by hour", campaign.id, campaign.created_at)
    seen = (
        opens_and_clicks()
        if numbers is None
        else kept_at_version(session, question, numbers, opens_and_clicks)
    )
    # An undone unsubscribe is not counted, as in the report; of repeated ones the last counts.
    left = (
        _counted(session, campaign)
        .join(Delivery, Delivery.id == Event.delivery_id)
        .where(Event.kind == EventKind.unsubscribe, Event.at == Delivery.unsubscribed_at)
    )
    rows = [*seen, *session.execute(left)]
    return Counter({(_datetime_of(at), kind): number for at, kind, number in rows})


def _counted(session: Session, campaign: Campaign) -> Select[Any, EventKind, int]:
    hour = _hour(session)
    return (
        select(hour, Event.kind, func.count())
        .group_by(hour, Event.kind)
        .where(Event.campaign_id == campaign.id, Event.source != EventSource.machine)
    )


def _hour(session: Session) -> ColumnElement[Any]:
    """Return the hour of an event in the form the database computes fastest; see ``_datetime_of``."""
    if session.get_bind().dialect.name == "postgresql":
        return func.date_trunc("hour", Event.at, "UTC", type_=UTCDateTime())
    return func.substr(Event.at, 1, len("2026-11-23 09"), type_=String())


def _datetime_of(hour: datetime | str) -> datetime:
    return hour if isinstance(hour, datetime) else datetime.fromisoformat(f"{hour}:00+00:00")


def _hourly(
    hours: Counter[tuple[datetime, EventKind]], start: datetime, end: datetime
) -> tuple[TimelineBucket, ...]:
    steps = int((min(end, start + CLOSE - HOUR) - start) / HOUR) + 1
    return tuple(_bucket(hours, start + HOUR * step, 1) for step in range(steps))


def _daily(
    hours: Counter[tuple[datetime, EventKind]], start: datetime, last: datetime
) -> tuple[TimelineBucket, ...]:
    """Return days of 24 hours, starting where the hours end."""
    first = start + CLOSE
    if last < first:
        return ()
    days = min((last - first).days + 1, MOST_DAYS)
    return tuple(_bucket(hours, first + timedelta(days=day), 24) for day in range(days))


def _bucket(hours: Counter[tuple[datetime, EventKind]], at: datetime, length: int) -> TimelineBucket:
    opens, clicks, leaves = (sum(hours[at + HOUR * step, kind] for step in range(length)) for kind in KINDS)
    return TimelineBucket(at, length, opens, clicks, leaves)
