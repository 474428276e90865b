"""Pace of a sender whose server asks it to slow down: halved at once, regained while emails are accepted.

Additive increase, multiplicative decrease, as in TCP congestion control. The pace is stored in the sender's
row, so all lanes share it and it outlives them; ``accounts.sender_limits`` turns it into a limit.
"""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ...backends import Limits
from ...campaigns.campaign_forecast import EMAILS_A_SECOND
from ...campaigns.simulation_model import GROWS_BACK
from ...db import UNTRACKED
from ...models import Lane, Sender, SenderStatus

SLOWEST = 0.1  # emails per second; at this pace a sender still finds out when the server accepts more again
SHORTEST_MEASUREMENT = 1.0  # seconds; a shorter time is too little to measure a pace


def slow_down(
    session: Session, sender_id: int, limits: Limits, emails: int, seconds: float, now: datetime
) -> None:
    """Halve the pace: the known one, else that of ``emails`` in ``seconds`` in each of the sender's lanes.

    Several lanes that are slowed down at once count as one event: the first of them puts the sender to sleep.
    """
    row = session.execute(
        select(Sender.status, Sender.slowed_to, Sender.slowed_from)
        .where(Sender.id == sender_id)
        .with_for_update(key_share=True)
    ).one()
    if row.status is not SenderStatus.ready:
        return
    before = row.slowed_to or limits.per_second or _seen(session, sender_id, limits, emails, seconds, now)
    _note(session, sender_id, max(SLOWEST, before / 2), row.slowed_from or before)


def speed_up(session: Session, sender_id: int, emails: int) -> None:
    """Raise the pace after ``emails`` were accepted; at the original pace the slow-down ends."""
    row = session.execute(
        select(Sender.slowed_to, Sender.slowed_from)
        .where(Sender.id == sender_id)
        .with_for_update(key_share=True)
    ).one()
    if row.slowed_to is None or row.slowed_from is None:
        return
    # At any pace, a minute of emails regains the same share.
    pace = row.slowed_to + row.slowed_from * emails / (row.slowed_to * GROWS_BACK * 60)
    _note(session, sender_id, *((pace, row.slowed_from) if pace < row.slowed_from else (None, None)))


def _seen(
    session: Session, sender_id: int, limits: Limits, emails: int, seconds: float, now: datetime
) -> float:
    if not emails:
        return EMAILS_A_SECOND * limits.max_connections
    lanes = session.scalar(
        select(func.count()).select_from(Lane).where(Lane.sender_id == sender_id, Lane.lease_until > now)
    )
    return max(1, lanes or 0) * emails / max(seconds, SHORTEST_MEASUREMENT)


def _note(session: Session, sender_id: int, pace: float | None, before: float | None) -> None:
    session.execute(
        update(Sender).where(Sender.id == sender_id).values(slowed_to=pace, slowed_from=before),
        execution_options=UNTRACKED,
    )
