"""Explanation of why a subscriber has no email of a campaign, or none yet."""

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property

from ...models import CampaignStatus, Delivery, Subscriber, first_delivery_id
from ..explanation_steps import ExplanationCode, ExplanationStep, SuppressionCause
from .context import ExplanationContext, cause_of, email_to, memberships_of, off_lists, on_lists, paused


class Unplanned:
    """A subscriber and a campaign of the account that has no email for them."""

    def __init__(self, context: ExplanationContext, subscriber: Subscriber) -> None:
        self.context, self.campaign, self.subscriber = context, context.campaign, subscriber
        self.memberships = memberships_of(context, subscriber)
        self.cause = cause_of(context, subscriber)

    def steps(self) -> Iterator[ExplanationStep]:
        """Yield the steps: what is known of the subscriber, and its effect."""
        yield from on_lists(self.memberships)
        if not self.memberships:
            yield off_lists(self.campaign)
        if self._is_past():
            yield from self._missed()
        elif self.campaign.status is CampaignStatus.cancelled:
            yield ExplanationStep(ExplanationCode.stopped_before, since=self.campaign.finished_at)
        else:
            yield from self._to_come()
            yield from self._prospect()

    def _is_past(self) -> bool:
        """Return whether planning has passed this subscriber: subscribers are planned in the order of ids."""
        return self.campaign.planned_at is not None or self.subscriber.id <= self.campaign.planned_after

    # --- before planning

    def _to_come(self) -> Iterator[ExplanationStep]:
        campaign, now = self.campaign, self.context.now
        if campaign.status is CampaignStatus.draft:
            yield ExplanationStep(ExplanationCode.draft)
        elif campaign.status is CampaignStatus.scheduled:
            if campaign.send_at is None or campaign.send_at <= now:
                yield ExplanationStep(ExplanationCode.starting)
            else:
                yield ExplanationStep(
                    ExplanationCode.undoable if campaign.pressed_at else ExplanationCode.scheduled,
                    until=campaign.send_at,
                )
        elif campaign.status is CampaignStatus.paused:
            yield paused(campaign)
        else:
            yield ExplanationStep(ExplanationCode.gathering, since=campaign.started_at)

    def _prospect(self) -> Iterator[ExplanationStep]:
        if self.cause is not None:
            yield ExplanationStep(ExplanationCode.would_not_get, cause=self.cause)
        elif self.memberships:
            yield ExplanationStep(ExplanationCode.would_get)

    # --- after planning

    def _missed(self) -> Iterator[ExplanationStep]:
        yield ExplanationStep(ExplanationCode.gathered, since=self._gathered_from)
        if self.cause is not None and self._held_then(self.cause):
            yield ExplanationStep(ExplanationCode.excluded, cause=self.cause)
        elif self.memberships and self.memberships[0].since > self._gathered_from:
            first = self.memberships[0]
            yield ExplanationStep(ExplanationCode.joined_later, since=first.since, lists=(first.name,))
        elif self.memberships and self._is_written_to():
            yield ExplanationStep(ExplanationCode.same_address)
        elif (
            self.memberships and self.subscriber.status_at and self.subscriber.status_at > self._gathered_from
        ):
            changed = ExplanationCode.back_later if self.cause is None else ExplanationCode.state_changed
            yield ExplanationStep(changed, since=self.subscriber.status_at)
        else:
            yield ExplanationStep(ExplanationCode.not_planned)

    @cached_property
    def _gathered_from(self) -> datetime:
        """When planning began; no delivery is older."""
        first = self.context.session.get(Delivery, first_delivery_id(self.campaign.id))
        known = first.dated_at if first else self.campaign.planned_at or self.campaign.started_at
        return known or self.context.now

    def _held_then(self, cause: SuppressionCause) -> bool:
        """Return whether the cause applied during planning. A cause without a time applied from the start."""
        since = cause.since or self.subscriber.created_at
        return since <= (self.campaign.planned_at or self._gathered_from)

    def _is_written_to(self) -> bool:
        """Return whether an email went to this address when another subscriber had it."""
        return email_to(self.context, Delivery.email_key == self.subscriber.email_key) is not None
