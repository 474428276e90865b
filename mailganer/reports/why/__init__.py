"""Why somebody got a campaign's letter, or did not: one step after the other, as far as it is on record.

Nothing is said that the rows do not prove. A delivery proves that its person was on a list of the campaign
and got letters at that moment; that there is none proves only that one of the two was not so. What has
changed since then is told as it is today, with the day it changed.
"""

from collections.abc import Iterator

from ...audience import find_subscriber, parse_address
from ...audience.status import suppression_digest
from ...errors import NotFound
from ...models import WHY_NO_LETTER, Delivery, Subscriber, Suppression
from ..steps import Cause, Code, Step
from .asked import Asked, Why, letter_to
from .letter import Letter
from .unplanned import Unplanned

__all__ = ["Asked", "Why", "why_address", "why_letter", "why_person"]


def why_address(asked: Asked, text: str) -> Why:
    """The answer for an address, whoever has it. Raises ``AddressError`` for what is none."""
    address, account_id = parse_address(text), asked.campaign.account_id
    subscriber = find_subscriber(asked.session, account_id, address.key)
    if subscriber is not None:
        return why_person(asked, subscriber)
    delivery = letter_to(asked, Delivery.email_key == address.key)
    if delivery is not None:  # its person has another address now
        return why_letter(asked, delivery)
    steps = [Step(Code.unknown, address=address.email), *_forgotten(asked, address.key)]
    return Why(address.email, None, None, tuple(steps))


def why_person(asked: Asked, subscriber: Subscriber) -> Why:
    """The answer for somebody of the campaign's account. Raises ``NotFound`` for anybody else."""
    if subscriber.account_id != asked.campaign.account_id:
        raise NotFound()
    delivery = letter_to(asked, Delivery.subscriber_id == subscriber.id)
    if delivery is not None:
        return why_letter(asked, delivery)
    return Why(subscriber.email, subscriber, None, tuple(Unplanned(asked, subscriber).steps()))


def why_letter(asked: Asked, delivery: Delivery) -> Why:
    """The answer for a letter of the campaign, also when its person was deleted."""
    if delivery.campaign_id != asked.campaign.id:
        raise NotFound()
    found = asked.session.get(Subscriber, delivery.subscriber_id) if delivery.subscriber_id else None
    return Why(delivery.email, found, delivery, tuple(Letter(asked, delivery, found).steps()))


def _forgotten(asked: Asked, email_key: str) -> Iterator[Step]:
    account = asked.campaign.account
    digest = suppression_digest(bytes(account.suppression_key), email_key)
    kept = asked.session.get(Suppression, (account.id, digest))
    if kept is not None:
        yield Step(Code.forgotten, cause=Cause(WHY_NO_LETTER[kept.status], kept.created_at))
