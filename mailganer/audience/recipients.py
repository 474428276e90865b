"""Recipients of a campaign: the one definition, used by the check for counting and the plan for inserting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, exists, false, func, select
from sqlalchemy.orm import Session

from ..models import Campaign, Subscriber, SubscriberStatus, list_member
from ..subscriber_counts import kept_list_counts
from .kept_results import kept_result


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
    """Return the number of recipients of these lists.

    That of one list is a kept count. Several lists are counted once, until one of them changes.
    """
    if len(set(list_ids)) == 1:
        return kept_list_counts(session, [list_ids[0]])[list_ids[0]][SubscriberStatus.active]
    return _by_status(session, account_id, list_ids)[SubscriberStatus.active]


def excluded_counts(session: Session, account_id: int, list_ids: Sequence[int]) -> Excluded:
    """Return how many subscribers the lists have, how many get an email, and why the others do not."""
    if not list_ids:
        return Excluded()
    of_lists = kept_list_counts(session, list_ids)
    one = len(of_lists) == 1
    by_status = of_lists[list_ids[0]] if one else _by_status(session, account_id, list_ids)
    counts = {status.value: number for status, number in by_status.items()}
    return Excluded(
        places=sum(sum(counts_of_list.values()) for counts_of_list in of_lists.values()),
        subscribers=sum(counts.values()),
        recipients=counts.pop(SubscriberStatus.active.value),
        **counts,
    )


def _by_status(session: Session, account_id: int, list_ids: Sequence[int]) -> Mapping[SubscriberStatus, int]:
    """Return the number of distinct subscribers of these lists by status, zeros included."""
    if not list_ids:
        return dict.fromkeys(SubscriberStatus, 0)

    def count() -> Mapping[SubscriberStatus, int]:
        rows = session.execute(
            select(Subscriber.status, func.count())
            .where(Subscriber.account_id == account_id, on_one_of(list_ids))
            .group_by(Subscriber.status)
        )
        return dict.fromkeys(SubscriberStatus, 0) | {row[0]: row[1] for row in rows}

    return kept_result(session, account_id, list_ids, "by_status", count)


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
