"""Opens: fetches of the tracking pixel, counted in batches.

Hundreds of emails are read by one statement, counted here, and written by three. No row becomes an ORM
object: that alone would cost more than everything else together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from ..ledger.engagement import count_open, write_open_counts
from ..ledger.resolve_in_doubt import prove_sent
from ..models import EventKind, EventSource, token_bytes
from .campaign_counters import counted_together
from .events import note, write_events
from .locked_emails import LockedEmail, lock_emails
from .scanner_detection import HASTY_LINKS, burst_at
from .user_agents import LONGEST_READ, classify


@dataclass(frozen=True, slots=True)
class Opening:
    """A fetch of the pixel: token of the email, user agent and time."""

    token: bytes
    agent: str
    at: datetime

    @classmethod
    def of(cls, token: str, *, agent: str, at: datetime) -> "Opening | None":
        """Return the opening, or None if ``token`` is malformed."""
        raw = token_bytes(token)
        return cls(raw, agent[:LONGEST_READ], at) if raw else None


def record_opens(session: Session, openings: Sequence[Opening]) -> int:
    """Count opens in the order they arrived. Return the number of emails they belong to."""
    tokens = {opening.token for opening in openings}
    emails = lock_emails(session, tokens)
    for email in emails.values():
        if email.in_doubt:  # the recipient has the email, so it was sent
            prove_sent(session, email.id, openings[-1].at)
    counting = {token: email for token, email in emails.items() if email.track_opens}
    notes: list[dict[str, Any]] = []
    with counted_together(session, counting.values()):
        for opening in openings:
            if own := counting.get(opening.token):
                notes += opened(own, _source(session, own, opening), opening.agent, opening.at)
        write_open_counts(session, counting.values())
        write_events(session, notes)
    session.expire_all()  # ORM objects of these rows must be reloaded
    return len(emails)


def opened(
    email: LockedEmail, source: EventSource, agent: str, at: datetime, link: int | None = None
) -> list[dict[str, Any]]:
    """Count one open of an email. Return the event rows to add: one, or none."""
    machine = source is EventSource.machine
    count = count_open(email, at, machine=machine, certain=source is EventSource.person)
    return note(email, EventKind.open, source, count, agent, at, None if machine else link) if count else []


def _source(session: Session, email: LockedEmail, opening: Opening) -> EventSource:
    """Return what fetched the pixel; a scanner is also known by clicks that another process wrote first."""
    source = classify(opening.agent)
    if source is EventSource.machine or email.machine_clicks < HASTY_LINKS:
        return source
    return EventSource.machine if burst_at(session, email.id, email.settled_at, opening.at) else source
