"""Who gets a campaign: the one definition, used by the check that counts and the plan that inserts."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, case, distinct, exists, false, func, select
from sqlalchemy.orm import Session

from ..models import Campaign, Subscriber, SubscriberStatus, list_member


@dataclass(frozen=True)
class Excluded:
    """Why the people of some lists are fewer than their places on these lists."""

    places: int = 0  # on all the lists together; somebody on three lists has three
    people: int = 0  # each once
    recipients: int = 0  # who gets the email
    unconfirmed: int = 0
    unsubscribed: int = 0
    bounced: int = 0
    complained: int = 0

    @property
    def repeats(self) -> int:
        return self.places - self.people


def recipients(
    account_id: int, list_ids: Sequence[int], after: int = 0, upto: int | None = None
) -> Select[int, str, str]:
    """``id``, ``email``, ``email_key`` of everybody who gets an email to these lists, each once, by id.

    ``after`` and ``upto`` are ids between which a piece lies; add ``.limit(n)`` to find where it ends.
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
    """How many people a campaign goes to."""
    return recipient_count(session, campaign.account_id, [each.id for each in campaign.lists])


def recipient_count(session: Session, account_id: int, list_ids: Sequence[int]) -> int:
    found = recipients(account_id, list_ids).with_only_columns(Subscriber.id).order_by(None).subquery()
    return session.scalar(select(func.count()).select_from(found)) or 0


def excluded_counts(session: Session, account_id: int, list_ids: Sequence[int]) -> Excluded:
    """How many people some lists hold, how many of them get an email, and why the others do not."""
    if not list_ids:
        return Excluded()
    counts = (
        session.execute(
            select(
                func.count().label("places"),
                func.count(distinct(Subscriber.id)).label("people"),
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
    """Whether a person is on one of these lists; between these ids."""
    if not list_ids:
        return false()
    # The piece is said of the members, too: else a database that joins reads the whole list for every piece.
    return exists().where(
        list_member.c.subscriber_id == Subscriber.id,
        list_member.c.list_id.in_(list_ids),
        *_between(list_member.c.subscriber_id, after, upto),
    )
