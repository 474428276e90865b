"""Undo of an import: added subscribers are removed, changed ones restored.

If another file also gives a subscriber a suppressed status, only that file's information is left: its import
inherits what undoing it will need, so that their statuses can be undone in any order. For additions the order
matters: undoing the import that added a subscriber removes them, also if a later file gave them for the same
list. One who is kept because they are on another list stays in the account when they leave that list later.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ...models import (
    Account,
    Delivery,
    Import,
    ImportChange,
    ImportStatus,
    Subscriber,
    SubscriberStatus,
    list_member,
)
from ...models.audience import make_search_key
from ...subscriber_counts import (
    add_to_counts,
    count_removed,
    count_status_change,
    lock,
    note_new_values,
)
from ..suppression import LEFT_REASON, SUPPRESSED, forget_suppressions, remember_suppression
from .additions import record_additions, record_next_additions
from .status_cells import most_restrictive


def undo_some(session: Session, job: Import, now: datetime, limit: int) -> bool:
    """Undo the import for up to ``limit`` subscribers. Return False when nothing was left.

    A subscriber who has been sent an email or joined another list since is kept, and only leaves this list;
    values changed again since the import are left alone.
    """
    # Serialize with other imports being applied: their changes must be known here, or come later.
    session.execute(select(Account.id).where(Account.id == job.account_id).with_for_update(key_share=True))
    changes = _next_changes(session, job, limit)
    if len(changes) < limit and job.added_from is not None:
        record_next_additions(session, job, limit - len(changes))
        changes = _next_changes(session, job, limit)
    if not changes:
        return False
    lock(session, [each.subscriber_id for each in changes])
    others = _of_other_imports(
        session, job, [each.subscriber_id for each in changes if each.created or each.before]
    )
    came = [change.subscriber_id for change in changes if change.created]
    heirs = {each: heir for each in came if (heir := _heir(others.get(each, ())))}
    staying = heirs.keys() | _known_elsewhere(session, job.list_id, came)
    leaving = {each for each in came if each not in staying}
    _forget_left(session, job, leaving)
    _restore(session, job, [each for each in changes if each.subscriber_id not in leaving], others, now)
    on_heirs_list = _hand_over(job, changes, heirs)
    joined = {change.subscriber_id for change in changes if change.joined}
    _leave_list(session, job, joined - on_heirs_list)
    # These rows are deleted with their subscribers; for those who are kept, delete them here.
    session.execute(
        delete(ImportChange).where(
            ImportChange.import_id == job.id,
            ImportChange.subscriber_id.in_([change.subscriber_id for change in changes]),
        )
    )
    count_removed(session, job.account_id, leaving)
    session.execute(delete(Subscriber).where(Subscriber.id.in_(leaving)))
    return True


def _next_changes(session: Session, job: Import, limit: int) -> Sequence[ImportChange]:
    return session.scalars(
        select(ImportChange)
        .where(ImportChange.import_id == job.id)
        .order_by(ImportChange.subscriber_id)
        .limit(limit)
    ).all()


def _of_other_imports(
    session: Session, job: Import, ids: Sequence[int]
) -> dict[int, list[tuple[Import, ImportChange]]]:
    """Return the changes of other imports that were not undone, by subscriber, in order of time."""
    found: dict[int, list[tuple[Import, ImportChange]]] = {}
    record_additions(session, Subscriber.id.in_(ids))
    rows = session.execute(
        select(Import, ImportChange)
        .join(ImportChange, ImportChange.import_id == Import.id)
        .where(ImportChange.subscriber_id.in_(ids), Import.id != job.id, Import.status != ImportStatus.undone)
        .order_by(Import.finished_at.is_(None), Import.finished_at, Import.id)
    )
    for other, change in rows:
        found.setdefault(change.subscriber_id, []).append((other, change))
    return found


def _heir(others: Sequence[tuple[Import, ImportChange]]) -> tuple[Import, ImportChange] | None:
    """Return the next import with a suppressed status for the subscriber: it takes over the creation."""
    return next((each for each in others if "left" in (each[1].before or {})), None)


def _hand_over(
    job: Import, changes: Sequence[ImportChange], heirs: Mapping[int, tuple[Import, ImportChange]]
) -> set[int]:
    """Record which other import created a subscriber. Return those who stay on the list with it."""
    staying = set()
    for change in changes:
        if change.created and change.subscriber_id in heirs:
            other, heir = heirs[change.subscriber_id]
            heir.created = True
            if other.list_id == job.list_id:
                heir.joined = heir.joined or change.joined
                staying.add(change.subscriber_id)
    return staying


def _known_elsewhere(session: Session, list_id: int, ids: Sequence[int]) -> set[int]:
    written_to = select(Delivery.subscriber_id).where(Delivery.subscriber_id.in_(ids)).distinct()
    on_others = (
        select(list_member.c.subscriber_id)
        .where(list_member.c.subscriber_id.in_(ids), list_member.c.list_id != list_id)
        .distinct()
    )
    return {*session.scalars(written_to).all(), *session.scalars(on_others).all()}


def _forget_left(session: Session, job: Import, leaving: Collection[int]) -> None:
    """Delete the suppressions of subscribers created as suppressed: the next file may differ."""
    keys = session.scalars(
        select(Subscriber.email_key).where(
            Subscriber.id.in_(leaving),
            Subscriber.status.in_(SUPPRESSED),
            Subscriber.status_reason == LEFT_REASON,
        )
    ).all()
    if keys:
        forget_suppressions(session, job.account_id, keys, LEFT_REASON)


def _leave_list(session: Session, job: Import, ids: Collection[int]) -> None:
    """Remove subscribers, who are locked, from the list of the import, and count them."""
    gone = session.scalars(
        delete(list_member)
        .where(list_member.c.list_id == job.list_id, list_member.c.subscriber_id.in_(ids))
        .returning(list_member.c.subscriber_id)
    ).all()
    statuses = lock(session, gone)
    add_to_counts(
        session,
        job.account_id,
        job.list_id,
        {status: -number for status, number in Counter(statuses.values()).items()},
    )


def _restore(
    session: Session,
    job: Import,
    changes: Sequence[ImportChange],
    others: Mapping[int, Sequence[tuple[Import, ImportChange]]],
    now: datetime,
) -> None:
    known = {change.subscriber_id: change for change in changes if change.before}
    subscribers = select(Subscriber).where(Subscriber.id.in_(known)).execution_options(populate_existing=True)
    for subscriber in session.scalars(subscribers) if known else ():
        change, beside = known[subscriber.id], others.get(subscriber.id, ())
        before = change.before or {}
        if not change.created and "fields" in before:
            _restore_values(job, subscriber, before, beside, now)
        if "left" in before:
            _restore_status(session, job, subscriber, change, beside, now)
    if known:
        note_new_values(session, job.account_id)
    session.flush()


def _restore_values(
    job: Import,
    subscriber: Subscriber,
    before: Mapping[str, Any],
    others: Sequence[tuple[Import, ImportChange]],
    now: datetime,
) -> None:
    since = job.finished_at
    if since is not None and subscriber.updated_at > since:
        # Only another import has changed it since: its earlier values become those from before this one.
        heir = next((each for _other, each in others if _found_after(each.before or {}, before, since)), None)
        if heir is not None:
            heir.before = {
                **(heir.before or {}),
                **{name: before[name] for name in _VALUES if name in before},
            }
        return
    subscriber.first_name, subscriber.last_name = before["first_name"], before["last_name"]
    subscriber.birthday = date.fromisoformat(before["birthday"]) if before["birthday"] else None
    subscriber.fields = before["fields"]
    subscriber.search_key = make_search_key(subscriber.email_key, subscriber.first_name, subscriber.last_name)
    # The earlier time, so that an import from before this one can also be undone.
    subscriber.updated_at = datetime.fromisoformat(before["updated_at"]) if "updated_at" in before else now


_VALUES: Final = ("first_name", "last_name", "birthday", "fields", "updated_at")


def _found_after(found: Mapping[str, Any], before: Mapping[str, Any], since: datetime) -> bool:
    """Return whether an import found the subscriber as this one, finished at ``since``, had left them."""
    at = [datetime.fromisoformat(each["updated_at"]) for each in (before, found) if "updated_at" in each]
    return len(at) == 2 and at[0] <= at[1] <= since


def _restore_status(
    session: Session,
    job: Import,
    subscriber: Subscriber,
    change: ImportChange,
    others: Sequence[tuple[Import, ImportChange]],
    now: datetime,
) -> None:
    """Set the most restrictive status of the other imports and of the time before all of them.

    Only if the current status came from a file: later changes here are kept.
    """
    if subscriber.status not in SUPPRESSED or subscriber.status_reason != LEFT_REASON:
        return
    spoken = [
        (each, its_change)
        for each, its_change in (*others, (job, change))
        if its_change.created or "left" in (its_change.before or {})
    ]
    spoken.sort(key=lambda each: (each[0].finished_at is None, each[0].finished_at or now, each[0].id))
    status_changes = [each for _other, each in spoken]
    roots = [number for number, each in enumerate(status_changes) if _is_root(each)]
    # Statuses from before a resubscribe no longer apply.
    status_changes = status_changes[roots[-1] :] if roots else status_changes
    if change not in status_changes:
        return
    rest = [each for each in status_changes if each is not change]
    first = status_changes[0].before or {}
    # Imports of an earlier version did not store the status of subscribers they created.
    base = first if roots and first.keys() & {"status", "left"} else change.before or {}
    stated = most_restrictive(
        SubscriberStatus((each.before or {})["left"]) for each in rest if "left" in (each.before or {})
    )
    earlier = SubscriberStatus(base["status"]) if "status" in base else None
    status = most_restrictive((stated, earlier))
    if status is None:
        return
    if _is_root(change) and not change.created and rest:
        rest[0].before = {
            **(rest[0].before or {}),
            "status": base["status"],
            "reason": base.get("reason", ""),
        }
    reason = base.get("reason", "") if status is earlier else LEFT_REASON
    if (subscriber.status, subscriber.status_reason) == (status, reason):
        return
    forget_suppressions(session, job.account_id, [subscriber.email_key], LEFT_REASON)
    count_status_change(session, job.account_id, {subscriber.id: subscriber.status}, status)
    subscriber.status, subscriber.status_reason, subscriber.status_at = status, reason, now
    if status in SUPPRESSED:
        remember_suppression(session, subscriber, now)


def _is_root(change: ImportChange) -> bool:
    """Return whether no earlier import gave the subscriber a suppressed status."""
    before = change.before or {}
    from_a_file = before.get("reason") == LEFT_REASON and SubscriberStatus(before["status"]) in SUPPRESSED
    return change.created or ("status" in before and not from_a_file)
