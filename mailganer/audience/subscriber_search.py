"""Search the subscribers of an account."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, Subquery, exists, func, select
from sqlalchemy.orm import Session

from ..models import Subscriber, SubscriberStatus, list_member
from ..subscriber_counts import account_counts, kept_list_counts
from .addresses import AddressError, parse_address

MOST_AT_ONCE: Final = 500  # subscribers on one page
NEWEST: Final = 20_000  # subscribers that a search looks at first, which takes some 10 ms
MOST_COUNTED: Final = 1_000  # matches of a search


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
    exact = [Subscriber.email_key == email_key] if email_key else []
    words = _words(query)
    found: Sequence[Subscriber] = ()
    if words and not exact:
        found = _of_newest(session, account_id, words, status, list_id, after, limit + 1)
    if len(found) <= limit and list_id is not None and not _search_conditions(query) and not exact:
        found = _of_list(session, account_id, status, list_id, after, limit + 1)
    elif len(found) <= limit:
        found = session.scalars(
            _all_matching(
                session, [*conditions_for(account_id, query, status, list_id, after), *exact], words
            )
            .order_by(Subscriber.id.desc())
            .limit(limit + 1)
        ).all()
    return SubscriberPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def _of_list(
    session: Session,
    account_id: int,
    status: SubscriberStatus | None,
    list_id: int,
    after: int | None,
    limit: int,
) -> Sequence[Subscriber]:
    """Return members of a list, newest first.

    Walks the members of the list backwards, or the subscribers with the status if they are fewer.
    """
    if status is None:
        # Limited first: the planner would rather compare all subscribers with the members in order.
        members = select(list_member.c.subscriber_id).where(list_member.c.list_id == list_id)
        if after is not None:
            members = members.where(list_member.c.subscriber_id < after)
        newest = members.order_by(list_member.c.subscriber_id.desc()).limit(limit).subquery()
        found = select(Subscriber).join(newest, newest.c.subscriber_id == Subscriber.id)
        return session.scalars(
            found.where(Subscriber.account_id == account_id).order_by(Subscriber.id.desc())
        ).all()
    members_by_status = kept_list_counts(session, [list_id])[list_id]
    number = sum(members_by_status.values())
    if not members_by_status[status] and number > NEWEST:
        return ()
    by_status = account_counts(session, account_id)[status] < number
    place = Subscriber.id if by_status else list_member.c.subscriber_id
    found = (
        select(Subscriber)
        .join(list_member, list_member.c.subscriber_id == Subscriber.id)
        .where(
            Subscriber.account_id == account_id,
            Subscriber.status == status,
            list_member.c.list_id == list_id,
            *([place < after] if after is not None else []),
        )
    )
    return session.scalars(found.order_by(place.desc()).limit(limit)).all()


def _of_newest(
    session: Session,
    account_id: int,
    words: Sequence[str],
    status: SubscriberStatus | None,
    list_id: int | None,
    after: int | None,
    limit: int,
) -> Sequence[Subscriber]:
    """Search the newest subscribers before ``after`` only, which one index contains.

    A word that many have is found among them at once. Without this limit PostgreSQL would walk all
    subscribers backwards for a word that only the oldest ones have.
    """
    newest = _newest(account_id, after)
    return session.scalars(
        select(Subscriber)
        .join(newest, newest.c.id == Subscriber.id)
        .where(*_containing(newest.c.search_key, words), *_filters(status, list_id))
        .order_by(Subscriber.id.desc())
        .limit(limit)
    ).all()


def _newest(account_id: int, after: int | None = None) -> Subquery:
    before = [Subscriber.id < after] if after is not None else []
    return (
        select(Subscriber.id, Subscriber.search_key)
        .where(Subscriber.account_id == account_id, *before)
        .order_by(Subscriber.id.desc())
        .limit(NEWEST)
        .subquery("newest")
    )


def _all_matching(
    session: Session, conditions: Sequence[ColumnElement[bool]], words: Sequence[str]
) -> Select[Subscriber]:
    """Select the subscribers that meet the conditions, on PostgreSQL by the index of words, if there is one.

    Materialized: the planner expects many matches and would rather walk the ids in the order of the page.
    """
    if not words or session.get_bind().dialect.name != "postgresql":
        return select(Subscriber).where(*conditions)
    matching = select(Subscriber.id).where(*conditions).cte("matching").prefix_with("MATERIALIZED")
    return select(Subscriber).join(matching, matching.c.id == Subscriber.id)


@dataclass(frozen=True)
class FoundCounts:
    """Numbers of subscribers that match a search, by status.

    With ``more`` there are more than ``MOST_COUNTED``, and the numbers are of some of them.
    """

    by_status: Mapping[SubscriberStatus, int]
    more: bool = False

    @classmethod
    def of(cls, subscribers: Iterable[Subscriber]) -> "FoundCounts":
        """Count subscribers that are all that match."""
        return cls(dict.fromkeys(SubscriberStatus, 0) | Counter(each.status for each in subscribers))

    @property
    def total(self) -> int:
        return sum(self.by_status.values())


def status_counts(
    session: Session, account_id: int, list_id: int | None = None
) -> dict[SubscriberStatus, int]:
    """Return the number of subscribers of an account or a list by status; zeros included."""
    if list_id is None:
        return account_counts(session, account_id)
    return kept_list_counts(session, [list_id])[list_id]


def found_counts(
    session: Session, account_id: int, query: str = "", list_id: int | None = None
) -> FoundCounts:
    """Count the subscribers that match a search by status, up to ``MOST_COUNTED``; zeros included."""
    words = _words(query)
    if not query.split():
        return FoundCounts(status_counts(session, account_id, list_id))
    if words:
        newest = _newest(account_id)
        found = _counted(
            session,
            select(Subscriber.status)
            .join(newest, newest.c.id == Subscriber.id)
            .where(*_containing(newest.c.search_key, words), *_filters(None, list_id)),
        )
        if found.more:
            return found
    conditions = conditions_for(account_id, query, None, list_id, None)
    return _counted(session, select(Subscriber.status).where(*conditions))


def _counted(session: Session, statuses: Select[SubscriberStatus]) -> FoundCounts:
    # Materialized: the planner expects the first thousand soon, and would read all subscribers for them.
    matching = statuses.cte("matching")
    if session.get_bind().dialect.name == "postgresql":
        matching = matching.prefix_with("MATERIALIZED")
    some = select(matching.c.status).limit(MOST_COUNTED + 1).subquery()
    rows = session.execute(select(some.c.status, func.count()).group_by(some.c.status))
    counts = dict.fromkeys(SubscriberStatus, 0) | {row[0]: row[1] for row in rows}
    return FoundCounts(counts, sum(counts.values()) > MOST_COUNTED)


def conditions_for(
    account_id: int, query: str, status: SubscriberStatus | None, list_id: int | None, after: int | None
) -> list[ColumnElement[bool]]:
    """Return the conditions of a search; ``after`` is the id of the last subscriber of the previous page."""
    conditions = [Subscriber.account_id == account_id, *_search_conditions(query), *_filters(status, list_id)]
    if after is not None:
        conditions.append(Subscriber.id < after)
    return conditions


def _filters(status: SubscriberStatus | None, list_id: int | None) -> list[ColumnElement[bool]]:
    conditions = [] if status is None else [Subscriber.status == status]
    if list_id is not None:
        conditions.append(
            exists().where(list_member.c.subscriber_id == Subscriber.id, list_member.c.list_id == list_id)
        )
    return conditions


def _search_conditions(query: str) -> list[ColumnElement[bool]]:
    address = _address(query)
    return [Subscriber.email_key == address] if address else called(query)


def _address(query: str) -> str:
    """Return the key of a query that is a full address, else ""."""
    if "@" in query:
        with suppress(AddressError):
            return parse_address(query).key
    return ""


def _words(query: str) -> list[str]:
    """Return the words to look for in names and addresses; none for a full address."""
    return [] if _address(query) else words_of(query)


def called(query: str) -> list[ColumnElement[bool]]:
    """Return the conditions that name or address contains every word of ``query``."""
    return _containing(Subscriber.search_key, words_of(query))


def words_of(query: str) -> list[str]:
    return query.replace("\x00", "").lower().replace("ё", "е").split()[:10]


def _containing(search_key: SQLColumnExpression[str], words: Sequence[str]) -> list[ColumnElement[bool]]:
    return [search_key.contains(word, autoescape=True) for word in words]
