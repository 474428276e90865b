"""Subscribers added by an import, as undoing finds them.

Nearly all rows of a large file add a subscriber. They carry the import's id, and the import the range of
their ids: an ``ImportChange`` for each would cost PostgreSQL as much as the subscriber. Where more has
to be kept of one, ``record_additions`` makes that row. An id outside the range is that of an import that was
deleted with its list: SQLite gives it to a later one.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, exists, func, insert, literal, null, or_, select, update
from sqlalchemy.orm import Session

from ...db import UNTRACKED
from ...models import Import, ImportChange, Subscriber, SubscriberStatus


def note_additions(job: Import, ids: Sequence[int]) -> None:
    """Extend the range of ids of the subscribers that carry the id of this import."""
    first, last = min(ids), max(ids)
    job.added_from = first if job.added_from is None else min(job.added_from, first)
    job.added_to = last if job.added_to is None else max(job.added_to, last)


def was_added_by(job: Import, subscriber_id: int, import_id: int | None) -> bool:
    """Return whether an import added the subscriber who carries this id of an import."""
    if job.added_from is None or job.added_to is None:
        return False
    return import_id == job.id and job.added_from <= subscriber_id <= job.added_to


def record_additions(session: Session, condition: ColumnElement[bool]) -> None:
    """Make an ``ImportChange`` of each subscriber that meets a condition and carries the id of an import."""
    additions = select(Subscriber.import_id, Subscriber.id, literal(True), literal(True), null()).where(
        condition,
        exists().where(
            Import.id == Subscriber.import_id, Subscriber.id.between(Import.added_from, Import.added_to)
        ),
    )
    columns = ["import_id", "subscriber_id", "created", "joined", "before"]
    session.execute(insert(ImportChange).from_select(columns, additions))
    session.execute(
        update(Subscriber).where(condition, Subscriber.import_id.is_not(None)).values(import_id=None),
        execution_options=UNTRACKED,
    )


def record_next_additions(session: Session, job: Import, limit: int) -> None:
    """Make an ``ImportChange`` of the next ``limit`` subscribers that an import added."""
    ids = session.scalars(added_by(job).order_by(Subscriber.id).limit(limit)).all()
    if ids:
        record_additions(session, Subscriber.id.between(ids[0], ids[-1]) & (Subscriber.import_id == job.id))
    if len(ids) < limit or ids[-1] == job.added_to:
        job.added_from = job.added_to = None
    else:
        job.added_from = ids[-1] + 1


def added_by(job: Import) -> Select[int]:
    """Select the ids of the subscribers that carry the id of an import."""
    return select(Subscriber.id).where(
        Subscriber.account_id == job.account_id,
        Subscriber.id.between(job.added_from, job.added_to),
        Subscriber.import_id == job.id,
    )


def has_changes() -> ColumnElement[bool]:
    """Return the condition that an import has changed something that was not undone."""
    changes = exists().where(ImportChange.import_id == Import.id)
    return or_(Import.added_from.is_not(None), changes)


def count_without_emails(session: Session, job: Import) -> int:
    """Count the subscribers of an import who get no emails, because they unsubscribed or bounced."""
    silent = [each for each in SubscriberStatus if each is not SubscriberStatus.active]
    changed = (
        select(func.count())
        .select_from(ImportChange)
        .join(Subscriber, Subscriber.id == ImportChange.subscriber_id)
        .where(ImportChange.import_id == job.id, Subscriber.status.in_(silent))
    )
    added = select(func.count()).select_from(added_by(job).where(Subscriber.status.in_(silent)).subquery())
    return (session.scalar(changed) or 0) + (session.scalar(added) or 0)


def is_being_undone(session: Session, job: Import) -> bool:
    """Return whether a part of an undone import is still to be undone."""
    return bool(session.scalar(select(has_changes()).where(Import.id == job.id)))
