"""Campaign report: emails sent, opens, clicks, unsubscribes and failures.

All numbers come from stored data: emails are sums over batches, recipients sums over campaign counters, links
and timelines sums over events not caused by machines.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from ..audience.kept_results import kept_at_version, kept_result
from ..campaigns.counts import Counts, campaign_counts
from ..models import (
    LARGEST_CAMPAIGN,
    Batch,
    Campaign,
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
    EventSource,
    FrozenEmail,
    Reason,
    first_delivery_id,
)
from ..tracking import Numbers, campaign_numbers
from .campaign_timeline import TimelineBucket, timeline

FEW = 200  # batches examined one by one; above this, the whole campaign is scanned
EXAMPLES = 3  # replies of the server shown per reason
READ = 100  # most frequent replies examined, to find as many that differ in more than the address
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
TROUBLES = (DeliveryStatus.failed, DeliveryStatus.in_doubt, DeliveryStatus.skipped, DeliveryStatus.bounced)


@dataclass(frozen=True)
class Opens:
    """Opens. The true number of recipients is between ``people_certain`` and ``people_at_most``."""

    people_certain: int
    people_possible: int  # on top of ``people_certain``; it may have been only their email app
    total: int
    machine: int

    @property
    def people_at_most(self) -> int:
        return self.people_certain + self.people_possible


@dataclass(frozen=True)
class Clicks:
    people: int
    total: int
    machine: int


@dataclass(frozen=True)
class Link:
    """One link URL of the email as written, that is a template. ``key`` filters recipients by this link."""

    key: str
    url: str
    people: int
    total: int


@dataclass(frozen=True)
class DeliveryFailures:
    """Undelivered emails with one status and reason, with example replies of the server."""

    status: DeliveryStatus
    reason: Reason | None
    number: int
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    campaign_id: int
    counts: Counts
    opens: Opens
    clicks: Clicks
    links: tuple[Link, ...]
    unsubscribed: int
    timeline: tuple[TimelineBucket, ...]
    troubles: tuple[DeliveryFailures, ...]

    @property
    def arrived(self) -> int:
        """Return the number of emails accepted by the servers that did not bounce."""
        return self.counts.sent

    @property
    def stopped_before(self) -> int:
        """Return the number of recipients who got no email because the campaign was cancelled."""
        return self._by_reason(DeliveryStatus.skipped).get(Reason.cancelled.value, 0)

    def share(self, people: int) -> float:
        """Return ``people`` as a fraction of the recipients reached."""
        return min(1.0, people / self.arrived) if self.arrived else 0.0

    def as_json(self) -> dict[str, Any]:
        """Serialize for ``GET /api/v1/campaigns/{id}/report``."""
        return {
            "sent": self.counts.sent,
            "opens": vars(self.opens),
            "clicks": vars(self.clicks),
            "links": [{"url": link.url, "people": link.people, "total": link.total} for link in self.links],
            "unsubscribed": self.unsubscribed,
            "bounced": self.counts.bounced,
            "failed": self._by_reason(DeliveryStatus.failed),
            "skipped": self._by_reason(DeliveryStatus.skipped),
            "in_doubt": self.counts.in_doubt,
            "timeline": [bucket.as_json() for bucket in self.timeline],
        }

    def _by_reason(self, status: DeliveryStatus) -> dict[str, int]:
        found = [trouble for trouble in self.troubles if trouble.status == status]
        return {trouble.reason.value if trouble.reason else "": trouble.number for trouble in found}


def campaign_report(session: Session, campaign: Campaign, now: datetime | None = None) -> Report:
    """Return the report of a campaign. The timeline ends at ``now``, or at the last event without it.

    What takes reading events or deliveries is kept by this process while the counters stay the same.
    """
    counts = campaign_counts(session, [campaign.id])[campaign.id]
    numbers = campaign_numbers(session, [campaign.id])[campaign.id]
    return Report(
        campaign_id=campaign.id,
        counts=counts,
        opens=_opens(numbers),
        clicks=Clicks(numbers.clicked, numbers.clicks, numbers.machine_clicks),
        links=links(session, campaign, numbers),
        unsubscribed=numbers.unsubscribed,
        timeline=timeline(session, campaign, now, numbers),
        troubles=_failures_by_reason(session, campaign, counts),
    )


def links(session: Session, campaign: Campaign, numbers: Numbers | None = None) -> tuple[Link, ...]:
    """Return all links of the versions sent, in the order of the email, including links without clicks.

    With the campaign's ``numbers``, what was counted for the same numbers is used again.
    """
    if numbers is None:
        return _count_links(session, campaign)
    question = ("links", campaign.id, campaign.created_at)
    version = (numbers, campaign.frozen_email_id)
    return kept_at_version(session, question, version, lambda: _count_links(session, campaign))


def _count_links(session: Session, campaign: Campaign) -> tuple[Link, ...]:
    places = link_places(session, campaign)
    rows = session.execute(
        select(Event.frozen_email_id, Event.link, func.count(Event.delivery_id.distinct()), func.count())
        .where(*_clicked(campaign))
        .group_by(Event.frozen_email_id, Event.link)
    )
    found = {
        (frozen_email_id or campaign.frozen_email_id or 0, number or 0): (people, total)
        for frozen_email_id, number, people, total in rows
    }
    return tuple(_link(session, campaign, url, each, found) for url, each in places.items())


def link_places(session: Session, campaign: Campaign) -> dict[str, list[tuple[int, int]]]:
    """Return the places of each URL: (frozen email id, number of the link)."""
    versions = session.execute(
        select(FrozenEmail.id, FrozenEmail.compiled)
        .where(FrozenEmail.campaign_id == campaign.id)
        .order_by(FrozenEmail.version)
    )
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for frozen_email_id, compiled in versions:
        for number, url in enumerate(compiled["links"], start=1):
            places[url].append((frozen_email_id, number))
    return dict(places)


def _link(
    session: Session,
    campaign: Campaign,
    url: str,
    places: list[tuple[int, int]],
    found: Mapping[tuple[int, int], tuple[int, int]],
) -> Link:
    followed = [place for place in places if place in found]
    people = sum(found[place][0] for place in followed)
    if len(followed) > 1:  # a recipient who clicked two places of one link counts once
        people = _recipients_behind(session, campaign, followed)
    frozen_email_id, number = places[0]
    return Link(f"{frozen_email_id}-{number}", url, people, sum(found[place][1] for place in followed))


def _recipients_behind(session: Session, campaign: Campaign, places: list[tuple[int, int]]) -> int:
    query = select(func.count(Event.delivery_id.distinct())).where(*_clicked(campaign), at_places(places))
    return int(session.scalar(query) or 0)


def at_places(places: list[tuple[int, int]]) -> Any:
    """Return the condition that an event is a click on one of these links."""
    return or_(
        *(
            and_(Event.frozen_email_id == frozen_email_id, Event.link == number)
            for frozen_email_id, number in places
        )
    )


def _clicked(campaign: Campaign) -> tuple[Any, ...]:
    return (
        Event.campaign_id == campaign.id,
        Event.kind == EventKind.click,
        Event.source != EventSource.machine,
    )


def _opens(numbers: Numbers) -> Opens:
    return Opens(numbers.opened_certain, numbers.opened_possible, numbers.opens, numbers.machine_opens)


def _failures_by_reason(session: Session, campaign: Campaign, counts: Counts) -> tuple[DeliveryFailures, ...]:
    """Return undelivered emails by reason, the most frequent first."""
    if not any(getattr(counts, status.value) for status in TROUBLES):
        return ()
    # The epochs change when an email is sent again, the account's version when a recipient is erased.
    epochs = session.scalar(select(func.sum(Batch.epoch)).where(Batch.campaign_id == campaign.id))
    return kept_result(
        session,
        campaign.account_id,
        (),
        ("failures", campaign.id, campaign.created_at, counts, epochs),
        lambda: _count_failures(session, campaign),
    )


def _count_failures(session: Session, campaign: Campaign) -> tuple[DeliveryFailures, ...]:
    troubled = _undelivered(session, campaign)
    rows = session.execute(
        select(Delivery.status, Delivery.reason, func.count())
        .where(troubled)
        .group_by(Delivery.status, Delivery.reason)
        .order_by(func.count().desc(), Delivery.status, Delivery.reason)
    ).all()
    return tuple(
        DeliveryFailures(status, reason, number, _replies(session, troubled, status, reason))
        for status, reason, number in rows
    )


def _replies(
    session: Session, troubled: ColumnElement[bool], status: DeliveryStatus, reason: Reason | None
) -> tuple[str, ...]:
    same_reason = Delivery.reason.is_(None) if reason is None else Delivery.reason == reason
    rows = session.scalars(
        select(Delivery.reply)
        .where(troubled, Delivery.status == status, same_reason)
        .where(Delivery.reply.is_not(None), Delivery.reply != "")
        .group_by(Delivery.reply)
        .order_by(func.count().desc(), Delivery.reply)
        .limit(READ)
    )
    unlike: dict[str, str] = {}
    for reply in rows:
        unlike.setdefault(_ADDRESS.sub("", reply or ""), reply or "")
    return tuple(unlike.values())[:EXAMPLES]


def _undelivered(session: Session, campaign: Campaign) -> ColumnElement[bool]:
    """Return the condition for undelivered emails, limited to the batches with some if these are few."""
    failures = sum((getattr(Batch, status.value) for status in TROUBLES[1:]), Batch.failed)
    ranges = session.execute(
        select(Batch.first_id, Batch.last_id)
        .where(Batch.campaign_id == campaign.id, failures > 0)
        .limit(FEW + 1)
    ).all()
    first = first_delivery_id(campaign.id)
    whole = Delivery.id.between(first, first + LARGEST_CAMPAIGN - 1)
    few = [Delivery.id.between(start, end) for start, end in ranges]
    return and_(Delivery.status.in_(TROUBLES), whole if len(few) > FEW else or_(*few))
