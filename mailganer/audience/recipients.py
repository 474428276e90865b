"""Recipients of a campaign: the one definition, used by the check for counting and the plan for inserting."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, case, distinct, exists, false, func, select
from sqlalchemy.orm import Session

from ..models import Campaign, Subscriber, SubscriberStatus, list_member


@dataclass(frozen=True)
class Excluded:
    """Counts of subscribers, recipients and exclusions on some lists."""

    places: int = 0  # memberships of all lists together; a subscriber on three lists has three
    subscribers: int = 0  # distinct subscribers
    recipients: int = 0  # subscribers who get the email
    unconfirmed: int = 0
    unsubscribed: int = 0
    bounced: int = 0
    complained: int = 0

    @property
    def repeats(self) -> int:
        return self.places - self.subscribers


def recipients(
    account_id: int, list_ids: Sequence[int], after: int = 0, upto: int | None = None
) -> Select[int, str, str]:
    """Select ``id``, ``email``, ``email_key`` of the recipients of these lists, each once, ordered by id.

    ``after`` (exclusive) and ``upto`` (inclusive) limit the ids; add ``.limit(n)`` to find the end of a
    chunk.
    """
    return (
        select(Subscriber.id, Subscriber.email, Subscriber.email_key)
        .where(
            Subscriber.account_id == account_id,
            Subscriber.status == SubscriberStatus.active,
            *_between(Subscriber.id, after, upto),
            on_one_of(list_ids, after, upto),
        )
        .order_by(Subscriber.id)
    )


def audience_of(session: Session, campaign: Campaign) -> int:
    """Return the number of recipients of a campaign."""
    return recipient_count(session, campaign.account_id, [each.id for each in campaign.lists])


def recipient_count(session: Session, account_id: int, list_ids: Sequence[int]) -> int:
    found = recipients(account_id, list_ids).with_only_columns(Subscriber.id).order_by(None).subquery()
    return session.scalar(select(func.count()).select_from(found)) or 0


def excluded_counts(session: Session, account_id: int, list_ids: Sequence[int]) -> Excluded:
    """Return how many subscribers the lists have, how many get an email, and why the others do not."""
    if not list_ids:
        return Excluded()
    counts = (
        session.execute(
            select(
                func.count().label("places"),
                func.count(distinct(Subscriber.id)).label("subscribers"),
                *(
                    func.count(distinct(case((Subscriber.status == status, Subscriber.id)))).label(
                        status.value
                    )
                    for status in SubscriberStatus
                ),
            )
            .select_from(list_member)
            .join(Subscriber, Subscriber.id == list_member.c.subscriber_id)
            .where(list_member.c.list_id.in_(list_ids), Subscriber.account_id == account_id)
        )
        .one()
        ._asdict()
    )
    return Excluded(recipients=counts.pop(SubscriberStatus.active.value), **counts)


def _between(column: SQLColumnExpression[int], after: int, upto: int | None) -> list[ColumnElement[bool]]:
    return [column > after, *([column <= upto] if upto is not None else [])]


def on_one_of(list_ids: Sequence[int], after: int = 0, upto: int | None = None) -> ColumnElement[bool]:
    """Return the condition that a subscriber is on one of these lists, within a range of ids."""
    if not list_ids:
        return false()
    # Repeat the range for the members: otherwise a database that joins reads the whole list for every chunk.
    return exists().where(
        list_member.c.subscriber_id == Subscriber.id,
        list_member.c.list_id.in_(list_ids),
        *_between(list_member.c.subscriber_id, after, upto),
    )
