"""Explanation steps after sending: bounces, opens, clicks, unsubscribes and complaints."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select

from ...models import Delivery, DeliveryStatus, Event, EventKind
from ..explanation_steps import ExplanationCode, ExplanationStep
from .context import ExplanationContext


def reactions(context: ExplanationContext, email: Delivery) -> Iterator[ExplanationStep]:
    """Yield a step for each recorded reaction."""
    opened = email.first_opened_at
    events = _events(context, email)
    if EventKind.bounce in events or email.status is DeliveryStatus.bounced:
        yield ExplanationStep(ExplanationCode.bounced, since=events.get(EventKind.bounce))
    if opened is not None:
        yield ExplanationStep(
            ExplanationCode.opened if email.certain_open else ExplanationCode.opened_possibly, since=opened
        )
    elif email.machine_opens:
        yield ExplanationStep(ExplanationCode.opened_by_machine)
    elif email.status is DeliveryStatus.sent and not email.clicks:
        yield ExplanationStep(
            ExplanationCode.not_opened if context.campaign.track_opens else ExplanationCode.opens_not_counted
        )
    if email.first_clicked_at is not None:
        yield ExplanationStep(ExplanationCode.clicked, since=email.first_clicked_at, number=email.clicks)
    left = email.unsubscribed_at or events.get(EventKind.unsubscribe)
    if left is not None:
        yield ExplanationStep(ExplanationCode.unsubscribed, since=left)
    back = events.get(EventKind.resubscribe)
    if back is not None and email.unsubscribed_at is None:
        yield ExplanationStep(ExplanationCode.resubscribed, since=back)
    if EventKind.complaint in events:
        yield ExplanationStep(ExplanationCode.complained, since=events[EventKind.complaint])


def _events(context: ExplanationContext, email: Delivery) -> dict[EventKind, datetime]:
    """Return the time of the last event of each kind, without opens and clicks."""
    rows = context.session.execute(
        select(Event.kind, func.max(Event.at).label("at"))
        .where(
            Event.delivery_id == email.id,
            Event.kind.not_in([EventKind.open, EventKind.click]),
        )
        .group_by(Event.kind)
    )
    return {row.kind: row.at for row in rows}
