"""Slow down, rest or stop a sender according to the replies to its emails."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ... import ledger
from ...audience.suppression import reinstate
from ...backends import Limits, Outcome, Receipt, Scope
from ...db import UNTRACKED
from ...errors import BackendError, MailganerError, ProtocolBroken, TooFast, Unreachable, _
from ...i18n.sentences import with_reply
from ...ledger import OpenWindow
from ...models import Delivery, Sender, Subscriber, SubscriberStatus
from ...monotonic import elapsed
from ...quota import reservations
from ...quota.plan_and_sender_usage import sender_quota
from . import pace, pausing
from .backoff import SERVER_STEPS, requested_delay
from .campaign_health import CampaignHealth
from .other_recipients import OtherRecipients
from .receipt_outcomes import WindowResult
from .refusal_comparison import compare_refusals
from .refusal_pattern import BROKEN_LATELY, RefusalPattern, is_compared, recipient_domain
from .refused_window import RefusedWindow
from .window_queue import Answer, WindowQueue

log = logging.getLogger(__name__)

MOST_BROKEN = 10  # connections in a row that end with emails in doubt, until the server gets no more emails


class SenderHealth:
    """Health of one sender during one lane's turn. Writes within the transaction that settles a window."""

    def __init__(self, sender: Sender, limits: Limits) -> None:
        self._sender, self._limits = sender, limits
        self._begun, self._accepted = elapsed(), 0
        self._healthy = sender.failures == 0  # no failures are stored that an accepted email would clear
        self._slowed = sender.slowed_to is not None  # each accepted email raises its pace again
        self._campaigns = CampaignHealth()

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
        """Find out by comparison what the refusals of a window are about, before it is settled.

        ``known`` is false when nothing was stored as the window was opened: there is nothing to clear.
        """
        if not any(_needs_comparison(answer) for answer in answers):
            if window_result.accepted and known:
                stored, pattern = self._lock_refusals(session)
                pattern.clear(_accepted_domains(window, answers), int(now.timestamp()))
                self._store_refusals(session, pattern, stored)
            return
        stored, pattern = self._lock_refusals(session)
        compare_refusals(
            RefusedWindow(
                items=window.items,
                answers=answers,
                result=window_result,
                pattern=pattern,
                others=OtherRecipients(session, self._sender.id, window.claim, window.items, now),
                campaign_id=window.claim.campaign_id,
                now=now,
            )
        )
        window_result.is_of_one_recipient = pattern.is_of_one_recipient
        self._store_refusals(session, pattern, stored)

    def _lock_refusals(self, session: Session) -> tuple[Any, RefusalPattern]:
        query = select(Sender.refusals).where(Sender.id == self._sender.id)
        stored = session.scalar(query.with_for_update(key_share=True))
        return stored, RefusalPattern.from_json(stored)

    def _store_refusals(self, session: Session, pattern: RefusalPattern, stored: Any) -> None:
        refusals = pattern.as_json()
        if refusals != stored:
            session.execute(
                update(Sender).where(Sender.id == self._sender.id).values(refusals=refusals),
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
        """Apply the results of a window that is being settled to its recipients, sender and campaign."""
        campaign_id = window.claim.campaign_id
        self._give_back(session, window_result, now)
        self._keep_pace(session, window_queue, now)
        if not self._stop_or_rest(session, window_result, now):
            if window_queue.error is not None:
                self._handle_error(session, window_queue.error, now)
            elif window_result.connection_broke:
                self._rest_after_break(session, window_result, now)
            elif window_result.accepted:
                self._recover(session, window_result.accepted)
        self._campaigns.apply(session, campaign_id, window_queue.answers, window_result, now)

    def remember(self, window: OpenWindow, window_result: WindowResult) -> None:
        """Count a committed window. A settlement that is retried counts nothing twice."""
        self._campaigns.remember(window.claim.campaign_id, window_result)
        self._accepted += window_result.accepted

    def _give_back(self, session: Session, window_result: WindowResult, now: datetime) -> None:
        """Make recipients pending again whose refusal was not about them."""
        if window_result.returned:
            ledger.note_returned(session, window_result.returned, now)
        if not window_result.give_back:
            return
        given_back = ledger.give_back(session, window_result.give_back, now, window_result.not_before)
        rows = session.execute(
            select(Subscriber, Delivery.reply)
            .join(Delivery, Delivery.subscriber_id == Subscriber.id)
            .where(Delivery.id.in_(given_back), Subscriber.status == SubscriberStatus.bounced)
        )
        for subscriber, reply in rows.all():
            reinstate(session, subscriber, reason=reply or "", now=now)

    def _keep_pace(self, session: Session, window_queue: WindowQueue, now: datetime) -> None:
        """Delay the next email by as much as the last one of the window left later than planned."""
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

    def _stop_or_rest(self, session: Session, window_result: WindowResult, now: datetime) -> bool:
        """Stop or rest the sender as its server demands; return False when it demands neither."""
        if window_result.unauthorised is not None:
            error = _with_server_reply(_REFUSES, window_result.unauthorised)
            pausing.mark_sender_failing(session, self._sender.id, error, now)
        elif window_result.exhausted is not None:
            self._sleep_until_quota_frees(session, window_result.exhausted, now)
        elif window_result.trouble is not None:
            scope = window_result.trouble.scope
            lone = window_result.is_of_one_recipient
            if scope is Scope.account and not lone:
                self._slow_down(session, now)
            may_fail = scope is Scope.connection and not lone
            self._back_off(session, _BREAKS_OFF, window_result.trouble, now, may_fail=may_fail)
        elif window_result.refused_in_a_row is not None:
            self._back_off(session, _REFUSES_IN_A_ROW, window_result.refused_in_a_row, now)
        else:
            return False
        return True

    def _rest_after_break(self, session: Session, window_result: WindowResult, now: datetime) -> None:
        """Rest before the next email, since each attempt may leave another one in doubt.

        One broken connection is reopened at once. After ``MOST_BROKEN`` in a row no further email is risked
        until a user checks the sender.
        """
        if window_result.accepted:
            self._recover(session, window_result.accepted)
        lately = window_result.broken_lately - BROKEN_LATELY
        rest = SERVER_STEPS[min(lately, len(SERVER_STEPS) - 1)] if lately >= 0 else timedelta(0)
        if window_result.broken_in_a_row >= MOST_BROKEN:
            pausing.mark_sender_failing(session, self._sender.id, _GIVES_NO_REPLY, now)
        elif window_result.broken_in_a_row > 1 or rest:
            may_fail = not window_result.accepted
            pausing.back_off(session, self._sender.id, _GIVES_NO_REPLY, now, at_least=rest, may_fail=may_fail)
        else:
            return
        self._healthy = False

    def _back_off(
        self, session: Session, sentence: str, receipt: Receipt, now: datetime, *, may_fail: bool = True
    ) -> None:
        pausing.back_off(
            session,
            self._sender.id,
            _with_server_reply(sentence, receipt),
            now,
            at_least=requested_delay(receipt.retry_after),
            may_fail=may_fail,
        )
        self._healthy = False

    def _recover(self, session: Session, accepted: int) -> None:
        """Speed up a slowed sender and clear its failures, because emails were accepted."""
        if self._slowed:
            pace.speed_up(session, self._sender.id, accepted)
        if not self._healthy:
            pausing.end_trouble(session, self._sender.id)
            self._healthy = True

    def _handle_error(self, session: Session, error: Exception, now: datetime) -> None:
        """Back off after a temporary error of the backend; mark the sender failing after any other."""
        temporary = not isinstance(error, MailganerError) or isinstance(error, Unreachable | ProtocolBroken)
        if not isinstance(error, MailganerError):
            log.error("backend %s: %r", self._sender.backend, error, exc_info=error)
        if isinstance(error, TooFast):
            self._slow_down(session, now)
        if temporary:
            pausing.back_off(
                session,
                self._sender.id,
                with_reply(error),
                now,
                at_least=requested_delay(error.retry_after if isinstance(error, BackendError) else None),
                may_fail=not isinstance(error, TooFast),
            )
        else:
            pausing.mark_sender_failing(session, self._sender.id, with_reply(error), now)
        self._healthy = False

    def _slow_down(self, session: Session, now: datetime) -> None:
        seconds = elapsed() - self._begun
        pace.slow_down(session, self._sender.id, self._limits, self._accepted, seconds, now)

    def _sleep_until_quota_frees(self, session: Session, receipt: Receipt, now: datetime) -> None:
        """Learn the server's limit from a reply that it is used up, and sleep until some of it is free.

        A wait that the reply names is kept. One of less than an hour is not about a daily limit.
        """
        wait = requested_delay(receipt.retry_after)
        if timedelta(0) < wait < reservations.UNKNOWN_USAGE:
            pausing.put_sender_to_sleep(session, self._sender.id, now + wait, now)
            return
        used = sender_quota(session, self._sender.id, 0, now)
        if used.used:
            session.execute(
                update(Sender).where(Sender.id == self._sender.id).values(learned_per_day=used.used),
                execution_options=UNTRACKED,
            )
        if wait:
            until = now + wait
        elif used.oldest is not None:
            until = reservations.frees_at(used.oldest)
        else:
            until = now + reservations.UNKNOWN_USAGE
        pausing.put_sender_to_sleep(session, self._sender.id, until, now)


def _accepted_domains(window: OpenWindow, answers: Sequence[Answer | None]) -> set[str]:
    return {
        recipient_domain(item.address)
        for item, answer in zip(window.items, answers, strict=True)
        if isinstance(answer, Receipt) and answer.outcome is Outcome.accepted
    }


def _needs_comparison(answer: Answer | None) -> bool:
    """Return whether an answer is a refusal that is compared with those of other recipients."""
    if not isinstance(answer, Receipt) or answer.outcome is Outcome.accepted:
        return False
    return answer.outcome is not Outcome.refused or is_compared(answer)


def _with_server_reply(sentence: str, receipt: Receipt) -> str:
    return sentence % {"reply": receipt.reply}


_REFUSES = _("The mail server no longer allows this account to send. Server reply: ${reply}")
_REFUSES_IN_A_ROW = _(
    "The mail server rejects one recipient after another in the same way, so the "
    "recipients are not the cause. Server reply: ${reply}"
)
_BREAKS_OFF = _("The mail server asked Mailganer to wait. Server reply: ${reply}")
_GIVES_NO_REPLY = _(
    "The mail server closes the connection without a reply after it has received an email. "
    "It is unknown whether the email was delivered."
)
