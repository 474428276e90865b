"""What a reader or a server did after a letter had left."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select

from ...models import (
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
)
from ..steps import Code, Step
from .asked import Asked


def came_back(asked: Asked, letter: Delivery) -> Iterator[Step]:
    """A step for each thing that is on record."""
    opened = letter.first_opened_at
    events = _events(asked, letter)
    if EventKind.bounce in events or letter.status is DeliveryStatus.bounced:
        yield Step(Code.bounced, since=events.get(EventKind.bounce))
    if opened is not None:
        yield Step(Code.opened if letter.certain_open else Code.opened_possibly, since=opened)
    elif letter.machine_opens:
        yield Step(Code.opened_by_machine)
    elif letter.status is DeliveryStatus.sent and not letter.clicks:
        yield Step(Code.not_opened if asked.campaign.track_opens else Code.opens_not_counted)
    if letter.first_clicked_at is not None:
        yield Step(Code.clicked, since=letter.first_clicked_at, number=letter.clicks)
    left = letter.unsubscribed_at or events.get(EventKind.unsubscribe)
    if left is not None:
        yield Step(Code.unsubscribed, since=left)
    back = events.get(EventKind.resubscribe)
    if back is not None and letter.unsubscribed_at is None:
        yield Step(Code.resubscribed, since=back)
    if EventKind.complaint in events:
        yield Step(Code.complained, since=events[EventKind.complaint])


def _events(asked: Asked, letter: Delivery) -> dict[EventKind, datetime]:
    """The last of each kind that a person or a server has caused."""
    rows = asked.session.execute(
        select(Event.kind, func.max(Event.at).label("at"))
        .where(
            Event.delivery_id == letter.id,
            Event.kind.not_in([EventKind.open, EventKind.click]),
        )
        .group_by(Event.kind)
    )
    return {row.kind: row.at for row in rows}
