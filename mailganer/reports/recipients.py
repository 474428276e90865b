"""Recipients of a campaign: its deliveries, searched, filtered, paginated or exported as CSV."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, sessionmaker

from ..audience.addresses import AddressError, parse_address
from ..audience.exports import csv_bytes
from ..audience.subscriber_search import called
from ..errors import _
from ..models import (
    LARGEST_CAMPAIGN,
    Campaign,
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
    EventSource,
    Reason,
    Subscriber,
    first_delivery_id,
    make_message_id,
)
from .reasons import delivery_sentence
from .report import at_places, link_places

LONGEST_QUERY = 200
_AT_ONCE = 1_000  # rows read per query for a file


class OpenFilter(StrEnum):
    """Filter of recipients by their opens."""

    certain = "certain"
    possible = "possible"
    any = "any"  # certain or possible
    none = "none"
    machine = "machine"  # only a machine fetched the images


@dataclass(frozen=True)
class Filters:
    """Filter of a campaign's recipients. All conditions must hold."""

    status: DeliveryStatus | None = None
    reason: Reason | None = None
    query: str = ""  # a part of the address or the name
    opened: OpenFilter | None = None
    clicked: bool | None = None
    link: str = ""  # ``Link.key`` of the report
    left: bool = False  # unsubscribed by this email


@dataclass(frozen=True)
class RecipientsPage:
    """A page of deliveries, the subscribers' names by delivery id, and the cursor of the next page."""

    items: tuple[Delivery, ...]
    next: int | None
    names: dict[int, str]


def recipients_page(
    session: Session,
    campaign: Campaign,
    *,
    status: DeliveryStatus | None = None,
    query: str = "",
    filters: Filters | None = None,
    after: int | None = None,
    limit: int = 50,
) -> RecipientsPage:
    """Return recipients in the order of the ledger. ``filters`` replaces ``status`` and ``query``."""
    filters = filters or Filters(status=status, query=query)
    conditions = _conditions(session, campaign, filters)
    rows = session.execute(_rows(campaign.id, conditions, after).limit(limit + 1)).all()
    shown = rows[:limit]
    return RecipientsPage(
        items=tuple(row.Delivery for row in shown),
        next=shown[-1].Delivery.id if len(rows) > limit else None,
        names={row.Delivery.id: _name(row) for row in shown},
    )


def recipients_csv(
    sessions: sessionmaker[Session],
    campaign_id: int,
    filters: Filters | None = None,
    *,
    translate: Callable[[str], str] = str,
) -> Iterator[bytes]:
    """Yield the same recipients as CSV. Reads a thousand rows per session, so memory use is bounded."""
    return csv_bytes(_table(sessions, campaign_id, filters or Filters(), translate))


def _table(
    sessions: sessionmaker[Session], campaign_id: int, filters: Filters, translate: Callable[[str], str]
) -> Iterator[Sequence[str]]:
    yield [translate(word) for word in HEADING]
    with sessions() as session:
        campaign = session.get(Campaign, campaign_id)
        if campaign is None:
            return
        # Built once: finding the places of a link reads every version of the email.
        conditions = _conditions(session, campaign, filters)
    after: int | None = None
    while True:
        with sessions() as session:
            rows = session.execute(_rows(campaign_id, conditions, after).limit(_AT_ONCE)).all()
            lines = [_line(row, campaign.message_domain, translate) for row in rows]
            after = rows[-1].Delivery.id if rows else None
        yield from lines
        if len(lines) < _AT_ONCE:
            return


HEADING = (
    _("Address"),
    _("Recipient"),
    _("Status"),
    _("Reason"),
    _("Server reply"),
    _("Sent"),
    _("Opened"),
    _("Confirmed open"),
    _("Opens"),
    _("Clicked"),
    _("Clicks"),
    _("Unsubscribed"),
    "Message-ID",
)


def _line(row: Any, domain: str, translate: Callable[[str], str]) -> Sequence[str]:
    delivery: Delivery = row.Delivery
    sent = delivery.settled_at if delivery.status in (DeliveryStatus.sent, DeliveryStatus.bounced) else None
    return (
        delivery.email,
        _name(row),
        delivery.status.value,
        translate(delivery_sentence(delivery.reason)),
        translate(delivery.reply or ""),
        _iso(sent),
        _iso(delivery.first_opened_at),
        "1" if delivery.certain_open else "0",
        str(delivery.opens),
        _iso(delivery.first_clicked_at),
        str(delivery.clicks),
        _iso(delivery.unsubscribed_at),
        f"<{make_message_id(delivery.id, delivery.token, domain)}>",
    )


def _rows(campaign_id: int, conditions: Sequence[ColumnElement[bool]], after: int | None) -> Any:
    first = first_delivery_id(campaign_id)
    start = first - 1 if after is None else max(after, first - 1)
    return (
        select(Delivery, Subscriber.first_name, Subscriber.last_name)
        .outerjoin(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .where(Delivery.id > start, Delivery.id < first + LARGEST_CAMPAIGN)
        .where(*conditions)
        .order_by(Delivery.id)
    )


def _conditions(session: Session, campaign: Campaign, filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.status is not None:
        conditions.append(Delivery.status == filters.status)
    if filters.reason is not None:
        conditions.append(Delivery.reason == filters.reason)
    if filters.opened is not None:
        conditions += _opened(filters.opened)
    if filters.clicked is not None:
        conditions.append(
            Delivery.first_clicked_at.is_not(None) if filters.clicked else Delivery.first_clicked_at.is_(None)
        )
    if filters.link:
        conditions.append(_followed(session, campaign, filters.link))
    if filters.left:
        conditions.append(Delivery.unsubscribed_at.is_not(None))
    return conditions + _search_conditions(campaign, filters.query)


def _opened(opened: OpenFilter) -> list[ColumnElement[bool]]:
    not_opened = Delivery.first_opened_at.is_(None)
    conditions: dict[OpenFilter, list[ColumnElement[bool]]] = {
        OpenFilter.certain: [Delivery.first_opened_at.is_not(None), Delivery.certain_open.is_(True)],
        OpenFilter.possible: [Delivery.first_opened_at.is_not(None), Delivery.certain_open.is_(False)],
        OpenFilter.any: [Delivery.first_opened_at.is_not(None)],
        OpenFilter.none: [not_opened, Delivery.status == DeliveryStatus.sent],
        OpenFilter.machine: [not_opened, Delivery.machine_opens > 0],
    }
    return conditions[opened]


def _followed(session: Session, campaign: Campaign, key: str) -> ColumnElement[bool]:
    """Return the condition for recipients who clicked this link at any of its places in the email."""
    places = next((each for each in link_places(session, campaign).values() if key == _key(each)), [(0, 0)])
    return Delivery.id.in_(
        select(Event.delivery_id).where(
            Event.campaign_id == campaign.id,
            Event.kind == EventKind.click,
            Event.source != EventSource.machine,
            at_places(places),
        )
    )


def _key(places: list[tuple[int, int]]) -> str:
    return "{}-{}".format(*places[0])


def _search_conditions(campaign: Campaign, query: str) -> list[ColumnElement[bool]]:
    """Return the search conditions: a full address is looked up, other words are searched in the account."""
    query = query.replace("\x00", "")[:LONGEST_QUERY]
    with suppress(AddressError):
        return [Delivery.email_key == parse_address(query).key]
    words = called(query)
    if not words:
        return []
    named = select(Subscriber.id).where(Subscriber.account_id == campaign.account_id, *words)
    return [Delivery.subscriber_id.in_(named)]


def _name(row: Any) -> str:
    return f"{row.first_name or ''} {row.last_name or ''}".strip()


def _iso(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else ""
