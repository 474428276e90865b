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
from .context import Explanation, ExplanationContext, email_to
from .email import ExplainedEmail
from .unplanned import Unplanned

__all__ = ["Explanation", "ExplanationContext", "why_address", "why_email", "why_subscriber"]


def why_address(context: ExplanationContext, text: str) -> Explanation:
    """Explain by address. Raise ``AddressError`` for an invalid one."""
    address, account_id = parse_address(text), context.campaign.account_id
    subscriber = find_subscriber(context.session, account_id, address.key)
    if subscriber is not None:
        return why_subscriber(context, subscriber)
    delivery = email_to(context, Delivery.email_key == address.key)
    if delivery is not None:  # the recipient's address has changed since
        return why_email(context, delivery)
    steps = [
        ExplanationStep(ExplanationCode.unknown, address=address.email),
        *_forgotten(context, address.key),
    ]
    return Explanation(address.email, None, None, tuple(steps))


def why_subscriber(context: ExplanationContext, subscriber: Subscriber) -> Explanation:
    """Explain for a subscriber of the campaign's account. Raise ``NotFound`` for any other."""
    if subscriber.account_id != context.campaign.account_id:
        raise NotFound()
    delivery = email_to(context, Delivery.subscriber_id == subscriber.id)
    if delivery is not None:
        return why_email(context, delivery)
    return Explanation(subscriber.email, subscriber, None, tuple(Unplanned(context, subscriber).steps()))


def why_email(context: ExplanationContext, delivery: Delivery) -> Explanation:
    """Explain an email of the campaign, also when its subscriber was erased."""
    if delivery.campaign_id != context.campaign.id:
        raise NotFound()
    found = context.session.get(Subscriber, delivery.subscriber_id) if delivery.subscriber_id else None
    return Explanation(
        delivery.email, found, delivery, tuple(ExplainedEmail(context, delivery, found).steps())
    )


def _forgotten(context: ExplanationContext, email_key: str) -> Iterator[ExplanationStep]:
    account = context.campaign.account
    digest = suppression_digest(bytes(account.suppression_key), email_key)
    kept = context.session.get(Suppression, (account.id, digest))
    if kept is not None:
        yield ExplanationStep(
            ExplanationCode.forgotten, cause=SuppressionCause(SKIP_REASONS[kept.status], kept.created_at)
        )
