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
    WHY_NO_LETTER,
    Campaign,
    CampaignStatus,
    Delivery,
    Reason,
    Subscriber,
    SubscriberList,
    list_member,
)
from ...settings import Settings
from ..steps import Cause, Code, How, Step

_HOW = {"letter": How.letter, "by hand": How.hand, "api": How.program}


@dataclass(frozen=True)
class Why:
    """What is on record of one address and one campaign."""

    address: str  # as it was asked for, or as the letter has it; nothing for a deleted person
    subscriber: Subscriber | None
    delivery: Delivery | None
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Asked:
    """What every answer needs: the campaign, the moment, and the limits that hold."""

    session: Session
    campaign: Campaign
    now: datetime
    settings: Settings
    registry: Registry


def letter_to(asked: Asked, condition: Any) -> Delivery | None:
    """The campaign's letter of which this is so."""
    return asked.session.scalars(
        select(Delivery).where(Delivery.campaign_id == asked.campaign.id, condition).order_by(Delivery.id)
    ).first()


@dataclass(frozen=True)
class Place:
    """A list of the campaign that the person is on."""

    name: str
    since: datetime


def places_of(asked: Asked, subscriber: Subscriber) -> Sequence[Place]:
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
    return [Place(name, since) for name, since in rows]


def on_lists(places: Sequence[Place]) -> Iterator[Step]:
    """A step for each list."""
    for place in places:
        yield Step(Code.on_list, since=place.since, lists=(place.name,))


def off_lists(campaign: Campaign) -> Step:
    """For somebody who is on none of them."""
    if campaign.lists:
        return Step(Code.off_lists, lists=tuple(each.name for each in campaign.lists))
    return Step(Code.no_lists if campaign.status is CampaignStatus.draft else Code.lists_deleted)


def cause_of(asked: Asked, subscriber: Subscriber) -> Cause | None:
    """Why this person gets no letters today; None for somebody who does."""
    reason = WHY_NO_LETTER.get(subscriber.status)
    if reason is None:
        return None
    since, said = subscriber.status_at, subscriber.status_reason
    if reason is Reason.bounced:
        return Cause(reason, since, reply=said)
    how = _HOW.get(said) if reason is Reason.unsubscribed else None
    campaign = _left_by(asked, subscriber) if how is How.letter else ""
    return Cause(reason, since, None if how is How.letter and not campaign else how, campaign)


def _left_by(asked: Asked, subscriber: Subscriber) -> str:
    """The campaign whose letter somebody unsubscribed by."""
    name, subject = asked.session.execute(
        select(Campaign.name, Campaign.subject)
        .join(Delivery, Delivery.campaign_id == Campaign.id)
        .where(Delivery.subscriber_id == subscriber.id, Delivery.unsubscribed_at == subscriber.status_at)
        .limit(1)
    ).first() or ("", "")
    return name or plain_line(subject)


def paused(campaign: Campaign) -> Step:
    """Why a paused campaign is paused."""
    words = campaign.paused_reason or ""
    if campaign.started_at is None:
        return Step(Code.late, words=words)
    return Step(Code.halted, words=words) if words else Step(Code.paused)
