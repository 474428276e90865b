"""The pace of a sender whose server asks it to slow down: halved at once, won back while emails are taken.

Additive increase, multiplicative decrease, as TCP does it on a line that it knows nothing about. It stands in
the sender's row, so it is common to all lanes and outlives them; ``accounts.sender_limits`` makes it a limit.
"""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ...backends import Limits
from ...campaigns.campaign_forecast import EMAILS_A_SECOND
from ...campaigns.simulated import GROWS_BACK
from ...db import UNTRACKED
from ...models import Lane, Sender, SenderStatus

SLOWEST = 0.1  # emails a second: whoever is asked again and again still finds out when it is over
A_WHILE = 1.0  # seconds; from less nobody can tell a pace


def slow_down(
    session: Session, sender_id: int, limits: Limits, emails: int, seconds: float, now: datetime
) -> None:
    """Halves the pace: the known one, else that of ``emails`` in ``seconds`` in each of its lanes.

    What one server says to several lanes at once it has said once: the first of them lays the sender to rest.
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
    """So many emails were taken: a step back to the pace it had. Whoever has it again is slowed no more."""
    row = session.execute(
        select(Sender.slowed_to, Sender.slowed_from)
        .where(Sender.id == sender_id)
        .with_for_update(key_share=True)
    ).one()
    if row.slowed_to is None or row.slowed_from is None:
        return
    # At any pace a minute of emails wins back the same part.
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
    return max(1, lanes or 0) * emails / max(seconds, A_WHILE)


def _note(session: Session, sender_id: int, pace: float | None, before: float | None) -> None:
    session.execute(
        update(Sender).where(Sender.id == sender_id).values(slowed_to=pace, slowed_from=before),
        execution_options=UNTRACKED,
    )
