"""Shared parts of explanations: context, list memberships and suppression causes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...backends import Registry
from ...campaigns.content import plain_line
from ...models import (
    SKIP_REASONS,
    Campaign,
    CampaignStatus,
    Delivery,
    Reason,
    Subscriber,
    SubscriberList,
    list_member,
)
from ...settings import Settings
from ..explanation_steps import ExplanationCode, ExplanationStep, SuppressionCause, UnsubscribeMethod

_HOW = {
    "letter": UnsubscribeMethod.email,
    "by hand": UnsubscribeMethod.hand,
    "api": UnsubscribeMethod.program,
}


@dataclass(frozen=True)
class Explanation:
    """Explanation for one address and one campaign."""

    address: str  # from the request or from the email; empty for an erased subscriber
    subscriber: Subscriber | None
    delivery: Delivery | None
    steps: tuple[ExplanationStep, ...]


@dataclass(frozen=True)
class ExplanationContext:
    """Context of an explanation: the campaign, the current time, and the settings that define limits."""

    session: Session
    campaign: Campaign
    now: datetime
    settings: Settings
    registry: Registry


def email_to(context: ExplanationContext, condition: Any) -> Delivery | None:
    """Return the campaign's first email that meets the condition, or None."""
    return context.session.scalars(
        select(Delivery).where(Delivery.campaign_id == context.campaign.id, condition).order_by(Delivery.id)
    ).first()


@dataclass(frozen=True)
class ListMembership:
    """A list of the campaign that the subscriber is on."""

    name: str
    since: datetime


def memberships_of(context: ExplanationContext, subscriber: Subscriber) -> Sequence[ListMembership]:
    """Return the campaign's lists that the subscriber is on now, the first joined first."""
    rows = context.session.execute(
        select(SubscriberList.name, list_member.c.added_at)
        .join(list_member, list_member.c.list_id == SubscriberList.id)
        .where(
            list_member.c.subscriber_id == subscriber.id,
            SubscriberList.id.in_([each.id for each in context.campaign.lists]),
        )
        .order_by(list_member.c.added_at, SubscriberList.name)
    )
    return [ListMembership(name, since) for name, since in rows]


def on_lists(memberships: Sequence[ListMembership]) -> Iterator[ExplanationStep]:
    """Yield a step for each list."""
    for membership in memberships:
        yield ExplanationStep(ExplanationCode.on_list, since=membership.since, lists=(membership.name,))


def off_lists(campaign: Campaign) -> ExplanationStep:
    """Return the step for a subscriber who is on none of the campaign's lists."""
    if campaign.lists:
        return ExplanationStep(ExplanationCode.off_lists, lists=tuple(each.name for each in campaign.lists))
    return ExplanationStep(
        ExplanationCode.no_lists if campaign.status is CampaignStatus.draft else ExplanationCode.lists_deleted
    )


def cause_of(context: ExplanationContext, subscriber: Subscriber) -> SuppressionCause | None:
    """Return why this subscriber gets no emails now, or None."""
    reason = SKIP_REASONS.get(subscriber.status)
    if reason is None:
        return None
    since, stored = subscriber.status_at, subscriber.status_reason
    if reason is Reason.bounced:
        return SuppressionCause(reason, since, reply=stored)
    how = _HOW.get(stored) if reason is Reason.unsubscribed else None
    campaign = _left_by(context, subscriber) if how is UnsubscribeMethod.email else ""
    return SuppressionCause(
        reason, since, None if how is UnsubscribeMethod.email and not campaign else how, campaign
    )


def _left_by(context: ExplanationContext, subscriber: Subscriber) -> str:
    """Return the name or subject of the campaign whose email the subscriber unsubscribed from."""
    name, subject = context.session.execute(
        select(Campaign.name, Campaign.subject)
        .join(Delivery, Delivery.campaign_id == Campaign.id)
        .where(Delivery.subscriber_id == subscriber.id, Delivery.unsubscribed_at == subscriber.status_at)
        .limit(1)
    ).first() or ("", "")
    return name or plain_line(subject)


def paused(campaign: Campaign) -> ExplanationStep:
    """Return the step that explains why a paused campaign is paused."""
    words = campaign.paused_reason or ""
    if campaign.started_at is None:
        return ExplanationStep(ExplanationCode.late, words=words)
    return (
        ExplanationStep(ExplanationCode.halted, words=words)
        if words
        else ExplanationStep(ExplanationCode.paused)
    )
