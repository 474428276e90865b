"""Opens and clicks: what a reader's mail program fetches.

A click by a person means that the letter was open, pictures or not. A scanner follows every link within a
moment of the letter's arrival: what looks like that is a machine's after all, the first clicks included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from ..errors import NotFound
from ..models import Campaign, Delivery, DeliveryStatus, Event, EventKind, Source, token_bytes
from .agents import kept, who
from .letters import Found, find, link_target
from .proof import prove_sent
from .tally import counted, counted_together

HASTE = timedelta(seconds=2)  # nobody opens a letter and follows three of its links so soon
HASTY_LINKS = 3

# Rows kept of one delivery; its numbers go on. A page that reloads a picture must not fill the database.
MOST_ROWS = {
    (EventKind.open, False): 15,
    (EventKind.open, True): 5,
    (EventKind.click, False): 25,
    (EventKind.click, True): 5,
}


def record_open(session: Session, token: str, *, agent: str, now: datetime) -> bool:
    """Counts an open. False when there is no such letter: whoever asks gets the same picture."""
    try:
        found = find(session, token, lock=True)
    except NotFound:
        return False
    prove(session, found.delivery, now)
    if found.campaign.track_opens:
        with counted(session, found.delivery):
            _open(session, found.delivery, who(agent), agent, now)
    return True


@dataclass(frozen=True, slots=True)
class Opening:
    """A picture that was fetched: whose letter's, by what, and when."""

    token: bytes
    agent: str
    at: datetime

    @classmethod
    def of(cls, token: str, *, agent: str, at: datetime) -> "Opening | None":
        """None for what cannot be a token."""
        raw = token_bytes(token)
        return cls(raw, agent, at) if raw else None


def record_opens(session: Session, openings: Sequence[Opening]) -> None:
    """Counts opens in the order they came, as :func:`record_open` counts each; unknown ones are left out."""
    found = _opened_letters(session, {opening.token for opening in openings})
    for delivery, _tracked in found.values():
        prove(session, delivery, openings[-1].at)
    counting = {token: delivery for token, (delivery, tracked) in found.items() if tracked}
    with counted_together(session, counting.values()):
        for opening in openings:
            if opened := counting.get(opening.token):
                _open(session, opened, who(opening.agent), opening.agent, opening.at)


def _opened_letters(session: Session, tokens: set[bytes]) -> dict[bytes, tuple[Delivery, bool]]:
    """Letters and whether their opens are counted, locked by id: two writers take turns."""
    rows = session.execute(
        select(Delivery, Campaign.track_opens)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(Delivery.token.in_(tokens))
        .order_by(Delivery.id)
        .with_for_update(of=Delivery)
        .execution_options(populate_existing=True)
    )
    return {bytes(delivery.token): (delivery, tracked) for delivery, tracked in rows}


def record_click(session: Session, token: str, number: int, *, agent: str, now: datetime) -> str:
    """Counts a click and answers where it leads. Raises ``NotFound``, and then counts nothing."""
    found = find(session, token, lock=True)
    target = link_target(session, found, number)
    prove(session, found.delivery, now)
    if found.campaign.track_clicks:
        with counted(session, found.delivery):
            _click(session, found, number, who(agent), agent, now)
    return target


def prove(session: Session, delivery: Delivery, now: datetime) -> None:
    """A doubtful letter that somebody has in hand was sent."""
    if delivery.status == DeliveryStatus.in_doubt and prove_sent(session, delivery.id, now):
        session.refresh(delivery, ["status", "reason", "settled_at"])


def _open(
    session: Session, delivery: Delivery, source: Source, agent: str, now: datetime, link: int | None = None
) -> None:
    if source is Source.machine:
        delivery.machine_opens += 1
        _note(session, delivery, EventKind.open, source, delivery.machine_opens, agent, now)
        return
    delivery.opens += 1
    delivery.first_opened_at = delivery.first_opened_at or now
    delivery.certain_open = delivery.certain_open or source is Source.person
    _note(session, delivery, EventKind.open, source, delivery.opens, agent, now, link)


def _click(session: Session, found: Found, number: int, source: Source, agent: str, now: datetime) -> None:
    delivery = found.delivery
    if source is Source.machine:
        delivery.machine_clicks += 1
        _note(session, delivery, EventKind.click, source, delivery.machine_clicks, agent, now, number)
        return
    delivery.clicks += 1
    delivery.first_clicked_at = delivery.first_clicked_at or now
    _note(session, delivery, EventKind.click, source, delivery.clicks, agent, now, number)
    if _hasty(session, delivery, now):
        _all_by_machine(session, delivery)
    elif found.campaign.track_opens:
        _opened_by_click(session, delivery, number, source, agent, now)


def _opened_by_click(
    session: Session, delivery: Delivery, number: int, source: Source, agent: str, now: datetime
) -> None:
    if delivery.opens == 0:
        _open(session, delivery, source, agent, now, link=number)
    delivery.certain_open = delivery.certain_open or source is Source.person


def _hasty(session: Session, delivery: Delivery, now: datetime) -> bool:
    if delivery.settled_at is not None and now - delivery.settled_at > HASTE:
        return False
    links = session.scalar(
        select(func.count(Event.link.distinct())).where(
            Event.delivery_id == delivery.id, Event.kind == EventKind.click
        )
    )
    return (links or 0) >= HASTY_LINKS


def _all_by_machine(session: Session, delivery: Delivery) -> None:
    """Everything so far happened within moments, by the same visitor: none of it was a person."""
    session.flush()
    implied = session.execute(
        delete(Event).where(
            Event.delivery_id == delivery.id, Event.kind == EventKind.open, Event.link.is_not(None)
        )
    )
    session.execute(
        update(Event)
        .where(Event.delivery_id == delivery.id, Event.kind.in_([EventKind.open, EventKind.click]))
        .values(source=Source.machine)
    )
    delivery.machine_opens += delivery.opens - implied.rowcount  # type: ignore[attr-defined]
    delivery.machine_clicks += delivery.clicks
    delivery.opens = delivery.clicks = 0
    delivery.certain_open = False
    delivery.first_opened_at = delivery.first_clicked_at = None


def _note(
    session: Session,
    delivery: Delivery,
    kind: EventKind,
    source: Source,
    count: int,
    agent: str,
    now: datetime,
    link: int | None = None,
) -> None:
    if count > MOST_ROWS[kind, source is Source.machine]:
        return
    session.add(
        Event(
            campaign_id=delivery.campaign_id,
            delivery_id=delivery.id,
            kind=kind,
            source=source,
            link=link,
            letter_id=delivery.letter_id,
            at=now,
            agent=kept(agent),
        )
    )
