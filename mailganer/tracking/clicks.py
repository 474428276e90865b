"""Clicks on links in emails.

A click by a human implies an open, whether images were loaded or not. A scanner follows many links in one
burst: all clicks of such a burst are counted as a machine's, those already recorded included.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from ..db import changed_rows
from ..errors import NotFound
from ..ledger.engagement import (
    COUNTS_BY_ARRAYS,
    count_click,
    counts_as_arrays,
    reclassify_as_machine,
    set_certain_open,
    set_first_times,
    write_counts,
)
from ..ledger.resolve_in_doubt import prove_sent
from ..models import Delivery, DeliveryStatus, Event, EventKind, EventSource, token_bytes
from .campaign_counters import NUMBERS_BY_ARRAYS, Changes, add_numbers, counted_together, numbers_as_arrays
from .events import EVENTS_BY_ARRAYS, events_as_arrays, note, write_events
from .group_writer import GroupWriter
from .locked_emails import LockedEmail, lock_emails
from .open_buffer import OpenBuffer
from .opens import opened
from .scanner_detection import Burst, Hit, burst_among, clicks_of
from .sent_emails import UNKNOWN, find, link_target
from .sent_versions import SentVersions, VersionKey
from .user_agents import LONGEST_READ, classify

KnownTarget = Callable[[VersionKey, int], str | None]
"""Returns the target of a link by version and number, if it is the same for every recipient."""


@dataclass(frozen=True, slots=True)
class Click:
    """A request for a link: token of the email, number of the link, user agent and time.

    ``target`` is the link's target if that was found out before. A ``fetched_ahead`` request is a prefetch:
    it counts as a machine's.
    """

    token: bytes
    number: int
    agent: str
    at: datetime
    fetched_ahead: bool = False
    target: str | None = None

    @classmethod
    def of(
        cls, token: str, number: int, *, agent: str, at: datetime, fetched_ahead: bool = False
    ) -> "Click | None":
        """Return the click, or None if ``token`` is malformed."""
        raw = token_bytes(token)
        return cls(raw, number, agent[:LONGEST_READ], at, fetched_ahead) if raw else None

    def leading_to(self, target: str) -> "Click":
        """Return this click with the target of its link."""
        return replace(self, target=target)

    @property
    def source(self) -> EventSource:
        return EventSource.machine if self.fetched_ahead else classify(self.agent)


def record_click(
    session: Session,
    token: str,
    number: int,
    *,
    agent: str,
    now: datetime,
    fetched_ahead: bool = False,
    ours: str = "",
) -> str:
    """Record a click and return the link's target. Raise ``NotFound`` and count nothing if there is none.

    ``ours`` is the public address of the installation.
    """
    target = link_target(session, find(session, token), number, ours)
    click = Click.of(token, number, agent=agent, at=now, fetched_ahead=fetched_ahead)
    # Rendering a template may have ended the transaction, so the email may be gone.
    if click is None or record_clicks(session, [click.leading_to(target)]) == [None]:
        raise NotFound(UNKNOWN)
    return target


def record_clicks(
    session: Session, clicks: Sequence[Click], known_target: KnownTarget = lambda _version, _number: None
) -> list[str | None]:
    """Count clicks in the order they arrived. Return the target of each.

    The target is None, and nothing is counted, for an unknown email or link, and for a link whose target
    differs by recipient unless the click names it.
    """
    emails = lock_emails(session, {click.token for click in clicks})
    targets = [_target(click, emails.get(click.token), known_target) for click in clicks]
    counting = _Counting(session, emails)
    followed = [click for click, target in zip(clicks, targets, strict=True) if target is not None]
    counting.mark_as_received(followed)
    counting.count([click for click in followed if emails[click.token].track_clicks])
    session.expire_all()  # ORM objects of these rows must be reloaded
    return targets


def click_writer(
    sessions: Callable[[], sessionmaker[Session]],
    opens: OpenBuffer,
    versions: SentVersions,
    threads: int = 1,
) -> GroupWriter[Click, str]:
    """Return a writer of clicks. It answers the target, or None where :func:`record_clicks` does."""
    return GroupWriter(
        "clicks",
        sessions,
        lambda session, clicks: record_clicks(session, clicks, versions.known_target),
        # Whether a click was a human's depends on the order of the email's opens and clicks.
        prepare=lambda clicks: opens.flush_those_of({click.token for click in clicks}),
        threads=threads,
    )


def mark_as_received(session: Session, delivery: Delivery, now: datetime) -> None:
    """Mark an email in doubt as sent: its recipient has it."""
    if delivery.status == DeliveryStatus.in_doubt and prove_sent(session, delivery.id, now):
        session.refresh(delivery, ["status", "reason", "settled_at"])


def _target(click: Click, email: LockedEmail | None, known_target: KnownTarget) -> str | None:
    if email is None:
        return None
    if click.target is not None:
        return click.target
    return known_target(email.version, click.number) if email.version else None


class _Counting:
    """One transaction that counts clicks of locked emails. Keeps the event rows until they are needed."""

    def __init__(self, session: Session, emails: dict[bytes, LockedEmail]) -> None:
        self._session = session
        self._emails = emails
        self._notes: list[dict[str, Any]] = []
        self._hits: dict[int, list[Hit]] = {}

    def mark_as_received(self, clicks: Sequence[Click]) -> None:
        """Mark emails in doubt as sent: their recipients have them."""
        for click in clicks:
            email = self._emails[click.token]
            if email.in_doubt:
                prove_sent(self._session, email.id, click.at)
                email.in_doubt, email.settled_at = False, email.settled_at or click.at

    def count(self, clicks: Sequence[Click]) -> None:
        changing = {click.token: self._emails[click.token] for click in clicks}
        # The first click of an email has none before it, so most need no look.
        before = [each.id for each in changing.values() if each.clicks or each.machine_clicks]
        self._hits = clicks_of(self._session, before)
        emails = changing.values()
        with counted_together(self._session, emails, lambda _session, rows: self._write(emails, rows)):
            for click in clicks:
                self._click(changing[click.token], click)

    def _click(self, email: LockedEmail, click: Click) -> None:
        source = click.source
        if source is not EventSource.machine and (burst := self._burst(email, click)):
            self._write_notes()
            _by_machine(self._session, email, burst)
            source = EventSource.machine
        count = count_click(email, click.at, machine=source is EventSource.machine)
        noted = note(email, EventKind.click, source, count, click.agent, click.at, click.number)
        self._notes += noted
        if noted:
            self._hits.setdefault(email.id, []).append((click.number, click.at))
        if source is not EventSource.machine and email.track_opens:
            self._opened_by_click(email, source, click)

    def _burst(self, email: LockedEmail, click: Click) -> Burst | None:
        return burst_among(self._hits.get(email.id, ()), email.settled_at, click.at, click.number)

    def _opened_by_click(self, email: LockedEmail, source: EventSource, click: Click) -> None:
        if email.opens == 0:
            self._notes += opened(email, source, click.agent, click.at, link=click.number)
        if source is EventSource.person:
            set_certain_open(email)

    def _write(self, emails: Collection[LockedEmail], rows: Sequence[Changes]) -> None:
        """Write everything: on PostgreSQL in one statement."""
        if self._session.get_bind().dialect.name == "postgresql":
            parameters = counts_as_arrays(emails) | events_as_arrays(self._notes) | numbers_as_arrays(rows)
            self._session.connection().execute(_WRITE_BY_ARRAYS, parameters)
        else:
            write_counts(self._session, emails)
            self._write_notes()
            add_numbers(self._session, rows)

    def _write_notes(self) -> None:
        write_events(self._session, self._notes)
        self._notes = []


_WRITE_BY_ARRAYS = NUMBERS_BY_ARRAYS.add_cte(COUNTS_BY_ARRAYS.cte("counted"), EVENTS_BY_ARRAYS.cte("noted"))


def _by_machine(session: Session, email: LockedEmail, burst: Burst) -> None:
    """Count the events of ``burst`` as a machine's; earlier events of a human are kept."""
    own = (Event.delivery_id == email.id, Event.source != EventSource.machine)
    within = (*own, Event.at >= burst.since)
    implied_opens = changed_rows(
        session, delete(Event).where(*within, Event.kind == EventKind.open, Event.link.is_not(None))
    )
    taken = {
        kind: changed_rows(
            session, update(Event).where(*within, Event.kind == kind).values(source=EventSource.machine)
        )
        for kind in (EventKind.open, EventKind.click)
    }
    reclassify_as_machine(
        email,
        opens=taken[EventKind.open],
        implied_opens=implied_opens,
        clicks=taken[EventKind.click],
    )
    _first_times(session, email)


def _first_times(session: Session, email: LockedEmail) -> None:
    """Recompute the first open, the first click and ``certain_open`` from the remaining events."""
    rows = session.execute(
        select(
            Event.kind, func.min(Event.at), func.max(case((Event.source == EventSource.person, 1), else_=0))
        )
        .where(
            Event.delivery_id == email.id,
            Event.source != EventSource.machine,
            Event.kind.in_([EventKind.open, EventKind.click]),
        )
        .group_by(Event.kind)
    )
    left = {kind: (first, certain) for kind, first, certain in rows}
    set_first_times(
        email,
        opened_at=left[EventKind.open][0] if EventKind.open in left else None,
        clicked_at=left[EventKind.click][0] if EventKind.click in left else None,
        certain_open=any(certain for _first, certain in left.values()),
    )
