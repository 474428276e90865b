"""Why somebody got a campaign's letter, or did not: one step after the other, as far as it is on record.

Nothing is said that the rows do not prove. A delivery proves that its person was on a list of the campaign
and got letters at that moment; that there is none proves only that one of the two was not so. What has
changed since then is told as it is today, with the day it changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from ..accounts import day_limit
from ..audience import find_subscriber, parse_address
from ..audience.status import suppression_digest
from ..backends import Registry
from ..billing import plan_of
from ..campaigns.allowance import account_allowance, sender_allowance
from ..campaigns.content import plain_line
from ..campaigns.hours import Hours
from ..errors import NotFound
from ..models import (
    Account,
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Event,
    EventKind,
    HeldBy,
    Hold,
    LetterVersion,
    Reason,
    Sender,
    SenderStatus,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    Suppression,
    Window,
    first_delivery_id,
    list_member,
    make_message_id,
)
from ..settings import Settings
from .steps import Cause, Code, How, Step

MOST_NIGHTS = 400  # without sending hours that are counted: nothing is said of a letter that waited longer

_REASONS = {
    SubscriberStatus.unsubscribed: Reason.unsubscribed,
    SubscriberStatus.bounced: Reason.bounced,
    SubscriberStatus.complained: Reason.complained,
    SubscriberStatus.unconfirmed: Reason.unconfirmed,
}
_HOW = {"letter": How.letter, "by hand": How.hand, "api": How.program}
_WAITED = {
    HeldBy.quota: Code.waited_quota,
    HeldBy.trouble: Code.waited_trouble,
    HeldBy.failing: Code.waited_failing,
    HeldBy.plan: Code.waited_plan,
    HeldBy.paused: Code.waited_paused,
    HeldBy.halted: Code.waited_halted,
}


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


def why_address(asked: Asked, text: str) -> Why:
    """The answer for an address, whoever has it. Raises ``AddressError`` for what is none."""
    address, account_id = parse_address(text), asked.campaign.account_id
    subscriber = find_subscriber(asked.session, account_id, address.key)
    if subscriber is not None:
        return why_person(asked, subscriber)
    delivery = _letter_to(asked, Delivery.email_key == address.key)
    if delivery is not None:  # its person has another address now
        return why_letter(asked, delivery)
    steps = [Step(Code.unknown, address=address.email), *_forgotten(asked, address.key)]
    return Why(address.email, None, None, tuple(steps))


def why_person(asked: Asked, subscriber: Subscriber) -> Why:
    """The answer for somebody of the campaign's account. Raises ``NotFound`` for anybody else."""
    if subscriber.account_id != asked.campaign.account_id:
        raise NotFound()
    delivery = _letter_to(asked, Delivery.subscriber_id == subscriber.id)
    if delivery is not None:
        return why_letter(asked, delivery)
    return Why(subscriber.email, subscriber, None, tuple(_Unplanned(asked, subscriber).steps()))


def why_letter(asked: Asked, delivery: Delivery) -> Why:
    """The answer for a letter of the campaign, also when its person was deleted."""
    if delivery.campaign_id != asked.campaign.id:
        raise NotFound()
    found = asked.session.get(Subscriber, delivery.subscriber_id) if delivery.subscriber_id else None
    return Why(delivery.email, found, delivery, tuple(_Letter(asked, delivery, found).steps()))


def _letter_to(asked: Asked, condition: Any) -> Delivery | None:
    return asked.session.scalars(
        select(Delivery).where(Delivery.campaign_id == asked.campaign.id, condition).order_by(Delivery.id)
    ).first()


def _forgotten(asked: Asked, email_key: str) -> Iterator[Step]:
    account = asked.campaign.account
    digest = suppression_digest(bytes(account.suppression_key), email_key)
    kept = asked.session.get(Suppression, (account.id, digest))
    if kept is not None:
        yield Step(Code.forgotten, cause=Cause(_REASONS[kept.status], kept.created_at))


# --- the person


@dataclass(frozen=True)
class _Time:
    """A time in which nothing left, and for which sender that was so."""

    since: datetime
    until: datetime
    cause: HeldBy
    sender: str = ""


def _times(holds: Iterable[Hold], sender_id: int | None, sender: str = "") -> list[_Time]:
    """Those of one sender, or of the campaign and the plan, whose end is on record."""
    return [
        _Time(hold.since, hold.until, hold.cause, sender)
        for hold in holds
        if hold.sender_id == sender_id and hold.until is not None
    ]


def _together(of_senders: Iterable[Sequence[_Time]]) -> list[_Time]:
    """Times in which none of several senders could send: each ends with the first of them that can."""
    found: list[_Time] | None = None
    for times in of_senders:
        if found is None:
            found = list(times)
        else:
            found = [both for one in found for other in times if (both := _overlap(one, other))]
    return found or []


def _overlap(one: _Time, other: _Time) -> _Time | None:
    first = min(one, other, key=lambda time: time.until)
    since = max(one.since, other.since)
    return replace(first, since=since) if since < first.until else None


@dataclass(frozen=True)
class _Place:
    """A list of the campaign that the person is on."""

    name: str
    since: datetime


def _places(asked: Asked, subscriber: Subscriber) -> Sequence[_Place]:
    rows = asked.session.execute(
        select(SubscriberList.name, list_member.c.added_at)
        .join(list_member, list_member.c.list_id == SubscriberList.id)
        .where(
            list_member.c.subscriber_id == subscriber.id,
            SubscriberList.id.in_([each.id for each in asked.campaign.lists]),
        )
        .order_by(list_member.c.added_at, SubscriberList.name)
    )
    return [_Place(name, since) for name, since in rows]


def _on_lists(places: Sequence[_Place]) -> Iterator[Step]:
    for place in places:
        yield Step(Code.on_list, since=place.since, lists=(place.name,))


def _off_lists(campaign: Campaign) -> Step:
    if campaign.lists:
        return Step(Code.off_lists, lists=tuple(each.name for each in campaign.lists))
    return Step(Code.no_lists if campaign.status is CampaignStatus.draft else Code.lists_deleted)


def _cause(asked: Asked, subscriber: Subscriber) -> Cause | None:
    """Why this person gets no letters today; None for somebody who does."""
    reason = _REASONS.get(subscriber.status)
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


# --- somebody the campaign has no letter for


class _Unplanned:
    def __init__(self, asked: Asked, subscriber: Subscriber) -> None:
        self.asked, self.campaign, self.person = asked, asked.campaign, subscriber
        self.places = _places(asked, subscriber)
        self.cause = _cause(asked, subscriber)

    def steps(self) -> Iterator[Step]:
        yield from _on_lists(self.places)
        if not self.places:
            yield _off_lists(self.campaign)
        if self._is_past():
            yield from self._missed()
        elif self.campaign.status is CampaignStatus.cancelled:
            yield Step(Code.stopped_before, since=self.campaign.finished_at)
        else:
            yield from self._to_come()
            yield from self._prospect()

    def _is_past(self) -> bool:
        """Whether the turn of this person in gathering is over: people are gathered in the order of ids."""
        return self.campaign.planned_at is not None or self.person.id <= self.campaign.planned_after

    # --- the campaign has not got to them yet

    def _to_come(self) -> Iterator[Step]:
        campaign, now = self.campaign, self.asked.now
        if campaign.status is CampaignStatus.draft:
            yield Step(Code.draft)
        elif campaign.status is CampaignStatus.scheduled:
            if campaign.send_at is None or campaign.send_at <= now:
                yield Step(Code.starting)
            else:
                yield Step(Code.undoable if campaign.pressed_at else Code.scheduled, until=campaign.send_at)
        elif campaign.status is CampaignStatus.paused:
            yield _paused(campaign)
        else:
            yield Step(Code.gathering, since=campaign.started_at)

    def _prospect(self) -> Iterator[Step]:
        if self.cause is not None:
            yield Step(Code.would_not_get, cause=self.cause)
        elif self.places:
            yield Step(Code.would_get)

    # --- the campaign has passed them by

    def _missed(self) -> Iterator[Step]:
        yield Step(Code.gathered, since=self._gathered_from)
        if self.cause is not None and self._held_then(self.cause):
            yield Step(Code.excluded, cause=self.cause)
        elif self.places and self.places[0].since > self._gathered_from:
            first = self.places[0]
            yield Step(Code.joined_later, since=first.since, lists=(first.name,))
        elif self.places and self._is_written_to():
            yield Step(Code.same_address)
        elif self.places and self.person.status_at and self.person.status_at > self._gathered_from:
            changed = Code.back_later if self.cause is None else Code.state_changed
            yield Step(changed, since=self.person.status_at)
        else:
            yield Step(Code.not_planned)

    @cached_property
    def _gathered_from(self) -> datetime:
        """When the first people were gathered; nobody's row is older."""
        first = self.asked.session.get(Delivery, first_delivery_id(self.campaign.id))
        known = first.dated_at if first else self.campaign.planned_at or self.campaign.started_at
        return known or self.asked.now

    def _held_then(self, cause: Cause) -> bool:
        """Whether it was so when the people were gathered. Without a moment it was so from the start."""
        since = cause.since or self.person.created_at
        return since <= (self.campaign.planned_at or self._gathered_from)

    def _is_written_to(self) -> bool:
        """Whether somebody else's letter goes to this address, who had it when the people were gathered."""
        return _letter_to(self.asked, Delivery.email_key == self.person.email_key) is not None


def _paused(campaign: Campaign) -> Step:
    words = campaign.paused_reason or ""
    if campaign.started_at is None:
        return Step(Code.late, words=words)
    return Step(Code.halted, words=words) if words else Step(Code.paused)


# --- a letter


class _Letter:
    def __init__(self, asked: Asked, delivery: Delivery, subscriber: Subscriber | None) -> None:
        self.asked, self.session, self.campaign = asked, asked.session, asked.campaign
        self.letter, self.person = delivery, subscriber
        sender = self.session.get(Sender, delivery.sender_id) if delivery.sender_id else None
        self.sender = sender.from_email if sender else ""

    def steps(self) -> Iterator[Step]:
        yield from self._who()
        yield Step(Code.planned, since=self.letter.dated_at, address=self.letter.email)
        yield from self._waited()
        yield from self._doubt_before()
        yield from self._state()
        yield from self._came_back()

    def _who(self) -> Iterator[Step]:
        if self.person is None:
            yield Step(Code.erased)
            return
        places = _places(self.asked, self.person)
        yield from _on_lists(places)
        if len(places) > 1:
            yield Step(Code.one_letter)
        if not places:
            yield Step(Code.left_lists) if self.campaign.lists else Step(Code.lists_deleted)
        if self.person.email_key != self.letter.email_key:
            yield Step(Code.moved, address=self.person.email)

    # --- what it waited for

    def _waited(self) -> Iterator[Step]:
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
            yield Step(_WAITED[cause], last.since, last.until, sender=sender, number=len(same))
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

    # --- a doubt that ended by being sent again

    def _doubt_before(self) -> Iterator[Step]:
        letter = self.letter
        if letter.decided_at is None or self._ended_as_sent:
            return
        if letter.decided_by:
            yield Step(Code.said_again, since=letter.decided_at, by=letter.decided_by)
        else:
            yield Step(Code.not_there, since=letter.decided_at, sender=self.sender)

    @property
    def _ended_as_sent(self) -> bool:
        """Whether what ended the doubt is what made it sent: one moment is noted for both."""
        letter = self.letter
        return (
            letter.status in (DeliveryStatus.sent, DeliveryStatus.bounced)
            and letter.decided_at is not None
            and letter.settled_at == letter.decided_at
        )

    # --- what it is now

    def _state(self) -> Iterator[Step]:
        match self.letter.status:
            case DeliveryStatus.pending:
                yield from self._pending()
            case DeliveryStatus.sending:
                yield Step(Code.sending, since=self._opened_at(), sender=self.sender)
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
        letter = self.letter
        return self.session.scalar(
            select(Window.opened_at).where(
                Window.campaign_id == letter.campaign_id,
                Window.first_id <= letter.id,
                Window.last_id >= letter.id,
            )
        )

    def _tried(self) -> Iterator[Step]:
        letter = self.letter
        if letter.attempts > 1:
            first = letter.first_tried_at if letter.decided_by is None else None  # set anew by "again"
            yield Step(Code.tries, since=first, number=letter.attempts)

    def _version(self) -> Iterator[Step]:
        """Which version it was, where there are several."""
        versions = self.session.execute(
            select(LetterVersion.id, LetterVersion.version).where(
                LetterVersion.campaign_id == self.campaign.id
            )
        ).all()
        for letter_id, version in versions:
            if len(versions) > 1 and letter_id == self.letter.letter_id:
                yield Step(Code.version, number=version)

    def _sent(self) -> Step:
        letter, said = self.letter, self.letter.reply
        if self._ended_as_sent and letter.decided_by:
            return Step(Code.counts_as_sent, since=letter.decided_at, by=letter.decided_by)
        if self._ended_as_sent:
            return Step(Code.looked_up, since=letter.decided_at, sender=self.sender)
        # A lane keeps the answer with every letter it settles. None, or an earlier try's: a doubt's end.
        if said is not None and not said.startswith(("4", "5")):
            return Step(Code.accepted, since=letter.settled_at, sender=self.sender, reply=said)
        return Step(Code.in_hand if self._was_seen else Code.unanswered, sender=self.sender)

    @property
    def _was_seen(self) -> bool:
        letter = self.letter
        counted = letter.opens + letter.machine_opens + letter.clicks + letter.machine_clicks
        return counted > 0 or letter.unsubscribed_at is not None

    def _failed(self) -> Step:
        letter = self.letter
        codes = {Reason.refused: Code.refused, Reason.expired: Code.expired}
        code = codes.get(letter.reason, Code.not_sent) if letter.reason else Code.not_sent
        return Step(code, since=letter.settled_at, sender=self.sender, reply=letter.reply or "")

    def _doubtful(self) -> Iterator[Step]:
        letter = self.letter
        code = Code.interrupted if letter.reason is Reason.interrupted else Code.disconnected
        yield Step(code, since=letter.settled_at, sender=self.sender, reply=letter.reply or "")
        message_id = make_message_id(letter.id, letter.token, self.campaign.message_domain)
        yield Step(Code.in_doubt, message_id=f"<{message_id}>")
        if letter.not_before is None:
            yield Step(Code.your_word)
        else:
            yield Step(Code.to_be_looked_up, until=letter.not_before, sender=self.sender)

    def _skipped(self) -> Step:
        letter = self.letter
        if letter.reason is Reason.cancelled or letter.reason is None:
            return Step(Code.stopped, since=letter.settled_at)
        today = _cause(self.asked, self.person) if self.person else None
        held = today and today.since and letter.settled_at and today.since <= letter.settled_at
        if today is not None and held and today.reason is letter.reason:
            return Step(Code.left_out, since=letter.settled_at, cause=today)
        cause = Cause(letter.reason)
        return Step(Code.left_out, since=letter.settled_at, cause=cause, words=letter.reply or "")

    # --- what it waits for

    def _pending(self) -> Iterator[Step]:
        campaign = self.campaign
        if campaign.status is CampaignStatus.cancelled:
            yield Step(Code.stopping, since=campaign.finished_at)
            return
        cause = _cause(self.asked, self.person) if self.person else Cause(Reason.erased)
        if cause is not None:
            yield Step(Code.to_be_left_out, cause=cause)
            return
        yield from self._put_off()
        if campaign.status is CampaignStatus.paused:
            yield _paused(campaign)
        elif campaign.status is CampaignStatus.sending:
            yield from self._in_the_way()
        yield from self._turn()

    def _put_off(self) -> Iterator[Step]:
        letter = self.letter
        yield from self._tried()
        if letter.not_before is not None:
            due = letter.not_before <= self.asked.now
            code = Code.due_again if due else Code.put_off
            yield Step(code, until=letter.not_before, reply=letter.reply or "")
        elif letter.reply:
            yield Step(Code.came_to_nothing, reply=letter.reply)

    def _in_the_way(self) -> Iterator[Step]:
        now = self.asked.now
        hours = Hours.of(self.campaign.hours)
        if hours is not None and not hours.is_open(now):
            yield Step(Code.hours, until=hours.next_open(now))
        account: Account = self.campaign.account
        plan = account_allowance(
            self.session, account.id, plan_of(account, self.asked.settings, now).per_day, now
        )
        if plan.waits_until is not None:
            yield Step(Code.plan, until=plan.waits_until, number=plan.limit)
        rests = [self._rest(each) for each in self.campaign.senders if each.deleted_at is None]
        if all(rests):  # as long as one of them is free, nobody waits for the others
            yield from (each for each in rests if each)

    def _rest(self, sender: Sender) -> Step | None:
        """Why nothing leaves through a sender right now; None when something may."""
        now, name, words = self.asked.now, sender.from_email, sender.error or ""
        limit = day_limit(sender, self.asked.registry)
        full_until = sender_allowance(self.session, sender.id, limit, now).waits_until
        until = sender.sleeps_until
        if sender.status is not SenderStatus.ready and until is not None and until > now:
            noted = self._noted(sender)
            if sender.failures or noted is HeldBy.trouble:
                return Step(Code.trouble, until=until, sender=name, words=words)
            full = full_until is not None or noted is HeldBy.quota
            return Step(Code.quota if full else Code.resting, until=until, sender=name)
        if sender.status is SenderStatus.failing:
            return Step(Code.failing, sender=name, words=words)
        return Step(Code.quota, until=full_until, sender=name) if full_until else None

    def _noted(self, sender: Sender) -> HeldBy | None:
        """What laid a sender to rest: its own row forgets that when a person has a look at it."""
        rest = select(Hold.cause).where(Hold.sender_id == sender.id, Hold.until == sender.sleeps_until)
        return self.session.scalars(rest.order_by(Hold.id.desc())).first()

    def _turn(self) -> Iterator[Step]:
        """How many may leave before this one: batches are taken in order, and letters within them."""
        letter, now = self.letter, self.asked.now
        if letter.not_before is not None:
            return
        of_campaign = Batch.campaign_id == self.campaign.id
        own = select(Batch.number, Batch.first_id).where(
            of_campaign, Batch.first_id <= letter.id, Batch.last_id >= letter.id
        )
        found = self.session.execute(own).first()
        if found is None:
            return
        batches = select(func.coalesce(func.sum(Batch.pending), 0)).where(
            of_campaign,
            Batch.number < found.number,
            Batch.state != BatchState.done,
            or_(Batch.not_before.is_(None), Batch.not_before <= now),
        )
        beside = select(func.count()).where(
            Delivery.id.between(found.first_id, letter.id - 1),
            Delivery.status == DeliveryStatus.pending,
            or_(Delivery.not_before.is_(None), Delivery.not_before <= now),
        )
        number = int(self.session.scalar(batches) or 0) + int(self.session.scalar(beside) or 0)
        yield Step(Code.turn, number=number) if number else Step(Code.next)

    # --- what came back

    def _came_back(self) -> Iterator[Step]:
        letter, opened = self.letter, self.letter.first_opened_at
        events = self._events()
        if EventKind.bounce in events or letter.status is DeliveryStatus.bounced:
            yield Step(Code.bounced, since=events.get(EventKind.bounce))
        if opened is not None:
            yield Step(Code.opened if letter.certain_open else Code.opened_possibly, since=opened)
        elif letter.machine_opens:
            yield Step(Code.opened_by_machine)
        elif letter.status is DeliveryStatus.sent and not letter.clicks:
            yield Step(Code.not_opened if self.campaign.track_opens else Code.opens_not_counted)
        if letter.first_clicked_at is not None:
            yield Step(Code.clicked, since=letter.first_clicked_at, number=letter.clicks)
        left = letter.unsubscribed_at or events.get(EventKind.unsubscribe)
        if left is not None:
            yield Step(Code.unsubscribed, since=left)
        back = events.get(EventKind.resubscribe)
        if back is not None and letter.unsubscribed_at is None:
            yield Step(Code.resubscribed, since=back)
        if EventKind.complaint in events:
            yield Step(Code.complained, since=events[EventKind.complaint])

    def _events(self) -> dict[EventKind, datetime]:
        """The last of each kind that a person or a server has caused."""
        rows = self.session.execute(
            select(Event.kind, func.max(Event.at).label("at"))
            .where(
                Event.delivery_id == self.letter.id,
                Event.kind.not_in([EventKind.open, EventKind.click]),
            )
            .group_by(Event.kind)
        )
        return {row.kind: row.at for row in rows}
