"""Explanation steps for past delays: sleeping senders, pauses, plan limits and sending hours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import and_, or_, select

from ...campaigns.sending_hours import Hours
from ...models import Delay, DelayCause, Delivery, Sender, SenderStatus
from ..explanation_steps import ExplanationCode, ExplanationStep
from .context import ExplanationContext

MOST_NIGHTS = 400  # closed periods counted at most; an email that waited longer gets no step

_CODES = {
    DelayCause.quota: ExplanationCode.waited_quota,
    DelayCause.trouble: ExplanationCode.waited_trouble,
    DelayCause.failing: ExplanationCode.waited_failing,
    DelayCause.plan: ExplanationCode.waited_plan,
    DelayCause.paused: ExplanationCode.waited_paused,
    DelayCause.halted: ExplanationCode.waited_halted,
}


@dataclass(frozen=True)
class DelayPeriod:
    """A period in which nothing was sent, with its cause and its sender."""

    since: datetime
    until: datetime
    cause: DelayCause
    sender: str = ""


def _times(holds: Iterable[Delay], sender_id: int | None, sender: str = "") -> list[DelayPeriod]:
    """Return the ended delays of one sender, or without a sender those of the campaign and the plan."""
    return [
        DelayPeriod(hold.since, hold.until, hold.cause, sender)
        for hold in holds
        if hold.sender_id == sender_id and hold.until is not None
    ]


def _overlapping(of_senders: Iterable[Sequence[DelayPeriod]]) -> list[DelayPeriod]:
    """Return the periods in which none of the senders could send: each ends when the first of them can."""
    found: list[DelayPeriod] | None = None
    for times in of_senders:
        if found is None:
            found = list(times)
        else:
            found = [both for one in found for other in times if (both := _overlap(one, other))]
    return found or []


def _overlap(one: DelayPeriod, other: DelayPeriod) -> DelayPeriod | None:
    first = min(one, other, key=lambda time: time.until)
    since = max(one.since, other.since)
    return replace(first, since=since) if since < first.until else None


class PastDelays:
    """Periods in which an email could not be sent."""

    def __init__(self, context: ExplanationContext, delivery: Delivery) -> None:
        self.context, self.session, self.campaign = context, context.session, context.campaign
        self.email = delivery

    def steps(self) -> Iterator[ExplanationStep]:
        """Yield the delays that ended before the email was sent, ordered by their ends."""
        found = [*self._held(), *self._nights()]
        yield from sorted(found, key=lambda step: (step.at or self.email.dated_at, step.code))

    @property
    def _over_at(self) -> datetime:
        return self.email.settled_at or self.context.now

    def _held(self) -> Iterator[ExplanationStep]:
        senders = {each.id: each.from_email for each in self.campaign.senders}
        holds = self._holds(senders)
        of_senders = [_times(holds, number, name) for number, name in senders.items()]
        ended = [
            time for time in _times(holds, None) + _overlapping(of_senders) if time.until <= self._over_at
        ]
        for cause, sender in dict.fromkeys((time.cause, time.sender) for time in ended):
            same = [time for time in ended if (time.cause, time.sender) == (cause, sender)]
            last = max(same, key=lambda time: time.until)
            yield ExplanationStep(_CODES[cause], last.since, last.until, sender=sender, number=len(same))
        yield from self._failures(holds, senders)

    def _failures(self, holds: Sequence[Delay], senders: Mapping[int, str]) -> Iterator[ExplanationStep]:
        """Yield senders that needed a user's attention: when that ended is not recorded."""
        for number, sender in senders.items():
            found = [hold.since for hold in holds if hold.sender_id == number and hold.until is None]
            failing = self.session.get_one(Sender, number).status is SenderStatus.failing
            if found and not failing:  # otherwise the step for the current wait covers it
                yield ExplanationStep(
                    ExplanationCode.waited_failing, since=max(found), sender=sender, number=len(found)
                )

    def _holds(self, senders: Mapping[int, str]) -> Sequence[Delay]:
        owned = or_(
            Delay.sender_id.in_(senders),
            Delay.campaign_id == self.campaign.id,
            Delay.account_id == self.campaign.account_id,
        )
        began = self.email.dated_at
        ended = Delay.until > began
        failed = and_(Delay.cause == DelayCause.failing, Delay.since >= began)
        query = select(Delay).where(owned, Delay.since < self._over_at, or_(ended, failed))
        return self.session.scalars(query.order_by(Delay.since)).all()

    def _nights(self) -> Iterator[ExplanationStep]:
        """Yield waits for the campaign's sending hours, which are fixed after the start."""
        hours, at, over = Hours.of(self.campaign.hours), self.email.dated_at, self._over_at
        number, until = 0, None
        while hours is not None:
            if number == MOST_NIGHTS:
                return
            opens = hours.next_open(at)
            if opens > over:
                break
            if opens > at:
                number, until = number + 1, opens
            closes = hours.closes(opens)
            if closes is None or closes >= over:
                break
            at = closes
        if until is not None:
            yield ExplanationStep(ExplanationCode.waited_hours, until=until, number=number)
