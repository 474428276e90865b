"""What a letter waited for: sleeping senders, pauses, the plan, and hours in which nothing is sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import and_, or_, select

from ...campaigns.hours import Hours
from ...models import (
    Delivery,
    HeldBy,
    Hold,
    Sender,
    SenderStatus,
)
from ..steps import Code, Step
from .asked import Asked

MOST_NIGHTS = 400  # without sending hours that are counted: nothing is said of a letter that waited longer

_CODES = {
    HeldBy.quota: Code.waited_quota,
    HeldBy.trouble: Code.waited_trouble,
    HeldBy.failing: Code.waited_failing,
    HeldBy.plan: Code.waited_plan,
    HeldBy.paused: Code.waited_paused,
    HeldBy.halted: Code.waited_halted,
}


@dataclass(frozen=True)
class Held:
    """A time in which nothing left, and for which sender that was so."""

    since: datetime
    until: datetime
    cause: HeldBy
    sender: str = ""


def _times(holds: Iterable[Hold], sender_id: int | None, sender: str = "") -> list[Held]:
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
    """Times in which a letter could not leave."""

    def __init__(self, asked: Asked, delivery: Delivery) -> None:
        self.asked, self.session, self.campaign = asked, asked.session, asked.campaign
        self.letter = delivery

    def steps(self) -> Iterator[Step]:
        """Times in which nothing left and which ended before the letter left, in the order of their ends."""
        found = [*self._held(), *self._nights()]
        yield from sorted(found, key=lambda step: (step.at or self.letter.dated_at, step.code))

    @property
    def _over_at(self) -> datetime:
        return self.letter.settled_at or self.asked.now

    def _held(self) -> Iterator[Step]:
        senders = {each.id: each.from_email for each in self.campaign.senders}
        holds = self._holds(senders)
        of_senders = [_times(holds, number, name) for number, name in senders.items()]
        ended = [time for time in _times(holds, None) + _together(of_senders) if time.until <= self._over_at]
        for cause, sender in dict.fromkeys((time.cause, time.sender) for time in ended):
            same = [time for time in ended if (time.cause, time.sender) == (cause, sender)]
            last = max(same, key=lambda time: time.until)
            yield Step(_CODES[cause], last.since, last.until, sender=sender, number=len(same))
        yield from self._failures(holds, senders)

    def _failures(self, holds: Sequence[Hold], senders: Mapping[int, str]) -> Iterator[Step]:
        """Senders that somebody had to look at: when that was is not kept."""
        for number, sender in senders.items():
            found = [hold.since for hold in holds if hold.sender_id == number and hold.until is None]
            failing = self.session.get_one(Sender, number).status is SenderStatus.failing
            if found and not failing:  # else nobody has looked yet, and who waits is told so
                yield Step(Code.waited_failing, since=max(found), sender=sender, number=len(found))

    def _holds(self, senders: Mapping[int, str]) -> Sequence[Hold]:
        owned = or_(
            Hold.sender_id.in_(senders),
            Hold.campaign_id == self.campaign.id,
            Hold.account_id == self.campaign.account_id,
        )
        began = self.letter.dated_at
        ended = Hold.until > began
        failed = and_(Hold.cause == HeldBy.failing, Hold.since >= began)
        query = select(Hold).where(owned, Hold.since < self._over_at, or_(ended, failed))
        return self.session.scalars(query.order_by(Hold.since)).all()

    def _nights(self) -> Iterator[Step]:
        """Outside the campaign's sending hours, which are fixed once it is started."""
        hours, moment, over = Hours.of(self.campaign.hours), self.letter.dated_at, self._over_at
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
            yield Step(Code.waited_hours, until=until, number=number)
