"""Timeline of one email: events caused by its recipient and by machines, in order."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Campaign, Delivery, Event, EventKind, EventSource, FrozenEmail

MOST = 100


@dataclass(frozen=True)
class TimelineEvent:
    at: datetime
    kind: EventKind
    source: EventSource
    url: str  # of a click: the link as written in the email
    agent: str
    implied: bool  # an open known only from a click


def delivery_timeline(session: Session, campaign: Campaign, delivery: Delivery) -> tuple[TimelineEvent, ...]:
    """Return the events of an email after it was sent, oldest first."""
    events = session.scalars(
        select(Event).where(Event.delivery_id == delivery.id).order_by(Event.at, Event.id).limit(MOST)
    ).all()
    links = _links(session, delivery.frozen_email_id or campaign.frozen_email_id) if events else ()
    return tuple(_timeline_event(event, links) for event in events)


def _timeline_event(event: Event, links: tuple[str, ...]) -> TimelineEvent:
    clicked = event.kind is EventKind.click and event.link is not None and event.link <= len(links)
    return TimelineEvent(
        at=event.at,
        kind=event.kind,
        source=event.source,
        url=links[event.link - 1] if clicked and event.link else "",
        agent=event.agent,
        implied=event.kind is EventKind.open and event.link is not None,
    )


def _links(session: Session, frozen_email_id: int | None) -> tuple[str, ...]:
    version = session.get(FrozenEmail, frozen_email_id) if frozen_email_id else None
    return tuple(version.compiled["links"]) if version else ()
