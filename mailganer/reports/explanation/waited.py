"""What an email waited for: sleeping senders, pauses, the plan, and hours in which nothing is sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import and_, or_, select

from ...campaigns.sending_hours import Hours
from ...models import Delay, DelayCause, Delivery, Sender, SenderStatus
from ..explanation_steps import ExplanationCode, ExplanationStep
from .asked import ExplanationContext

MOST_NIGHTS = 400  # without sending hours that are counted: nothing is said of an email that waited longer

_CODES = {
    DelayCause.quota: ExplanationCode.waited_quota,
    DelayCause.trouble: ExplanationCode.waited_trouble,
    DelayCause.failing: ExplanationCode.waited_failing,
    DelayCause.plan: ExplanationCode.waited_plan,
    DelayCause.paused: ExplanationCode.waited_paused,
    DelayCause.halted: ExplanationCode.waited_halted,
}


@dataclass(frozen=True)
class Held:
    """A time in which nothing left, and for which sender that was so."""

    since: datetime
    until: datetime
    cause: DelayCause
    sender: str = ""


def _times(holds: Iterable[Delay], sender_id: int | None, sender: str = "") -> list[Held]:
    """Those of one sender, or of the campaign and the plan, whose end is on record."""
    return [
        Held(hold.since, hold.until, hold.cause, sender)
        for hold in holds
        if hold.sender_id == sender_id and hold.until is not None
    ]


def _together(of_senders: Iterable[Sequence[Held]]) -> list[Held]:
    """Times in which none of several senders could send: each ends with the first of them that can."""
    found: list[Held] | None = None
    for times in of_senders:
        if found is None:
            found = list(times)
        else:
            found = [both for one in found for other in times if (both := _overlap(one, other))]
    return found or []


def _overlap(one: Held, other: Held) -> Held | None:
    first = min(one, other, key=lambda time: time.until)
    since = max(one.since, other.since)
    return replace(first, since=since) if since < first.until else None


class Waited:
    """Times in which an email could not leave."""

    def __init__(self, asked: ExplanationContext, delivery: Delivery) -> None:
        self.asked, self.session, self.campaign = asked, asked.session, asked.campaign
        self.email = delivery

    def steps(self) -> Iterator[ExplanationStep]:
        """Times in which nothing left and which ended before the email left, in the order of their ends."""
        found = [*self._held(), *self._nights()]
        yield from sorted(found, key=lambda step: (step.at or self.email.dated_at, step.code))

    @property
    def _over_at(self) -> datetime:
        return self.email.settled_at or self.asked.now

    def _held(self) -> Iterator[ExplanationStep]:
        senders = {each.id: each.from_email for each in self.campaign.senders}
        holds = self._holds(senders)
        of_senders = [_times(holds, number, name) for number, name in senders.items()]
        ended = [time for time in _times(holds, None) + _together(of_senders) if time.until <= self._over_at]
        for cause, sender in dict.fromkeys((time.cause, time.sender) for time in ended):
            same = [time for time in ended if (time.cause, time.sender) == (cause, sender)]
            last = max(same, key=lambda time: time.until)
            yield ExplanationStep(_CODES[cause], last.since, last.until, sender=sender, number=len(same))
        yield from self._failures(holds, senders)

    def _failures(self, holds: Sequence[Delay], senders: Mapping[int, str]) -> Iterator[ExplanationStep]:
        """Senders that somebody had to look at: when that was is not kept."""
        for number, sender in senders.items():
            found = [hold.since for hold in holds if hold.sender_id == number and hold.until is None]
            failing = self.session.get_one(Sender, number).status is SenderStatus.failing
            if found and not failing:  # else nobody has looked yet, and who waits is told so
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
        """Outside the campaign's sending hours, which are fixed once it is started."""
        hours, moment, over = Hours.of(self.campaign.hours), self.email.dated_at, self._over_at
        number, until = 0, None
        while hours is not None:
            if number == MOST_NIGHTS:
                return
            opens = hours.next_open(moment)
            if opens > over:
                break
            if opens > moment:
                number, until = number + 1, opens
            closes = hours.closes(opens)
            if closes is None or closes >= over:
                break
            moment = closes
        if until is not None:
            yield ExplanationStep(ExplanationCode.waited_hours, until=until, number=number)
