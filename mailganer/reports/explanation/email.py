"""Explanation of one email, from list membership to the recipient's reactions."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select

from ...models import (
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    FrozenEmail,
    Reason,
    Sender,
    Subscriber,
    Window,
    make_message_id,
)
from ..explanation_steps import ExplanationCode, ExplanationStep, SuppressionCause
from .context import ExplanationContext, cause_of, memberships_of, on_lists, paused
from .current_delays import current_delays, queue_position
from .past_delays import PastDelays
from .reactions import reactions


class ExplainedEmail:
    """The steps of one email. Its subscriber may have been erased."""

    def __init__(
        self, context: ExplanationContext, delivery: Delivery, subscriber: Subscriber | None
    ) -> None:
        self.context, self.session, self.campaign = context, context.session, context.campaign
        self.email, self.subscriber = delivery, subscriber
        sender = self.session.get(Sender, delivery.sender_id) if delivery.sender_id else None
        self.sender = sender.from_email if sender else ""

    def steps(self) -> Iterator[ExplanationStep]:
        """Yield the steps in chronological order."""
        yield from self._who()
        yield ExplanationStep(ExplanationCode.planned, since=self.email.dated_at, address=self.email.email)
        yield from PastDelays(self.context, self.email).steps()
        yield from self._doubt_before()
        if self.email.returned_at is not None:
            yield ExplanationStep(ExplanationCode.returned, since=self.email.returned_at)
        yield from self._state()
        yield from reactions(self.context, self.email)

    def _who(self) -> Iterator[ExplanationStep]:
        if self.subscriber is None:
            yield ExplanationStep(ExplanationCode.erased)
            return
        memberships = memberships_of(self.context, self.subscriber)
        yield from on_lists(memberships)
        if len(memberships) > 1:
            yield ExplanationStep(ExplanationCode.one_letter)
        if not memberships:
            yield (
                ExplanationStep(ExplanationCode.left_lists)
                if self.campaign.lists
                else ExplanationStep(ExplanationCode.lists_deleted)
            )
        if self.subscriber.email_key != self.email.email_key:
            yield ExplanationStep(ExplanationCode.moved, address=self.subscriber.email)

    # --- a resolved doubt that caused a resend

    def _doubt_before(self) -> Iterator[ExplanationStep]:
        email = self.email
        if email.decided_at is None or self._ended_as_sent:
            return
        if email.decided_by:
            yield ExplanationStep(ExplanationCode.said_again, since=email.decided_at, by=email.decided_by)
        else:
            yield ExplanationStep(ExplanationCode.not_there, since=email.decided_at, sender=self.sender)

    @property
    def _ended_as_sent(self) -> bool:
        """Return whether resolving the doubt marked it as sent: then both have the same time."""
        email = self.email
        return (
            email.status in (DeliveryStatus.sent, DeliveryStatus.bounced)
            and email.decided_at is not None
            and email.settled_at == email.decided_at
        )

    # --- current state

    def _state(self) -> Iterator[ExplanationStep]:
        match self.email.status:
            case DeliveryStatus.pending:
                yield from self._pending()
            case DeliveryStatus.sending:
                yield ExplanationStep(ExplanationCode.sending, since=self._opened_at(), sender=self.sender)
            case DeliveryStatus.sent | DeliveryStatus.bounced:
                yield from self._tried()
                yield self._sent()
                yield from self._version()
            case DeliveryStatus.failed:
                yield from self._tried()
                yield self._failed()
            case DeliveryStatus.in_doubt:
                yield from self._tried()
                yield from self._doubtful()
            case DeliveryStatus.skipped:
                yield self._skipped()

    def _opened_at(self) -> datetime | None:
        email = self.email
        return self.session.scalar(
            select(Window.opened_at).where(
                Window.campaign_id == email.campaign_id,
                Window.first_id <= email.id,
                Window.last_id >= email.id,
            )
        )

    def _tried(self) -> Iterator[ExplanationStep]:
        email = self.email
        if email.attempts > 1:
            first = email.first_tried_at if email.decided_by is None else None  # set anew by "send again"
            yield ExplanationStep(ExplanationCode.tries, since=first, number=email.attempts)

    def _version(self) -> Iterator[ExplanationStep]:
        """Yield the version of the email if there are several."""
        versions = self.session.execute(
            select(FrozenEmail.id, FrozenEmail.version).where(FrozenEmail.campaign_id == self.campaign.id)
        ).all()
        for frozen_email_id, version in versions:
            if len(versions) > 1 and frozen_email_id == self.email.frozen_email_id:
                yield ExplanationStep(ExplanationCode.version, number=version)

    def _sent(self) -> ExplanationStep:
        email, reply = self.email, self.email.reply
        if self._ended_as_sent and email.decided_by:
            return ExplanationStep(
                ExplanationCode.counts_as_sent, since=email.decided_at, by=email.decided_by
            )
        if self._ended_as_sent:
            return ExplanationStep(ExplanationCode.looked_up, since=email.decided_at, sender=self.sender)
        # A lane stores the reply with every email it settles. No reply, or that of an earlier attempt, means
        # that a doubt was resolved.
        if reply is not None and not reply.startswith(("4", "5")):
            return ExplanationStep(
                ExplanationCode.accepted, since=email.settled_at, sender=self.sender, reply=reply
            )
        return ExplanationStep(
            ExplanationCode.in_hand if self._was_seen else ExplanationCode.unanswered, sender=self.sender
        )

    @property
    def _was_seen(self) -> bool:
        email = self.email
        counted = email.opens + email.machine_opens + email.clicks + email.machine_clicks
        return counted > 0 or email.unsubscribed_at is not None

    def _failed(self) -> ExplanationStep:
        email = self.email
        codes = {Reason.refused: ExplanationCode.refused, Reason.expired: ExplanationCode.expired}
        code = codes.get(email.reason, ExplanationCode.not_sent) if email.reason else ExplanationCode.not_sent
        return ExplanationStep(code, since=email.settled_at, sender=self.sender, reply=email.reply or "")

    def _doubtful(self) -> Iterator[ExplanationStep]:
        email = self.email
        code = (
            ExplanationCode.interrupted
            if email.reason is Reason.interrupted
            else ExplanationCode.disconnected
        )
        yield ExplanationStep(code, since=email.settled_at, sender=self.sender, reply=email.reply or "")
        message_id = make_message_id(email.id, email.token, self.campaign.message_domain)
        yield ExplanationStep(ExplanationCode.in_doubt, message_id=f"<{message_id}>")
        if email.not_before is None:
            yield ExplanationStep(ExplanationCode.your_word)
        else:
            yield ExplanationStep(ExplanationCode.to_be_looked_up, until=email.not_before, sender=self.sender)

    def _skipped(self) -> ExplanationStep:
        email = self.email
        if email.reason is Reason.cancelled or email.reason is None:
            return ExplanationStep(ExplanationCode.stopped, since=email.settled_at)
        today = cause_of(self.context, self.subscriber) if self.subscriber else None
        held = today and today.since and email.settled_at and today.since <= email.settled_at
        if today is not None and held and today.reason is email.reason:
            return ExplanationStep(ExplanationCode.left_out, since=email.settled_at, cause=today)
        cause = SuppressionCause(email.reason)
        return ExplanationStep(
            ExplanationCode.left_out, since=email.settled_at, cause=cause, words=email.reply or ""
        )

    # --- current wait

    def _pending(self) -> Iterator[ExplanationStep]:
        campaign = self.campaign
        if campaign.status is CampaignStatus.cancelled:
            yield ExplanationStep(ExplanationCode.stopping, since=campaign.finished_at)
            return
        cause = (
            cause_of(self.context, self.subscriber) if self.subscriber else SuppressionCause(Reason.erased)
        )
        if cause is not None:
            yield ExplanationStep(ExplanationCode.to_be_left_out, cause=cause)
            return
        yield from self._put_off()
        if campaign.status is CampaignStatus.paused:
            yield paused(campaign)
        elif campaign.status is CampaignStatus.sending:
            yield from current_delays(self.context)
        yield from queue_position(self.context, self.email)

    def _put_off(self) -> Iterator[ExplanationStep]:
        email = self.email
        yield from self._tried()
        if email.not_before is not None:
            due = email.not_before <= self.context.now
            code = ExplanationCode.due_again if due else ExplanationCode.put_off
            yield ExplanationStep(code, until=email.not_before, reply=email.reply or "")
        elif email.reply:
            yield ExplanationStep(ExplanationCode.came_to_nothing, reply=email.reply)
