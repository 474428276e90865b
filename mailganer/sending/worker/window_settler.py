"""Settle windows: write the receipts of their emails to the ledger, the quota and the sender."""

import logging
import time
from dataclasses import dataclass

from sqlalchemy.orm import Session

from ... import ledger
from ...db import DATABASE, OUT_OF_REACH, trouble_of
from ...ledger import OpenWindow, SettleResult
from ...monotonic import elapsed
from ...quota import reservations
from ...quota.plan_and_sender_usage import minute_of
from ..context import SendingContext
from ..scheduler.restore_detector import restored_message
from . import pausing, sender_queue
from .receipt_outcomes import WindowResult, changes_for_window
from .sender_health import SenderHealth
from .window_planner import WindowPlanner
from .window_queue import WindowQueue

log = logging.getLogger(__name__)

SETTLE_FOR = 600.0  # seconds of retries while the database is unreachable; then the sweep has to settle


@dataclass(frozen=True)
class SentWindow:
    """A window whose emails have been handed over and that is to be settled."""

    window: OpenWindow
    window_queue: WindowQueue
    minute: int  # under which its emails were taken from the quota
    seconds: float = 0.0  # of sending
    counted: bool = False


class WindowSettler:
    """Settle the windows of one lane."""

    def __init__(
        self,
        context: SendingContext,
        planner: WindowPlanner,
        health: SenderHealth,
        *,
        sender_id: int,
        account_id: int,
        journal: str,
    ) -> None:
        self._context, self._planner, self._health = context, planner, health
        self._sender_id, self._account_id, self._journal = sender_id, account_id, journal

    def settle(self, session: Session, sent: SentWindow) -> WindowResult:
        """Write a window's results within the caller's transaction."""
        now = self._context.now()
        window, answers = sent.window, sent.window_queue.answers
        campaign_id = window.claim.campaign_id
        window_result = changes_for_window(window.items, answers, now)
        self._planner.lock(session)
        known = self._planner.refused_before
        self._health.compare(session, window, answers, window_result, now, known=known)
        settled = ledger.settle(session, window, window_result.changes, now)
        if settled is not SettleResult.whole:
            window_result.late = True
            if settled is SettleResult.forgotten:
                pausing.pause_campaign_with_reason(session, campaign_id, restored_message(None, now), now)
            return window_result
        reservations.settle_reservation(
            session,
            self._sender_id,
            self._account_id,
            minute=sent.minute,
            taken=len(window.items),
            used=window_result.quota_used,
            now=now,
        )
        if sent.counted:
            sender_queue.uncount(session, self._sender_id, campaign_id, answers.count(None))
        reservations.note_left(session, campaign_id, self._sender_id, window_result.accepted, now)
        self._health.apply(session, window, sent.window_queue, window_result, now)
        return window_result

    def settle_with_retries(self, sent: SentWindow | None) -> WindowResult | None:
        """Settle, retrying for ``SETTLE_FOR`` seconds: what the server has accepted must not be forgotten.

        When even that fails, the journal stays, and the sweep settles by it.
        """
        until, pause = elapsed() + SETTLE_FOR, 0.1
        while True:
            try:
                with self._context.sessions.begin() as session:
                    self._settle_unsent_windows(session, sent)
                    window_result = self.settle(session, sent) if sent else None
                DATABASE.ended(log)
                return window_result
            except OUT_OF_REACH as error:
                if elapsed() > until:
                    log.error(
                        "sender %s: a window could not be settled: %s", self._sender_id, trouble_of(error)
                    )
                    return None
            time.sleep(pause)
            pause = min(5.0, pause * 2)

    def _settle_unsent_windows(self, session: Session, sent: SentWindow | None) -> None:
        """Release the recipients of windows that a COMMIT without a response may have opened.

        None of their emails was handed over.
        """
        now = self._context.now()
        for row in ledger.windows_of_journal(session, self._journal):
            if sent is None or row.id != sent.window.id:
                changes = ledger.untouched(session, row.first_id, row.last_id)
                if ledger.settle_left_over(session, row.batch_id, row.id, changes, now):
                    reservations.move_used(
                        session, self._sender_id, minute=minute_of(row.opened_at), emails=row.size
                    )
                self._planner.batch.claim = None
