"""Planned and actual sending of a campaign by day: its forecast at the start, and the emails really sent.

Actual numbers come from counts per campaign, sender and minute (``SentPerMinute``), written in the commit
that settles the emails. The deliveries contain the same, but only for a query that reads a million of them:
their times have no index, because one would make the two updates of every email more expensive. The counts
are a few hundred rows for a campaign that waits for quotas, and a handful for one that does not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Account, Campaign, Sender, SentPerMinute
from .forecast import MINUTE, Day, Forecast, Share

KEPT_DAYS = 60  # days stored of a forecast: comparisons need no more, and they are loaded with every campaign


@dataclass(frozen=True)
class Compared:
    """Planned and actual emails of one sender on one day. Either may be None."""

    date: date
    sender: str
    planned: Share | None
    fact: Share | None


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """Serialize a forecast for the API and for storage."""
    return {
        "starts_at": _text(forecast.starts_at),
        "finishes_at": _text(forecast.finishes_at) if forecast.finishes_at else None,
        "days": [
            {
                "date": day.date.isoformat(),
                "letters": day.emails,
                "starts_at": _text(day.starts_at),
                "finishes_at": _text(day.finishes_at),
                "senders": [
                    {
                        "sender": share.sender,
                        "letters": share.emails,
                        "starts_at": _text(share.starts_at),
                        "finishes_at": _text(share.finishes_at),
                    }
                    for share in day.shares
                ],
            }
            for day in forecast.days
        ],
    }


def kept_forecast(forecast: Forecast) -> dict[str, Any]:
    """Return the value of ``Campaign.forecast`` stored at the start."""
    whole = forecast_json(forecast)
    return whole | {"days": whole["days"][:KEPT_DAYS], "letters": forecast.emails}


def planned_emails(kept: Mapping[str, Any] | None) -> int | None:
    """Return the number of emails of a stored forecast, or None if unknown."""
    return kept.get("letters") if kept else None


def planned(campaign: Campaign) -> tuple[Day, ...]:
    """Return the days forecast at the start; empty for campaigns from before forecasts were stored."""
    kept = campaign.forecast["days"] if campaign.forecast else ()
    return tuple(
        Day(date.fromisoformat(day["date"]), tuple(map(_kept_share, day["senders"]))) for day in kept
    )


def actual_days(session: Session, campaign: Campaign) -> tuple[Day, ...]:
    """Return the emails accepted by servers, by day of the account's time zone and sender, to the minute."""
    zone = ZoneInfo(session.get_one(Account, campaign.account_id).timezone)
    rows = session.execute(
        select(Sender.from_email, SentPerMinute.minute, SentPerMinute.emails)
        .join(Sender, Sender.id == SentPerMinute.sender_id)
        .where(SentPerMinute.campaign_id == campaign.id)
        .order_by(SentPerMinute.minute, SentPerMinute.sender_id)
    )
    days: dict[date, dict[str, Share]] = {}
    for sender, minute, emails in rows:
        at = datetime.fromtimestamp(minute * MINUTE, UTC)
        shares = days.setdefault(at.astimezone(zone).date(), {})
        known = shares.get(sender)
        shares[sender] = known.and_then(emails, at) if known else Share(sender, emails, at, at)
    return tuple(Day(day, tuple(shares.values())) for day, shares in days.items())


def compared(plan: Iterable[Day], happened: Iterable[Day]) -> tuple[Compared, ...]:
    """Return planned and actual numbers side by side, in the order of days."""
    plans, facts = _by_day(plan), _by_day(happened)
    keys = sorted(plans.keys() | facts.keys())
    return tuple(Compared(*key, plans.get(key), facts.get(key)) for key in keys)


def _by_day(days: Iterable[Day]) -> dict[tuple[date, str], Share]:
    return {(day.date, share.sender): share for day in days for share in day.shares}


def _kept_share(kept: Mapping[str, Any]) -> Share:
    times = (datetime.fromisoformat(kept["starts_at"]), datetime.fromisoformat(kept["finishes_at"]))
    return Share(kept["sender"], kept["letters"], *times)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
