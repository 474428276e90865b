"""Unsubscribing by the token in an email, and undoing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..audience import suppression
from ..errors import Conflict, _
from ..ledger.engagement import set_unsubscribed
from ..models import Event, EventKind, EventSource, SubscriberStatus
from .campaign_counters import counted, counted_together
from .clicks import mark_as_received
from .sent_emails import KnownEmail, SentEmail, find, find_locked

REASON = "letter"  # the subscriber page finds the email through the delivery
GETS_EMAILS = (SubscriberStatus.active, SubscriberStatus.unconfirmed)
MOST_CHANGES = 20  # unsubscribe and resubscribe events kept per email


@dataclass(frozen=True)
class UnsubscribePage:
    """Data of a recipient page. Contains nothing that the email itself did not disclose."""

    address: str  # "r•••@example.org": a forwarded email must not disclose the address
    sender_name: str
    sender_email: str
    subscribed: bool
    left_by_this: bool  # unsubscribed by this email: can be undone
    since: datetime | None  # when the sender got the address
    sent_at: datetime | None
    locale: str
    erased: bool = False
    can_be_suppressed: bool = False  # erased, and what is kept is enough to keep the address out


def recipient_page(session: Session, token: str) -> UnsubscribePage:
    """Who holds this token, for the page. Changes nothing. Raises ``NotFound``."""
    return describe(session, find(session, token))


def page_of(known: KnownEmail) -> UnsubscribePage | None:
    """Return the data of a recipient page; None after an erasure, when more has to be looked up."""
    if known.email is None or known.status is None:
        return None
    return UnsubscribePage(
        address=masked(known.email),
        sender_name=known.sender_from_name or "",
        sender_email=known.sender_from_email or "",
        subscribed=known.status in GETS_EMAILS,
        left_by_this=known.status == SubscriberStatus.unsubscribed and known.unsubscribed_at is not None,
        since=known.created_at,
        sent_at=known.settled_at,
        locale=known.locale,
    )


def describe(session: Session, found: SentEmail) -> UnsubscribePage:
    subscriber, sender = found.subscriber, found.sender
    digest = found.delivery.erased_digest if subscriber is None else None
    return UnsubscribePage(
        address=masked(subscriber.email) if subscriber else "",
        sender_name=sender.from_name if sender else "",
        sender_email=sender.from_email if sender else "",
        subscribed=_is_subscribed(session, found),
        left_by_this=_left_by_this(found),
        since=subscriber.created_at if subscriber else None,
        sent_at=found.delivery.settled_at,
        locale=found.campaign.locale,
        erased=subscriber is None,
        can_be_suppressed=digest is not None,
    )


def unsubscribe_by_token(session: Session, token: str, *, now: datetime) -> UnsubscribePage:
    """Unsubscribe a recipient from all emails of the account; again changes nothing. Raises ``NotFound``.

    Who was erased since the email was sent is kept out as well: see ``status.suppress_erased``.
    """
    # The account is locked before its deliveries.
    is_new = _suppress_erased(session, find(session, token), now)
    found = find(session, token, lock=True)
    subscriber, delivery = found.subscriber, found.delivery
    mark_as_received(session, delivery, now)
    if subscriber:
        is_new = suppression.unsubscribe(session, subscriber, reason=REASON, now=now)
    else:  # perhaps erased just now
        is_new = _suppress_erased(session, found, now) or is_new
    if is_new:
        with counted(session, delivery):
            set_unsubscribed(delivery, now)
        _note(session, found, EventKind.unsubscribe, now)
    return describe(session, found)


@dataclass(frozen=True, slots=True)
class UnsubscribeRequest:
    """A request to unsubscribe."""

    token: str
    at: datetime


def unsubscribe_together(
    session: Session, leaving: Sequence[UnsubscribeRequest]
) -> list[UnsubscribePage | None]:
    """Unsubscribe many recipients as :func:`unsubscribe_by_token` does one.

    The answer is None, and nothing is done, for an unknown token and for a recipient who was erased: that
    locks the account, which has to be locked before any delivery.
    """
    emails = find_locked(session, {each.token for each in leaving})
    deliveries = [found.delivery for found in emails.values()]
    first = {each.token: each.at for each in reversed(leaving) if each.token in emails}
    for token, at in first.items():
        mark_as_received(session, emails[token].delivery, at)
    with counted_together(session, deliveries):
        # Subscribers are locked in the order of ids, as by every other group.
        for token in sorted(first, key=lambda token: emails[token].delivery.subscriber_id or 0):
            _leave(session, emails[token], first[token])
    pages = {token: describe(session, found) for token, found in emails.items()}
    return [pages.get(each.token) for each in leaving]


def _leave(session: Session, found: SentEmail, now: datetime) -> None:
    if found.subscriber and suppression.unsubscribe(session, found.subscriber, reason=REASON, now=now):
        set_unsubscribed(found.delivery, now)
        _note(session, found, EventKind.unsubscribe, now)


def resubscribe_by_token(session: Session, token: str, *, now: datetime) -> UnsubscribePage:
    """Undo the unsubscribe made by this email. Raise ``NotFound``, or ``Conflict`` if made in another way."""
    found = find(session, token, lock=True)
    subscriber, delivery = found.subscriber, found.delivery
    if subscriber and subscriber.status == SubscriberStatus.active:
        return describe(session, found)
    if subscriber is None or not _left_by_this(found):
        raise Conflict(_("You did not unsubscribe through this email, so you cannot undo it here."))
    if suppression.resubscribe(session, subscriber, now=now):
        with counted(session, delivery):
            set_unsubscribed(delivery, None)
        _note(session, found, EventKind.resubscribe, now)
    return describe(session, found)


def masked(email: str) -> str:
    """Mask an address so that only its owner recognizes it."""
    local, _at, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _suppress_erased(session: Session, found: SentEmail, now: datetime) -> bool:
    digest = found.delivery.erased_digest if found.subscriber is None else None
    if digest is None:
        return False
    return suppression.suppress_erased(session, found.campaign.account_id, digest, reason=REASON, now=now)


def _is_subscribed(session: Session, found: SentEmail) -> bool:
    if found.subscriber is not None:
        return found.subscriber.status in GETS_EMAILS
    digest = found.delivery.erased_digest
    return digest is not None and not suppression.is_suppressed_for_good(
        session, found.campaign.account_id, digest
    )


def _left_by_this(found: SentEmail) -> bool:
    left = found.subscriber is not None and found.subscriber.status == SubscriberStatus.unsubscribed
    return left and found.delivery.unsubscribed_at is not None


def _note(session: Session, found: SentEmail, kind: EventKind, now: datetime) -> None:
    delivery = found.delivery
    noted = session.scalar(
        select(func.count()).where(
            Event.delivery_id == delivery.id,
            Event.kind.in_([EventKind.unsubscribe, EventKind.resubscribe]),
        )
    )
    if (noted or 0) < MOST_CHANGES:
        session.add(
            Event(
                campaign_id=delivery.campaign_id,
                delivery_id=delivery.id,
                kind=kind,
                source=EventSource.person,
                frozen_email_id=delivery.frozen_email_id,
                at=now,
            )
        )
        session.flush()
