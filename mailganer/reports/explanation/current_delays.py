"""Explanation steps for current delays: obstacles of the campaign, and emails ahead in the queue."""

from collections.abc import Iterator

from sqlalchemy import func, or_, select

from ...accounts import day_limit
from ...billing import plan_quota
from ...campaigns.sending_hours import Hours
from ...models import Batch, BatchState, Delay, DelayCause, Delivery, DeliveryStatus, Sender, SenderStatus
from ...quota.plan_and_sender_usage import sender_quota
from ..explanation_steps import ExplanationCode, ExplanationStep
from .context import ExplanationContext


def current_delays(context: ExplanationContext) -> Iterator[ExplanationStep]:
    """Yield what keeps all emails of the campaign from being sent now."""
    now = context.now
    hours = Hours.of(context.campaign.hours)
    if hours is not None and not hours.is_open(now):
        yield ExplanationStep(ExplanationCode.hours, until=hours.next_open(now))
    plan = plan_quota(context.session, context.campaign.account, context.settings, now)
    if plan.waits_until is not None:
        yield ExplanationStep(ExplanationCode.plan, until=plan.waits_until, number=plan.limit)
    rests = [_rest(context, each) for each in context.campaign.senders if each.deleted_at is None]
    if all(rests):  # as long as one sender can send, no email waits for the others
        yield from (each for each in rests if each)


def _rest(context: ExplanationContext, sender: Sender) -> ExplanationStep | None:
    """Return why nothing is sent through a sender now, or None."""
    now, name, words = context.now, sender.from_email, sender.error or ""
    limit = day_limit(sender, context.registry)
    full_until = sender_quota(context.session, sender.id, limit, now).waits_until
    until = sender.sleeps_until
    if sender.status is not SenderStatus.ready and until is not None and until > now:
        noted = _noted(context, sender)
        if sender.failures or noted is DelayCause.trouble:
            return ExplanationStep(ExplanationCode.trouble, until=until, sender=name, words=words)
        full = full_until is not None or noted is DelayCause.quota
        return ExplanationStep(
            ExplanationCode.quota if full else ExplanationCode.resting, until=until, sender=name
        )
    if sender.status is SenderStatus.failing:
        return ExplanationStep(ExplanationCode.failing, sender=name, words=words)
    return ExplanationStep(ExplanationCode.quota, until=full_until, sender=name) if full_until else None


def _noted(context: ExplanationContext, sender: Sender) -> DelayCause | None:
    """Return the recorded cause of a sender's rest: its own row loses it when a user checks the sender."""
    rest = select(Delay.cause).where(Delay.sender_id == sender.id, Delay.until == sender.sleeps_until)
    return context.session.scalars(rest.order_by(Delay.id.desc())).first()


def queue_position(context: ExplanationContext, email: Delivery) -> Iterator[ExplanationStep]:
    """Yield how many emails may be sent before this one: batches in order, and emails within them."""
    now = context.now
    if email.not_before is not None:
        return
    of_campaign = Batch.campaign_id == context.campaign.id
    own = select(Batch.number, Batch.first_id).where(
        of_campaign, Batch.first_id <= email.id, Batch.last_id >= email.id
    )
    found = context.session.execute(own).first()
    if found is None:
        return
    batches = select(func.coalesce(func.sum(Batch.pending), 0)).where(
        of_campaign,
        Batch.number < found.number,
        Batch.state != BatchState.done,
        or_(Batch.not_before.is_(None), Batch.not_before <= now),
    )
    beside = select(func.count()).where(
        Delivery.id.between(found.first_id, email.id - 1),
        Delivery.status == DeliveryStatus.pending,
        or_(Delivery.not_before.is_(None), Delivery.not_before <= now),
    )
    number = int(context.session.scalar(batches) or 0) + int(context.session.scalar(beside) or 0)
    yield (
        ExplanationStep(ExplanationCode.turn, number=number)
        if number
        else ExplanationStep(ExplanationCode.next)
    )
