"""What the answers to a window mean for its sender and its campaign: who slows down, rests, or stops."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from ..audience.status import reinstate
from ..backends import Limits, Outcome, Receipt, Scope
from ..campaigns.allowance import minute_of, sender_allowance
from ..db import UNTRACKED
from ..errors import BackendError, MailganerError, ProtocolBroken, TooFast, Unreachable, _
from ..models import (
    LARGEST_CAMPAIGN,
    Batch,
    BatchState,
    Delivery,
    DeliveryStatus,
    Departure,
    Sender,
    Subscriber,
    SubscriberStatus,
)
from . import halt, ledger, pace, queues, quota
from .clock import elapsed
from .comparison import CampaignContext, Comparison
from .feed import Answer, Feed
from .ledger import Claim, Opened, Recipient
from .refusal_pattern import RefusalPattern, is_compared
from .retry import named_rest
from .verdict import IN_A_ROW_RENDER, Streaks, Verdict
from .words import with_reply

log = logging.getLogger(__name__)


class Minder:
    """Minds one sender for one lane's turn. Writes within the transaction that settles a window."""

    def __init__(self, sender: Sender, limits: Limits) -> None:
        self._sender, self._limits = sender, limits
        self._begun, self._accepted = elapsed(), 0
        self._well = sender.failures == 0  # nothing to forgive: the sender has no troubles on record
        self._slowed = sender.slowed_to is not None  # its old pace is to be won back
        self._streaks: dict[int, Streaks] = {}

    def compare(
        self,
        session: Session,
        window: Opened,
        answers: Sequence[Answer | None],
        verdict: Verdict,
        now: datetime,
        *,
        known: bool = True,
    ) -> None:
        """Find out by comparison who the refusals of a window are about, before it is settled.

        ``known`` is false when no refusals were on record as the window was opened: then none are forgotten.
        """
        if not any(_asks_for_comparison(answer) for answer in answers):
            if verdict.accepted and known:
                kept, pattern = self._refusals(session)
                pattern.end()
                self._keep(session, pattern, kept)
            return
        kept, pattern = self._refusals(session)
        Comparison(
            window.items,
            answers,
            verdict,
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

    def mind(self, session: Session, window: Opened, feed: Feed, verdict: Verdict, now: datetime) -> None:
        """Draws the consequences of a window that is being settled."""
        self._give_back(session, verdict, now)
        self._mind_pace(session, feed, now)
        self._mind_sender(session, verdict, feed.error, now)
        self._mind_campaign(session, window, feed, verdict, now)

    def remember(self, window: Opened, verdict: Verdict) -> None:
        """Once it is committed: a settlement that is tried again counts nothing twice."""
        self._streaks[window.claim.campaign_id] = verdict.streaks
        self._accepted += verdict.accepted

    def _give_back(self, session: Session, verdict: Verdict, now: datetime) -> None:
        """Those who failed, or would have, by an answer that was not about them."""
        if verdict.returned:
            ledger.note_returned(session, verdict.returned, now)
        if not verdict.give_back:
            return
        given = ledger.give_back(session, verdict.give_back, now, verdict.behind)
        rows = session.execute(
            select(Subscriber, Delivery.reply)
            .join(Delivery, Delivery.subscriber_id == Subscriber.id)
            .where(Delivery.id.in_(given), Subscriber.status == SubscriberStatus.bounced)
        )
        for subscriber, reply in rows.all():
            reinstate(session, subscriber, reason=reply or "", now=now)

    def _mind_pace(self, session: Session, feed: Feed, now: datetime) -> None:
        """Letters that left later than was foreseen put off the next one."""
        if feed.last_handed is None or not self._limits.per_second:
            return
        ago = elapsed() - feed.last_handed
        earliest = now + timedelta(seconds=1 / self._limits.per_second - ago)
        session.execute(
            update(Sender)
            .where(Sender.id == self._sender.id, Sender.paced_until < earliest)
            .values(paced_until=earliest),
            execution_options=UNTRACKED,
        )

    def _mind_sender(
        self, session: Session, verdict: Verdict, error: Exception | None, now: datetime
    ) -> None:
        if verdict.unauthorised is not None:
            halt.fail(session, self._sender.id, _quote(_REFUSES, verdict.unauthorised), now)
        elif verdict.exhausted is not None:
            self._rest(session, verdict.exhausted, now)
        elif verdict.trouble is not None:
            if verdict.trouble.scope is Scope.account:
                self._slow_down(session, now)
            halt.trouble(
                session,
                self._sender.id,
                _quote(_BREAKS_OFF, verdict.trouble),
                now,
                at_least=named_rest(verdict.trouble.retry_after),
                may_fail=verdict.trouble.scope is Scope.connection,
            )
            self._well = False
        elif verdict.everybody is not None:
            halt.trouble(
                session,
                self._sender.id,
                _quote(_REFUSES_EVERYBODY, verdict.everybody),
                now,
                at_least=named_rest(verdict.everybody.retry_after),
            )
            self._well = False
        elif error is not None:
            self._mind_error(session, error, now)
        elif verdict.accepted:
            if self._slowed:
                pace.quicken(session, self._sender.id, verdict.accepted)
            if not self._well:
                halt.well(session, self._sender.id)
                self._well = True

    def _mind_error(self, session: Session, error: Exception, now: datetime) -> None:
        passing = not isinstance(error, MailganerError) or isinstance(error, Unreachable | ProtocolBroken)
        if not isinstance(error, MailganerError):
            log.error("backend %s: %r", self._sender.backend, error, exc_info=error)
        if isinstance(error, TooFast):
            self._slow_down(session, now)
        if passing:
            may_fail = not isinstance(error, TooFast)
            wait = named_rest(error.retry_after if isinstance(error, BackendError) else None)
            halt.trouble(session, self._sender.id, with_reply(error), now, at_least=wait, may_fail=may_fail)
        else:
            halt.fail(session, self._sender.id, with_reply(error), now)
        self._well = False

    def _slow_down(self, session: Session, now: datetime) -> None:
        seconds = elapsed() - self._begun
        pace.slow_down(session, self._sender.id, self._limits, self._accepted, seconds, now)

    def _rest(self, session: Session, receipt: Receipt, now: datetime) -> None:
        """The server says it was enough: it knows its limit better than we do.

        A wait that it names is kept to. One of less than an hour says nothing about a day's limit.
        """
        wait = named_rest(receipt.retry_after)
        if timedelta(0) < wait < quota.UNKNOWN_USAGE:
            halt.rest(session, self._sender.id, now + wait, now)
            return
        used = sender_allowance(session, self._sender.id, 0, now)
        if used.used:
            session.execute(
                update(Sender).where(Sender.id == self._sender.id).values(learned_per_day=used.used),
                execution_options=UNTRACKED,
            )
        until = quota.frees_at(used.oldest) if used.oldest is not None else now + quota.UNKNOWN_USAGE
        halt.rest(session, self._sender.id, now + wait if wait else until, now)

    def _mind_campaign(
        self, session: Session, window: Opened, feed: Feed, verdict: Verdict, now: datetime
    ) -> None:
        """A letter that nobody can be sent is not tried on everybody."""
        campaign_id = window.claim.campaign_id
        if verdict.unknown is not None:
            self._ask(session, verdict.unknown, verdict.doubted, now)
        streaks = verdict.streaks = self._streaks.get(campaign_id, Streaks()).copy()
        for answer in feed.answers:
            if answer is not None:
                streaks.note(answer)
        if streaks.unprinted >= IN_A_ROW_RENDER:
            sentence = _(
                "The letter could not be made for ${number} people in a row. Check it, then go on.",
                mapping={"number": streaks.unprinted},
            )
        elif verdict.refused_email is not None:
            sentence = _(
                "The mail server refuses this letter, whoever it is for. Its answer: ${reply}",
                mapping={"reply": verdict.refused_email.reply},
            )
        elif verdict.refused_alone is not None:
            sentence = _(
                "The mail server refused the only recipient left, in words that may be about your account or "
                "the email. Check both, then continue: the recipient is tried once more. "
                "Its answer: ${reply}",
                mapping={"reply": verdict.refused_alone.reply},
            )
        elif verdict.refused_for_a_day is not None:
            sentence = _(
                "For a day the mail server has refused every recipient who is left. Check the account, the "
                "email and the list, then continue: whoever is refused again counts as undeliverable. "
                "Its answer: ${reply}",
                mapping={"reply": verdict.refused_for_a_day.reply},
            )
        else:
            return
        halt.halt(session, campaign_id, sentence, now)
        verdict.streaks = Streaks()

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
            halt.halt(session, campaign_id, sentence, now)


def _asks_for_comparison(answer: Answer | None) -> bool:
    if not isinstance(answer, Receipt) or answer.outcome is Outcome.accepted:
        return False
    return answer.outcome is not Outcome.refused or is_compared(answer)


def _around(
    session: Session, sender_id: int, claim: Claim, items: Sequence[Recipient], now: datetime
) -> CampaignContext:
    """What the database knows of the campaign's other recipients."""
    own = Delivery.id.between(claim.first_id, claim.last_id)
    left = (Departure.campaign_id == claim.campaign_id, Departure.sender_id == sender_id)

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
        later = exists().where(*left, Departure.minute > minute_of(moment))
        here = exists().where(
            own,
            Delivery.status == DeliveryStatus.sent,
            Delivery.sender_id == sender_id,
            Delivery.settled_at > moment,
        )
        return bool(session.scalar(select(or_(later, here))))

    def untried_wait() -> bool:
        return queues.has_untried(session, sender_id, now)

    def sender_accepted_since(moment: datetime) -> bool:
        later = exists().where(Departure.sender_id == sender_id, Departure.minute >= minute_of(moment))
        return bool(session.scalar(select(later)))

    return CampaignContext(others_wait, accepted_before, accepted_since, untried_wait, sender_accepted_since)


def _quote(sentence: str, receipt: Receipt) -> str:
    return sentence % {"reply": receipt.reply}


_REFUSES = _("The mail server no longer lets this account send. Its answer: ${reply}")
_REFUSES_EVERYBODY = _(
    "The mail server refuses one recipient after another in the same way, so it is not about them."
    " Its answer: ${reply}"
)
_BREAKS_OFF = _("The mail server put us off. Its answer: ${reply}")
