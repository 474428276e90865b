"""What the answers to a window mean for its sender and its campaign: who slows down, rests, or stops."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from ... import ledger
from ...audience.suppression import reinstate
from ...backends import Limits, Outcome, Receipt, Scope
from ...db import UNTRACKED
from ...errors import BackendError, MailganerError, ProtocolBroken, TooFast, Unreachable, _
from ...i18n.sentences import with_reply
from ...ledger import Claim, OpenWindow, Recipient
from ...models import (
    LARGEST_CAMPAIGN,
    Batch,
    BatchState,
    Delivery,
    DeliveryStatus,
    Sender,
    SentPerMinute,
    Subscriber,
    SubscriberStatus,
)
from ...quota import reservations
from ...quota.usage import minute_of, sender_allowance
from ..clock import elapsed
from . import pace, pausing, sender_queue
from .backoff import requested_delay
from .receipt_outcomes import IN_A_ROW_RENDER, RefusalStreaks, WindowResult
from .refusal_comparison import CampaignRefusals, RefusalComparison
from .refusal_pattern import RefusalPattern, is_compared
from .window_queue import Answer, WindowQueue

log = logging.getLogger(__name__)


class SenderHealth:
    """Minds one sender for one lane's turn. Writes within the transaction that settles a window."""

    def __init__(self, sender: Sender, limits: Limits) -> None:
        self._sender, self._limits = sender, limits
        self._begun, self._accepted = elapsed(), 0
        self._well = sender.failures == 0  # nothing to forgive: the sender has no troubles on record
        self._slowed = sender.slowed_to is not None  # its old pace is to be won back
        self._streaks: dict[int, RefusalStreaks] = {}

    def compare(
        self,
        session: Session,
        window: OpenWindow,
        answers: Sequence[Answer | None],
        window_result: WindowResult,
        now: datetime,
        *,
        known: bool = True,
    ) -> None:
        """Find out by comparison who the refusals of a window are about, before it is settled.

        ``known`` is false when no refusals were on record as the window was opened: then none are forgotten.
        """
        if not any(_asks_for_comparison(answer) for answer in answers):
            if window_result.accepted and known:
                kept, pattern = self._refusals(session)
                pattern.end()
                self._keep(session, pattern, kept)
            return
        kept, pattern = self._refusals(session)
        RefusalComparison(
            window.items,
            answers,
            window_result,
            pattern,
            _around(session, self._sender.id, window.claim, window.items, now),
            campaign_id=window.claim.campaign_id,
            now=now,
        ).run()
        self._keep(session, pattern, kept)

    def _refusals(self, session: Session) -> tuple[Any, RefusalPattern]:
        query = select(Sender.refusals).where(Sender.id == self._sender.id)
        kept = session.scalar(query.with_for_update(key_share=True))
        return kept, RefusalPattern.of(kept)

    def _keep(self, session: Session, pattern: RefusalPattern, before: Any) -> None:
        if pattern.kept() != before:
            session.execute(
                update(Sender).where(Sender.id == self._sender.id).values(refusals=pattern.kept()),
                execution_options=UNTRACKED,
            )

    def apply(
        self,
        session: Session,
        window: OpenWindow,
        window_queue: WindowQueue,
        window_result: WindowResult,
        now: datetime,
    ) -> None:
        """Draws the consequences of a window that is being settled."""
        self._give_back(session, window_result, now)
        self._mind_pace(session, window_queue, now)
        self._mind_sender(session, window_result, window_queue.error, now)
        self._mind_campaign(session, window, window_queue, window_result, now)

    def remember(self, window: OpenWindow, window_result: WindowResult) -> None:
        """Once it is committed: a settlement that is tried again counts nothing twice."""
        self._streaks[window.claim.campaign_id] = window_result.streaks
        self._accepted += window_result.accepted

    def _give_back(self, session: Session, window_result: WindowResult, now: datetime) -> None:
        """Those who failed, or would have, by an answer that was not about them."""
        if window_result.returned:
            ledger.note_returned(session, window_result.returned, now)
        if not window_result.give_back:
            return
        given = ledger.give_back(session, window_result.give_back, now, window_result.behind)
        rows = session.execute(
            select(Subscriber, Delivery.reply)
            .join(Delivery, Delivery.subscriber_id == Subscriber.id)
            .where(Delivery.id.in_(given), Subscriber.status == SubscriberStatus.bounced)
        )
        for subscriber, reply in rows.all():
            reinstate(session, subscriber, reason=reply or "", now=now)

    def _mind_pace(self, session: Session, window_queue: WindowQueue, now: datetime) -> None:
        """Emails that left later than was foreseen put off the next one."""
        if window_queue.last_handed is None or not self._limits.per_second:
            return
        ago = elapsed() - window_queue.last_handed
        earliest = now + timedelta(seconds=1 / self._limits.per_second - ago)
        session.execute(
            update(Sender)
            .where(Sender.id == self._sender.id, Sender.paced_until < earliest)
            .values(paced_until=earliest),
            execution_options=UNTRACKED,
        )

    def _mind_sender(
        self, session: Session, window_result: WindowResult, error: Exception | None, now: datetime
    ) -> None:
        if window_result.unauthorised is not None:
            pausing.mark_sender_failing(
                session, self._sender.id, _quote(_REFUSES, window_result.unauthorised), now
            )
        elif window_result.exhausted is not None:
            self._rest(session, window_result.exhausted, now)
        elif window_result.trouble is not None:
            if window_result.trouble.scope is Scope.account:
                self._slow_down(session, now)
            pausing.back_off(
                session,
                self._sender.id,
                _quote(_BREAKS_OFF, window_result.trouble),
                now,
                at_least=requested_delay(window_result.trouble.retry_after),
                may_fail=window_result.trouble.scope is Scope.connection,
            )
            self._well = False
        elif window_result.everybody is not None:
            pausing.back_off(
                session,
                self._sender.id,
                _quote(_REFUSES_EVERYBODY, window_result.everybody),
                now,
                at_least=requested_delay(window_result.everybody.retry_after),
            )
            self._well = False
        elif error is not None:
            self._mind_error(session, error, now)
        elif window_result.accepted:
            if self._slowed:
                pace.speed_up(session, self._sender.id, window_result.accepted)
            if not self._well:
                pausing.end_trouble(session, self._sender.id)
                self._well = True

    def _mind_error(self, session: Session, error: Exception, now: datetime) -> None:
        passing = not isinstance(error, MailganerError) or isinstance(error, Unreachable | ProtocolBroken)
        if not isinstance(error, MailganerError):
            log.error("backend %s: %r", self._sender.backend, error, exc_info=error)
        if isinstance(error, TooFast):
            self._slow_down(session, now)
        if passing:
            may_fail = not isinstance(error, TooFast)
            wait = requested_delay(error.retry_after if isinstance(error, BackendError) else None)
            pausing.back_off(
                session, self._sender.id, with_reply(error), now, at_least=wait, may_fail=may_fail
            )
        else:
            pausing.mark_sender_failing(session, self._sender.id, with_reply(error), now)
        self._well = False

    def _slow_down(self, session: Session, now: datetime) -> None:
        seconds = elapsed() - self._begun
        pace.slow_down(session, self._sender.id, self._limits, self._accepted, seconds, now)

    def _rest(self, session: Session, receipt: Receipt, now: datetime) -> None:
        """The server says it was enough: it knows its limit better than we do.

        A wait that it names is kept to. One of less than an hour says nothing about a day's limit.
        """
        wait = requested_delay(receipt.retry_after)
        if timedelta(0) < wait < reservations.UNKNOWN_USAGE:
            pausing.put_sender_to_sleep(session, self._sender.id, now + wait, now)
            return
        used = sender_allowance(session, self._sender.id, 0, now)
        if used.used:
            session.execute(
                update(Sender).where(Sender.id == self._sender.id).values(learned_per_day=used.used),
                execution_options=UNTRACKED,
            )
        until = (
            reservations.frees_at(used.oldest)
            if used.oldest is not None
            else now + reservations.UNKNOWN_USAGE
        )
        pausing.put_sender_to_sleep(session, self._sender.id, now + wait if wait else until, now)

    def _mind_campaign(
        self,
        session: Session,
        window: OpenWindow,
        window_queue: WindowQueue,
        window_result: WindowResult,
        now: datetime,
    ) -> None:
        """An email that nobody can be sent is not tried on everybody."""
        campaign_id = window.claim.campaign_id
        if window_result.unknown is not None:
            self._ask(session, window_result.unknown, window_result.doubted, now)
        streaks = window_result.streaks = self._streaks.get(campaign_id, RefusalStreaks()).copy()
        for answer in window_queue.answers:
            if answer is not None:
                streaks.note(answer)
        if streaks.unprinted >= IN_A_ROW_RENDER:
            sentence = _(
                "The email could not be made for ${number} people in a row. Check it, then go on.",
                mapping={"number": streaks.unprinted},
            )
        elif window_result.refused_email is not None:
            sentence = _(
                "The mail server refuses this email, whoever it is for. Its answer: ${reply}",
                mapping={"reply": window_result.refused_email.reply},
            )
        elif window_result.refused_alone is not None:
            sentence = _(
                "The mail server refused the only recipient left, in words that may be about your account or "
                "the email. Check both, then continue: the recipient is tried once more. "
                "Its answer: ${reply}",
                mapping={"reply": window_result.refused_alone.reply},
            )
        elif window_result.refused_for_a_day is not None:
            sentence = _(
                "For a day the mail server has refused every recipient who is left. Check the account, the "
                "email and the list, then continue: whoever is refused again counts as undeliverable. "
                "Its answer: ${reply}",
                mapping={"reply": window_result.refused_for_a_day.reply},
            )
        else:
            return
        pausing.pause_campaign(session, campaign_id, sentence, now)
        window_result.streaks = RefusalStreaks()

    @staticmethod
    def _ask(session: Session, receipt: Receipt, doubted: Sequence[int], now: datetime) -> None:
        """Let a person decide about recipients none of whom has a mailbox."""
        sentence = _(
            "The mail server says of ${number} recipients in a row that they do not exist, wherever in the "
            "list they stand. Check the list and the account, then continue: they are tried once more, and "
            "whoever is refused again has failed. Its answer: ${reply}",
            mapping={"number": len(doubted), "reply": receipt.reply},
        )
        for campaign_id in sorted({each // LARGEST_CAMPAIGN for each in doubted}):
            pausing.pause_campaign(session, campaign_id, sentence, now)


def _asks_for_comparison(answer: Answer | None) -> bool:
    if not isinstance(answer, Receipt) or answer.outcome is Outcome.accepted:
        return False
    return answer.outcome is not Outcome.refused or is_compared(answer)


def _around(
    session: Session, sender_id: int, claim: Claim, items: Sequence[Recipient], now: datetime
) -> CampaignRefusals:
    """What the database knows of the campaign's other recipients."""
    own = Delivery.id.between(claim.first_id, claim.last_id)
    left = (SentPerMinute.campaign_id == claim.campaign_id, SentPerMinute.sender_id == sender_id)

    def others_wait() -> bool:
        here = exists().where(
            own,
            Delivery.status == DeliveryStatus.pending,
            or_(Delivery.not_before.is_(None), Delivery.not_before <= now),
            Delivery.id.not_in([item.id for item in items]),
        )
        elsewhere = exists().where(
            Batch.campaign_id == claim.campaign_id,
            Batch.state == BatchState.open,
            or_(Batch.not_before.is_(None), Batch.not_before <= now),
        )
        return bool(session.scalar(select(or_(here, elsewhere))))

    def accepted_before() -> bool:
        return bool(session.scalar(select(exists().where(*left))))

    def accepted_since(moment: datetime) -> bool:
        later = exists().where(*left, SentPerMinute.minute > minute_of(moment))
        here = exists().where(
            own,
            Delivery.status == DeliveryStatus.sent,
            Delivery.sender_id == sender_id,
            Delivery.settled_at > moment,
        )
        return bool(session.scalar(select(or_(later, here))))

    def untried_wait() -> bool:
        return sender_queue.has_untried(session, sender_id, now)

    def sender_accepted_since(moment: datetime) -> bool:
        later = exists().where(
            SentPerMinute.sender_id == sender_id, SentPerMinute.minute >= minute_of(moment)
        )
        return bool(session.scalar(select(later)))

    return CampaignRefusals(others_wait, accepted_before, accepted_since, untried_wait, sender_accepted_since)


def _quote(sentence: str, receipt: Receipt) -> str:
    return sentence % {"reply": receipt.reply}


_REFUSES = _("The mail server no longer lets this account send. Its answer: ${reply}")
_REFUSES_EVERYBODY = _(
    "The mail server refuses one recipient after another in the same way, so it is not about them."
    " Its answer: ${reply}"
)
_BREAKS_OFF = _("The mail server put us off. Its answer: ${reply}")
