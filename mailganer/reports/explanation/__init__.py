"""Explanation of why a subscriber got a campaign's email or did not, as recorded steps in order.

Only what the rows prove is stated. A delivery proves that its subscriber was on a list of the campaign and
active at that time; a missing delivery proves only that one of the two was not the case. What has changed
since then is reported in its current state, with the date of the change.
"""

from collections.abc import Iterator

from ...audience import find_subscriber, parse_address
from ...audience.suppression import suppression_digest
from ...errors import NotFound
from ...models import SKIP_REASONS, Delivery, Subscriber, Suppression
from ..explanation_steps import ExplanationCode, ExplanationStep, SuppressionCause
from .asked import Explanation, ExplanationContext, email_to
from .email import ExplainedEmail
from .unplanned import Unplanned

__all__ = ["Explanation", "ExplanationContext", "why_address", "why_email", "why_person"]


def why_address(asked: ExplanationContext, text: str) -> Explanation:
    """Explain by address. Raise ``AddressError`` for an invalid one."""
    address, account_id = parse_address(text), asked.campaign.account_id
    subscriber = find_subscriber(asked.session, account_id, address.key)
    if subscriber is not None:
        return why_person(asked, subscriber)
    delivery = email_to(asked, Delivery.email_key == address.key)
    if delivery is not None:  # the recipient's address has changed since
        return why_email(asked, delivery)
    steps = [ExplanationStep(ExplanationCode.unknown, address=address.email), *_forgotten(asked, address.key)]
    return Explanation(address.email, None, None, tuple(steps))


def why_person(asked: ExplanationContext, subscriber: Subscriber) -> Explanation:
    """Explain for a subscriber of the campaign's account. Raise ``NotFound`` for any other."""
    if subscriber.account_id != asked.campaign.account_id:
        raise NotFound()
    delivery = email_to(asked, Delivery.subscriber_id == subscriber.id)
    if delivery is not None:
        return why_email(asked, delivery)
    return Explanation(subscriber.email, subscriber, None, tuple(Unplanned(asked, subscriber).steps()))


def why_email(asked: ExplanationContext, delivery: Delivery) -> Explanation:
    """Explain an email of the campaign, also when its subscriber was erased."""
    if delivery.campaign_id != asked.campaign.id:
        raise NotFound()
    found = asked.session.get(Subscriber, delivery.subscriber_id) if delivery.subscriber_id else None
    return Explanation(delivery.email, found, delivery, tuple(ExplainedEmail(asked, delivery, found).steps()))


def _forgotten(asked: ExplanationContext, email_key: str) -> Iterator[ExplanationStep]:
    account = asked.campaign.account
    digest = suppression_digest(bytes(account.suppression_key), email_key)
    kept = asked.session.get(Suppression, (account.id, digest))
    if kept is not None:
        yield ExplanationStep(
            ExplanationCode.forgotten, cause=SuppressionCause(SKIP_REASONS[kept.status], kept.created_at)
        )
