"""Subscriber lists: create, rename, delete, count, and membership."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from .. import subscriber_counts
from ..db import UNTRACKED
from ..errors import Conflict, InputError, NotFound, _
from ..models import (
    ACTIVE_STATES,
    Campaign,
    Import,
    ImportStatus,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    campaign_list,
    list_member,
)

LONGEST_NAME = 200  # the width of the column
LONGEST_DESCRIPTION = 2_000


def create_list(
    session: Session, account_id: int, *, name: str, description: str = "", now: datetime
) -> SubscriberList:
    """Create an empty list. Raise ``InputError``."""
    name, description = _checked(name, description)
    made = SubscriberList(account_id=account_id, name=name, description=description, created_at=now)
    session.add(made)
    session.flush()
    return made


def rename_list(
    session: Session, lst: SubscriberList, *, name: str | None = None, description: str | None = None
) -> SubscriberList:
    """Change name and description as given. Raise ``InputError``."""
    lst.name, lst.description = _checked(
        lst.name if name is None else name, lst.description if description is None else description
    )
    session.flush()
    return lst


def delete_list(session: Session, lst: SubscriberList) -> None:
    """Delete the list and keep its subscribers. Raise ``Conflict`` while a campaign or an import needs it."""
    busy = session.scalars(
        select(Campaign.name)
        .join(campaign_list, campaign_list.c.campaign_id == Campaign.id)
        .where(campaign_list.c.list_id == lst.id, Campaign.status.in_(ACTIVE_STATES))
    ).first()
    if busy is not None:
        raise Conflict(
            _(
                "The campaign “${name}” uses this list. Cancel it or wait until it is finished.",
                mapping={"name": busy},
            )
        )
    reading = select(Import.id).where(
        Import.list_id == lst.id, Import.status.in_((ImportStatus.reading, ImportStatus.applying))
    )
    if session.scalars(reading).first() is not None:
        raise Conflict(
            _("A file is being imported to this list. Wait until the import is finished, or undo it.")
        )
    forget_additions(session, Import.list_id == lst.id)
    list_id = lst.id
    session.delete(lst)
    session.flush()
    # Only now: the deletion waits for those who are adding subscribers to the list, and for their counts.
    subscriber_counts.forget_list(session, list_id)


def forget_additions(session: Session, condition: ColumnElement[bool]) -> None:
    """Take the ids of imports that are about to be deleted from the subscribers they added.

    Their undo ends with them; SQLite gives the id of a deleted import to another one, which would undo them.
    """
    jobs = session.execute(
        select(Import.id, Import.account_id, Import.added_from, Import.added_to).where(
            condition, Import.added_from.is_not(None)
        )
    ).all()
    for job in jobs:
        added = Subscriber.id.between(job.added_from, job.added_to)
        session.execute(
            update(Subscriber)
            .where(Subscriber.account_id == job.account_id, added, Subscriber.import_id == job.id)
            .values(import_id=None),
            execution_options=UNTRACKED,
        )


def lists_of(session: Session, account_id: int, *, hidden: bool = False) -> Sequence[SubscriberList]:
    """Return the lists of an account by name; with ``hidden`` also lists of imports not applied yet."""
    return session.scalars(
        select(SubscriberList)
        .where(SubscriberList.account_id == account_id, *(() if hidden else (~waits_for_its_file(),)))
        .order_by(func.lower(SubscriberList.name), SubscriberList.id)
    ).all()


def waits_for_its_file() -> ColumnElement[bool]:
    """Return the condition for an otherwise unused list of an import that was not applied or was undone."""
    of_list = Import.list_id == SubscriberList.id
    let_in = Import.status.in_((ImportStatus.applying, ImportStatus.done))
    return and_(
        exists().where(of_list, Import.made_list),
        ~exists().where(of_list, or_(~Import.made_list, let_in)),
        ~exists().where(list_member.c.list_id == SubscriberList.id),
        ~exists().where(campaign_list.c.list_id == SubscriberList.id),
    )


def unused_list(session: Session, list_id: int) -> SubscriberList | None:
    """Return the list if it waits for its import, else None."""
    return session.scalars(
        select(SubscriberList).where(SubscriberList.id == list_id, waits_for_its_file())
    ).first()


def list_counts(session: Session, list_ids: Collection[int]) -> dict[int, dict[SubscriberStatus, int]]:
    """Return the number of subscribers by list and status, zeros included."""
    return subscriber_counts.kept_list_counts(session, list_ids)


def add_to_list(session: Session, lst: SubscriberList, subscriber: Subscriber, now: datetime) -> bool:
    """Add a subscriber to a list of the same account. Return whether the membership is new."""
    if lst.account_id != subscriber.account_id:
        raise NotFound()
    place = {"list_id": lst.id, "subscriber_id": subscriber.id}
    # The lock on the subscriber prevents a concurrent insert of the same membership.
    status = subscriber_counts.lock(session, [subscriber.id]).get(subscriber.id)
    if status is None:
        raise NotFound()
    if session.execute(select(list_member.c.list_id).filter_by(**place)).first():
        return False
    session.execute(insert(list_member).values(**place, added_at=now))
    subscriber_counts.add_to_counts(session, lst.account_id, lst.id, {status: 1})
    session.expire(subscriber, ["lists"])
    return True


def remove_from_list(session: Session, lst: SubscriberList, subscriber: Subscriber) -> bool:
    """Remove a subscriber from a list. Return whether they were on it."""
    locked = subscriber_counts.lock(session, [subscriber.id])
    gone = session.execute(
        delete(list_member)
        .where(list_member.c.list_id == lst.id, list_member.c.subscriber_id == subscriber.id)
        .returning(list_member.c.list_id)
    ).first()
    session.expire(subscriber, ["lists"])
    if gone is None:
        return False
    subscriber_counts.add_to_counts(session, lst.account_id, lst.id, {locked[subscriber.id]: -1})
    return True


def set_lists(
    session: Session, subscriber: Subscriber, lists: Collection[SubscriberList], now: datetime
) -> None:
    """Set the lists of a subscriber to exactly these."""
    wanted = {lst.id for lst in lists}
    for lst in list(subscriber.lists):
        if lst.id not in wanted:
            remove_from_list(session, lst, subscriber)
    for lst in lists:
        add_to_list(session, lst, subscriber, now)


def _checked(name: str, description: str) -> tuple[str, str]:
    problems: dict[str, str] = {}
    name = " ".join(name.split())
    description = description.replace("\x00", "").strip()
    if not name:
        problems["name"] = _("Enter a name for the list.")
    elif len(name) > LONGEST_NAME:
        problems["name"] = _("The name is too long. The maximum is 200 characters.")
    elif not name.isprintable():
        problems["name"] = _("The name contains invisible control characters. Remove them.")
    if len(description) > LONGEST_DESCRIPTION:
        problems["description"] = _("The description is too long. The maximum is 2,000 characters.")
    if problems:
        raise InputError(problems)
    return name, description
