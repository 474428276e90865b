"""Subscription status changes, and the suppression list of addresses that must not get emails.

A suppression is stored as a keyed hash when a subscriber unsubscribes, bounces or complains. It stays when
the subscriber is erased, so that no import adds the address again, and does not reveal the address.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from .. import subscriber_counts
from ..errors import Conflict, _
from ..models import Account, Subscriber, SubscriberStatus, Suppression

# An action of the subscriber outweighs a bounce; a complaint can only be withdrawn by its author.
_WEIGHT: Mapping[SubscriberStatus, int] = {
    SubscriberStatus.active: 0,
    SubscriberStatus.unconfirmed: 0,
    SubscriberStatus.bounced: 1,
    SubscriberStatus.unsubscribed: 2,
    SubscriberStatus.complained: 3,
}
SUPPRESSED = frozenset(status for status, weight in _WEIGHT.items() if weight)
LEFT_REASON: Final = "import"
"""Reason stored with a suppressed status that came from a file: the subscriber left another system."""

LONGEST_REASON = 200
_AT_ONCE = 5_000  # parameters of one query; SQLite allows 32,766


def unsubscribe(session: Session, subscriber: Subscriber, *, reason: str, now: datetime) -> bool:
    """Unsubscribe this subscriber. Return whether that is new."""
    return suppress(session, subscriber, SubscriberStatus.unsubscribed, reason=reason, now=now)


def suppress(
    session: Session, subscriber: Subscriber, status: SubscriberStatus, *, reason: str, now: datetime
) -> bool:
    """Set ``status`` to unsubscribed, bounced or complained: no more emails. Return whether that is new.

    A status never replaces one with more weight: a complaint does not become a bounce. The same status is
    replaced only if it came from a file, so that undoing the import keeps what was done here.
    """
    if status not in SUPPRESSED:
        raise ValueError(f"{status} does not exclude a subscriber from emails")
    _lock(session, subscriber)
    from_file = subscriber.status is status and subscriber.status_reason == LEFT_REASON != reason
    if _WEIGHT[subscriber.status] >= _WEIGHT[status] and not from_file:
        return False
    _change_status(session, subscriber, status)
    subscriber.status_at = now
    subscriber.status_reason = reason[:LONGEST_REASON]
    subscriber.updated_at = now
    remember_suppression(session, subscriber, now)
    session.flush()
    return True


def reinstate(session: Session, subscriber: Subscriber, *, reason: str, now: datetime) -> bool:
    """Undo a bounce: the server's reply (``reason``) did not concern this address.

    Return whether that is new. Bounces for other reasons and other statuses stay.
    """
    _lock(session, subscriber)
    is_same_reason = subscriber.status_reason == reason[:LONGEST_REASON]
    if subscriber.status is not SubscriberStatus.bounced or not is_same_reason:
        return False
    _change_status(session, subscriber, SubscriberStatus.active)
    subscriber.status_at = now
    subscriber.status_reason = ""
    subscriber.updated_at = now
    suppression = _suppression(session, subscriber)
    if suppression is not None and suppression.status is SubscriberStatus.bounced:
        session.delete(suppression)
    session.flush()
    return True


def resubscribe(session: Session, subscriber: Subscriber, *, now: datetime) -> bool:
    """Undo an unsubscribe. Call only for the subscriber's own click. Return whether that is new."""
    _lock(session, subscriber)
    if subscriber.status is SubscriberStatus.active:
        return False
    if subscriber.status is not SubscriberStatus.unsubscribed:
        raise Conflict(
            _("Emails to this address are blocked for another reason, so this cannot be undone here.")
        )
    _change_status(session, subscriber, SubscriberStatus.active)
    subscriber.status_at = now
    subscriber.status_reason = ""
    subscriber.updated_at = now
    suppression = _suppression(session, subscriber)
    if suppression:
        session.delete(suppression)
    session.flush()
    return True


def suppress_many(
    session: Session,
    account_id: int,
    left: Mapping[int, tuple[str, SubscriberStatus]],
    *,
    reason: str,
    now: datetime,
) -> None:
    """Set the status of subscribers who left another system: ``left`` is address key and status by id.

    Like :func:`suppress`, for many at once; a status of the same or more weight set in the meantime stays.
    """
    key = _key(session, account_id)
    for status in sorted(
        {status for _email_key, status in left.values()} & SUPPRESSED, key=_WEIGHT.__getitem__
    ):
        lighter = [each for each, weight in _WEIGHT.items() if weight < _WEIGHT[status]]
        ids = [subscriber_id for subscriber_id, (_email_key, each) in left.items() if each is status]
        before = {
            each: earlier
            for each, earlier in subscriber_counts.lock(session, ids).items()
            if earlier in lighter
        }
        session.execute(
            update(Subscriber)
            .where(Subscriber.id.in_(before))
            .values(status=status, status_at=now, status_reason=reason, updated_at=now)
            .execution_options(synchronize_session=False)
        )
        subscriber_counts.count_status_change(session, account_id, before, status)
        rows = [
            {
                "account_id": account_id,
                "digest": suppression_digest(key, left[subscriber_id][0]),
                "status": status,
                "reason": reason,
                "created_at": now,
            }
            for subscriber_id in ids
        ]
        module = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        remembering = module.insert(Suppression)
        session.execute(
            remembering.on_conflict_do_update(
                index_elements=["account_id", "digest"],
                set_={name: remembering.excluded[name] for name in ("status", "reason", "created_at")},
                where=or_(*(Suppression.status == each for each in lighter)),
            ),
            rows,
        )


def forget_suppressions(session: Session, account_id: int, email_keys: Collection[str], reason: str) -> None:
    """Delete the suppressions made for ``reason``, when their cause is undone."""
    key = _key(session, account_id)
    session.execute(
        delete(Suppression).where(
            Suppression.account_id == account_id,
            Suppression.digest.in_([suppression_digest(key, each) for each in email_keys]),
            Suppression.reason == reason,
        )
    )


def is_weightier(status: SubscriberStatus, than: SubscriberStatus) -> bool:
    return _WEIGHT[status] > _WEIGHT[than]


def remember_suppression(session: Session, subscriber: Subscriber, now: datetime) -> None:
    """Store the subscriber's status under the hash of their address."""
    suppression = _suppression(session, subscriber)
    if suppression is None:
        suppression = Suppression(
            account_id=subscriber.account_id,
            digest=digest_of(session, subscriber),
        )
        session.add(suppression)
    suppression.status = subscriber.status
    suppression.reason = subscriber.status_reason
    suppression.created_at = now


def suppress_erased(session: Session, account_id: int, digest: bytes, *, reason: str, now: datetime) -> bool:
    """Suppress as unsubscribed an address of which only the digest is kept. Return whether that is new.

    A subscriber who was added again with this address after the erasure is unsubscribed as well.
    """
    # Adding a subscriber takes this lock too: afterwards the suppression keeps the address out.
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))
    suppression = session.get(Suppression, (account_id, digest), populate_existing=True)
    if suppression is not None and not is_weightier(SubscriberStatus.unsubscribed, suppression.status):
        return False
    if suppression is None:  # only then can the address have been added again
        subscriber = _with_digest(session, account_id, digest)
        if subscriber is not None:
            return unsubscribe(session, subscriber, reason=reason, now=now)
        suppression = Suppression(account_id=account_id, digest=digest)
    suppression.status = SubscriberStatus.unsubscribed
    suppression.reason = reason[:LONGEST_REASON]
    suppression.created_at = now
    session.add(suppression)
    session.flush()
    return True


def is_suppressed_for_good(session: Session, account_id: int, digest: bytes) -> bool:
    """Return whether the address with this digest unsubscribed or complained."""
    suppression = session.get(Suppression, (account_id, digest))
    return suppression is not None and not is_weightier(SubscriberStatus.unsubscribed, suppression.status)


def digest_of(session: Session, subscriber: Subscriber) -> bytes:
    """Return the digest under which a suppression of the subscriber's address is kept."""
    return suppression_digest(_key(session, subscriber.account_id), subscriber.email_key)


def suppressed(session: Session, account_id: int, email_keys: Iterable[str]) -> dict[str, SubscriberStatus]:
    """Return those of ``email_keys`` that are suppressed, with the status."""
    any_suppression = session.scalar(
        select(Suppression.account_id).where(Suppression.account_id == account_id).limit(1)
    )
    if any_suppression is None:
        return {}
    key = _key(session, account_id)
    keys = {suppression_digest(key, email_key): email_key for email_key in email_keys}
    found: dict[str, SubscriberStatus] = {}
    waiting = iter(keys)
    while digests := list(islice(waiting, _AT_ONCE)):
        rows = session.execute(
            select(Suppression.digest, Suppression.status).where(
                Suppression.account_id == account_id, Suppression.digest.in_(digests)
            )
        )
        found.update((keys[bytes(row.digest)], row.status) for row in rows)
    return found


def suppression_digest(key: bytes, email_key: str) -> bytes:
    """Return the hash of an address under the account's own key (``Account.suppression_key``)."""
    return hashlib.blake2b(email_key.encode(), key=key, digest_size=32, person=b"suppression").digest()


def _suppression(session: Session, subscriber: Subscriber) -> Suppression | None:
    return session.get(Suppression, (subscriber.account_id, digest_of(session, subscriber)))


def _with_digest(session: Session, account_id: int, digest: bytes) -> Subscriber | None:
    """Return the subscriber of an account whose address has this digest."""
    key = _key(session, account_id)
    rows = session.execute(
        select(Subscriber.id, Subscriber.email_key)
        .where(Subscriber.account_id == account_id)
        .execution_options(yield_per=_AT_ONCE)
    )
    # Read to the end: a cursor that is left open keeps the connection.
    found = [row.id for row in rows if suppression_digest(key, row.email_key) == digest]
    return session.get(Subscriber, found[0]) if found else None


def _key(session: Session, account_id: int) -> bytes:
    return bytes(session.scalars(select(Account.suppression_key).where(Account.id == account_id)).one())


def _change_status(session: Session, subscriber: Subscriber, status: SubscriberStatus) -> None:
    """Set the status of a subscriber who is locked, and count it."""
    subscriber_counts.count_status_change(
        session, subscriber.account_id, {subscriber.id: subscriber.status}, status
    )
    subscriber.status = status


def _lock(session: Session, subscriber: Subscriber) -> None:
    session.flush()
    session.refresh(subscriber, with_for_update=True)
