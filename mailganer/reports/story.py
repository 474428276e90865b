"""One letter's story: what readers and machines did with it, in order."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Campaign, Delivery, Event, EventKind, LetterVersion, Source

MOST = 100


@dataclass(frozen=True)
class Happening:
    at: datetime
    kind: EventKind
    source: Source
    url: str  # of a click: the link as it was written
    agent: str
    implied: bool  # an open that is known only by a click


def delivery_story(session: Session, campaign: Campaign, delivery: Delivery) -> tuple[Happening, ...]:
    """What is on record of a letter after it was sent, oldest first."""
    events = session.scalars(
        select(Event).where(Event.delivery_id == delivery.id).order_by(Event.at, Event.id).limit(MOST)
    ).all()
    links = _links(session, delivery.letter_id or campaign.letter_id) if events else ()
    return tuple(_happening(event, links) for event in events)


def _happening(event: Event, links: tuple[str, ...]) -> Happening:
    clicked = event.kind is EventKind.click and event.link is not None and event.link <= len(links)
    return Happening(
        at=event.at,
        kind=event.kind,
        source=event.source,
        url=links[event.link - 1] if clicked and event.link else "",
        agent=event.agent,
        implied=event.kind is EventKind.open and event.link is not None,
    )


def _links(session: Session, letter_id: int | None) -> tuple[str, ...]:
    version = session.get(LetterVersion, letter_id) if letter_id else None
    return tuple(version.compiled["links"]) if version else ()
