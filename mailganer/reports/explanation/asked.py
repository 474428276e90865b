"""What every answer needs: who asks about what, and what is on record of a person."""

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
    """What is on record of one address and one campaign."""

    address: str  # as it was asked for, or as the email has it; nothing for a deleted person
    subscriber: Subscriber | None
    delivery: Delivery | None
    steps: tuple[ExplanationStep, ...]


@dataclass(frozen=True)
class ExplanationContext:
    """What every answer needs: the campaign, the moment, and the limits that hold."""

    session: Session
    campaign: Campaign
    now: datetime
    settings: Settings
    registry: Registry


def email_to(asked: ExplanationContext, condition: Any) -> Delivery | None:
    """The campaign's email of which this is so."""
    return asked.session.scalars(
        select(Delivery).where(Delivery.campaign_id == asked.campaign.id, condition).order_by(Delivery.id)
    ).first()


@dataclass(frozen=True)
class ListMembership:
    """A list of the campaign that the person is on."""

    name: str
    since: datetime


def places_of(asked: ExplanationContext, subscriber: Subscriber) -> Sequence[ListMembership]:
    """The campaign's lists that somebody is on today, the first joined first."""
    rows = asked.session.execute(
        select(SubscriberList.name, list_member.c.added_at)
        .join(list_member, list_member.c.list_id == SubscriberList.id)
        .where(
            list_member.c.subscriber_id == subscriber.id,
            SubscriberList.id.in_([each.id for each in asked.campaign.lists]),
        )
        .order_by(list_member.c.added_at, SubscriberList.name)
    )
    return [ListMembership(name, since) for name, since in rows]


def on_lists(places: Sequence[ListMembership]) -> Iterator[ExplanationStep]:
    """A step for each list."""
    for place in places:
        yield ExplanationStep(ExplanationCode.on_list, since=place.since, lists=(place.name,))


def off_lists(campaign: Campaign) -> ExplanationStep:
    """For somebody who is on none of them."""
    if campaign.lists:
        return ExplanationStep(ExplanationCode.off_lists, lists=tuple(each.name for each in campaign.lists))
    return ExplanationStep(
        ExplanationCode.no_lists if campaign.status is CampaignStatus.draft else ExplanationCode.lists_deleted
    )


def cause_of(asked: ExplanationContext, subscriber: Subscriber) -> SuppressionCause | None:
    """Why this person gets no emails today; None for somebody who does."""
    reason = SKIP_REASONS.get(subscriber.status)
    if reason is None:
        return None
    since, said = subscriber.status_at, subscriber.status_reason
    if reason is Reason.bounced:
        return SuppressionCause(reason, since, reply=said)
    how = _HOW.get(said) if reason is Reason.unsubscribed else None
    campaign = _left_by(asked, subscriber) if how is UnsubscribeMethod.email else ""
    return SuppressionCause(
        reason, since, None if how is UnsubscribeMethod.email and not campaign else how, campaign
    )


def _left_by(asked: ExplanationContext, subscriber: Subscriber) -> str:
    """The campaign whose email somebody unsubscribed by."""
    name, subject = asked.session.execute(
        select(Campaign.name, Campaign.subject)
        .join(Delivery, Delivery.campaign_id == Campaign.id)
        .where(Delivery.subscriber_id == subscriber.id, Delivery.unsubscribed_at == subscriber.status_at)
        .limit(1)
    ).first() or ("", "")
    return name or plain_line(subject)


def paused(campaign: Campaign) -> ExplanationStep:
    """Why a paused campaign is paused."""
    words = campaign.paused_reason or ""
    if campaign.started_at is None:
        return ExplanationStep(ExplanationCode.late, words=words)
    return (
        ExplanationStep(ExplanationCode.halted, words=words)
        if words
        else ExplanationStep(ExplanationCode.paused)
    )
