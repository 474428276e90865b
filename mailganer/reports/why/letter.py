"""What became of a letter, from the list its person is on to what came back."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select

from ...models import (
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    LetterVersion,
    Reason,
    Sender,
    Subscriber,
    Window,
    make_message_id,
)
from ..steps import Cause, Code, Step
from .asked import Asked, cause_of, on_lists, paused, places_of
from .came_back import came_back
from .waited import Waited
from .waiting import in_the_way, turn


class Letter:
    """The way of one letter. Its person may have been deleted."""

    def __init__(self, asked: Asked, delivery: Delivery, subscriber: Subscriber | None) -> None:
        self.asked, self.session, self.campaign = asked, asked.session, asked.campaign
        self.letter, self.person = delivery, subscriber
        sender = self.session.get(Sender, delivery.sender_id) if delivery.sender_id else None
        self.sender = sender.from_email if sender else ""

    def steps(self) -> Iterator[Step]:
        """One after the other, as they happened."""
        yield from self._who()
        yield Step(Code.planned, since=self.letter.dated_at, address=self.letter.email)
        yield from Waited(self.asked, self.letter).steps()
        yield from self._doubt_before()
        if self.letter.returned_at is not None:
            yield Step(Code.returned, since=self.letter.returned_at)
        yield from self._state()
        yield from came_back(self.asked, self.letter)

    def _who(self) -> Iterator[Step]:
        if self.person is None:
            yield Step(Code.erased)
            return
        places = places_of(self.asked, self.person)
        yield from on_lists(places)
        if len(places) > 1:
            yield Step(Code.one_letter)
        if not places:
            yield Step(Code.left_lists) if self.campaign.lists else Step(Code.lists_deleted)
        if self.person.email_key != self.letter.email_key:
            yield Step(Code.moved, address=self.person.email)

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
        today = cause_of(self.asked, self.person) if self.person else None
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
        cause = cause_of(self.asked, self.person) if self.person else Cause(Reason.erased)
        if cause is not None:
            yield Step(Code.to_be_left_out, cause=cause)
            return
        yield from self._put_off()
        if campaign.status is CampaignStatus.paused:
            yield paused(campaign)
        elif campaign.status is CampaignStatus.sending:
            yield from in_the_way(self.asked)
        yield from turn(self.asked, self.letter)

    def _put_off(self) -> Iterator[Step]:
        letter = self.letter
        yield from self._tried()
        if letter.not_before is not None:
            due = letter.not_before <= self.asked.now
            code = Code.due_again if due else Code.put_off
            yield Step(code, until=letter.not_before, reply=letter.reply or "")
        elif letter.reply:
            yield Step(Code.came_to_nothing, reply=letter.reply)
