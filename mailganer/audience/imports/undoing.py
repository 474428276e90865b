"""Taking a file back: who came with it goes, who was there is as before."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ...models import Delivery, Import, ImportChange, Subscriber, SubscriberStatus, list_member
from ...models.audience import make_search_key
from ..status import LEFT_REASON, SUPPRESSED, forget_suppressions, remember_suppression


def undo_some(session: Session, job: Import, now: datetime, limit: int) -> bool:
    """Takes back what the import did to up to ``limit`` people. Answers False when nothing was left.

    Somebody who has been sent a letter or has joined another list since stays, and only leaves this list;
    values that were changed again since the import are left alone.
    """
    changes = session.scalars(
        select(ImportChange)
        .where(ImportChange.import_id == job.id)
        .order_by(ImportChange.subscriber_id)
        .limit(limit)
    ).all()
    if not changes:
        return False
    came = [change.subscriber_id for change in changes if change.created]
    staying = _known_elsewhere(session, job.list_id, came)
    leaving = [each for each in came if each not in staying]
    _forget_left(session, job, leaving)
    _leave_list(session, job.list_id, [change.subscriber_id for change in changes if change.joined])
    _restore(session, job, {change.subscriber_id: change.before for change in changes if change.before}, now)
    # The rows of this table go with the people they speak of; those who stay need theirs removed.
    session.execute(
        delete(ImportChange).where(
            ImportChange.import_id == job.id,
            ImportChange.subscriber_id.in_([change.subscriber_id for change in changes]),
        )
    )
    session.execute(delete(Subscriber).where(Subscriber.id.in_(leaving)))
    return True


def _known_elsewhere(session: Session, list_id: int, ids: Sequence[int]) -> set[int]:
    written_to = select(Delivery.subscriber_id).where(Delivery.subscriber_id.in_(ids)).distinct()
    on_others = (
        select(list_member.c.subscriber_id)
        .where(list_member.c.subscriber_id.in_(ids), list_member.c.list_id != list_id)
        .distinct()
    )
    return {*session.scalars(written_to).all(), *session.scalars(on_others).all()}


def _forget_left(session: Session, job: Import, leaving: Sequence[int]) -> None:
    """Who came as somebody who left elsewhere goes without a trace: the next file may say otherwise."""
    keys = session.scalars(
        select(Subscriber.email_key).where(
            Subscriber.id.in_(leaving),
            Subscriber.status.in_(SUPPRESSED),
            Subscriber.status_reason == LEFT_REASON,
        )
    ).all()
    if keys:
        forget_suppressions(session, job.account_id, keys, LEFT_REASON)


def _leave_list(session: Session, list_id: int, ids: Collection[int]) -> None:
    session.execute(
        delete(list_member).where(list_member.c.list_id == list_id, list_member.c.subscriber_id.in_(ids))
    )


def _restore(session: Session, job: Import, before: dict[int, dict[str, Any]], now: datetime) -> None:
    if not before:
        return
    people = session.scalars(select(Subscriber).where(Subscriber.id.in_(before)))
    for person in people:
        if job.finished_at is not None and person.updated_at > job.finished_at:
            continue
        values = before[person.id]
        person.first_name, person.last_name = values["first_name"], values["last_name"]
        person.birthday = date.fromisoformat(values["birthday"]) if values["birthday"] else None
        person.fields = values["fields"]
        person.search_key = make_search_key(person.email_key, person.first_name, person.last_name)
        if person.status_reason == LEFT_REASON and person.status.value == values.get("left"):
            person.status, person.status_reason = SubscriberStatus(values["status"]), ""
            person.status_at = now
            forget_suppressions(session, job.account_id, [person.email_key], LEFT_REASON)
            if person.status in SUPPRESSED:
                remember_suppression(session, person, now)
        person.updated_at = now
    session.flush()
