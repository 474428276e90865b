"""Search the subscribers of an account."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from ..models import Subscriber, SubscriberStatus, list_member
from ..subscriber_counts import account_counts, kept_list_counts
from .addresses import AddressError, parse_address

MOST_AT_ONCE: Final = 500  # subscribers on one page


@dataclass(frozen=True)
class SubscriberPage:
    """A page of subscribers, newest first; ``next`` is the cursor of the following page."""

    items: tuple[Subscriber, ...]
    next: int | None


def find_subscriber(session: Session, account_id: int, email_key: str) -> Subscriber | None:
    """Return the subscriber with this address, if there is one."""
    query = select(Subscriber).where(Subscriber.account_id == account_id, Subscriber.email_key == email_key)
    return session.scalars(query).one_or_none()


def search_subscribers(
    session: Session,
    account_id: int,
    *,
    query: str = "",
    email_key: str = "",
    status: SubscriberStatus | None = None,
    list_id: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> SubscriberPage:
    """Return subscribers, newest first, whose name or address contains every word of ``query``.

    With ``email_key`` (``Address.key``), only the subscriber with this address.
    """
    limit = max(1, min(limit, MOST_AT_ONCE))
    found = session.scalars(
        select(Subscriber)
        .where(
            *conditions_for(account_id, query, status, list_id, after),
            *([Subscriber.email_key == email_key] if email_key else []),
        )
        .order_by(Subscriber.id.desc())
        .limit(limit + 1)
    ).all()
    return SubscriberPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def status_counts(
    session: Session, account_id: int, query: str = "", list_id: int | None = None
) -> dict[SubscriberStatus, int]:
    """Count the subscribers of an account, or those that match a search, by status; zeros included."""
    if not query and list_id is None:
        return account_counts(session, account_id)
    if not query and list_id is not None:
        return kept_list_counts(session, [list_id])[list_id]
    rows = session.execute(
        select(Subscriber.status, func.count())
        .where(*conditions_for(account_id, query, None, list_id, None))
        .group_by(Subscriber.status)
    )
    return dict.fromkeys(SubscriberStatus, 0) | {row[0]: row[1] for row in rows}


def conditions_for(
    account_id: int, query: str, status: SubscriberStatus | None, list_id: int | None, after: int | None
) -> list[ColumnElement[bool]]:
    """Return the conditions of a search; ``after`` is the id of the last subscriber of the previous page."""
    conditions = [Subscriber.account_id == account_id, *_search_conditions(query)]
    if status is not None:
        conditions.append(Subscriber.status == status)
    if list_id is not None:
        conditions.append(
            exists().where(list_member.c.subscriber_id == Subscriber.id, list_member.c.list_id == list_id)
        )
    if after is not None:
        conditions.append(Subscriber.id < after)
    return conditions


def _search_conditions(query: str) -> list[ColumnElement[bool]]:
    if "@" in query:
        try:
            return [Subscriber.email_key == parse_address(query).key]
        except AddressError:
            pass  # not a full address: search for it as a substring
    return called(query)


def called(query: str) -> list[ColumnElement[bool]]:
    """Return the conditions that name or address contains every word of ``query``."""
    words = query.replace("\x00", "").lower().replace("ё", "е").split()
    return [Subscriber.search_key.contains(word, autoescape=True) for word in words[:10]]
