"""One turn of a lane: open a window, send it, settle it, and so on until the turn ends.

One commit per window: it settles the previous window and opens the next, so a slow server costs a commit per
email and a fast relay one per several hundred. No transaction is open while an email is being sent, and no
ORM object is created per email.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from ...audience.suppression import suppress
from ...backends import Limits
from ...db import DATABASE, OUT_OF_REACH, trouble_of
from ...models import Account, Campaign, CampaignStatus, Sender, SenderStatus, Subscriber, SubscriberStatus
from ...monotonic import elapsed
from ..context import SendingContext
from .connection_pool import ConnectionPool
from .journal import SLOTS, Journal
from .lease_renewer import LeaseRenewer
from .receipt_outcomes import WindowResult
from .sender_health import SenderHealth
from .window_planner import QUICK, PlannedWindow, WindowPlanner
from .window_queue import WindowQueue
from .window_settler import SentWindow, WindowSettler

log = logging.getLogger(__name__)


@dataclass
class LaneResult:
    """Result of a lane's turn."""

    settled: int = 0  # recipients with a result
    accepted: int = 0
    more: bool = False  # the turn ended before its work did


@dataclass(frozen=True)
class LaneEquipment:
    """The parts that work in a lane, created when it is entered."""

    context: SendingContext
    sender: Sender
    account: Account
    limits: Limits
    journal: Journal
    planner: WindowPlanner
    pool: ConnectionPool
    renewer: LeaseRenewer


class LaneTurn:
    """Open, send and settle window after window; add the results to ``result``."""

    def __init__(
        self,
        equipment: LaneEquipment,
        result: LaneResult,
        *,
        stopped: Callable[[], bool],
        yields: Callable[[], bool],
        progress: Callable[[WindowResult], None],
    ) -> None:
        self._context, self._sender_id = equipment.context, equipment.sender.id
        self._planner, self._pool = equipment.planner, equipment.pool
        self._batch, self._renderers = equipment.planner.batch, equipment.planner.renderers
        self._renewer = equipment.renewer
        self._result = result
        self._stopped, self._yields, self._progress = stopped, yields, progress
        self._health = SenderHealth(equipment.sender, equipment.limits)
        self._dispatcher = WindowDispatcher(equipment, stopped)
        self._settler = WindowSettler(
            equipment.context,
            self._planner,
            self._health,
            sender_id=self._sender_id,
            account_id=equipment.account.id,
            journal=equipment.journal.path.name,
        )
        self._size = WindowSize()

    def run(self, until: float) -> None:
        """Process window after window until ``until`` (of ``elapsed``) or until there is nothing to send."""
        sent: SentWindow | None = None
        while True:
            in_turn = elapsed() < until and not self._yields()
            opens_next = in_turn and not self._stopped() and not self._renewer.lost
            self._result.more = not in_turn
            planned = self._settle_and_open(sent, opens_next)
            while planned is None and self._compile_missing_email():
                planned = self._settle_and_open(None, opens_next)
            sent = None  # free the settled emails while the next ones are being sent
            if planned is None:
                return
            sent = self._dispatcher.send(planned)

    def _settle_and_open(self, sent: SentWindow | None, opens_next: bool) -> PlannedWindow | None:
        """Settle a window and open the next in one commit."""
        asked_at, claim = elapsed(), self._batch.claim
        try:
            with self._context.sessions.begin() as session:
                window_result = self._settler.settle(session, sent) if sent else None
                planned = None
                if opens_next and not (window_result and window_result.ends_turn):
                    planned = self._planner.open(session, self._size.emails, locked=sent is not None)
            DATABASE.ended(log)
        except OUT_OF_REACH as error:
            _log_database_trouble(self._sender_id, error)
            self._batch.claim = claim  # what that transaction claimed or released was rolled back
            self._renderers.missing = None
            window_result, planned = self._settler.settle_with_retries(sent), None
            self._result.more = False  # not at once: the tick queues a task when the database is back
        if planned:
            self._renewer.renewed(asked_at)
        self._renewer.claim = self._batch.claim
        self._renewer.sign_of_life()
        if sent and window_result:
            self._record(sent, window_result)
        return planned

    def _compile_missing_email(self) -> bool:
        """Compile the email that the next window lacks; return whether there is one."""
        if self._renderers.missing is None:
            return False
        try:
            self._renderers.compile_missing()
        except OUT_OF_REACH as error:
            _log_database_trouble(self._sender_id, error)
            return False
        return True

    def _record(self, sent: SentWindow, window_result: WindowResult) -> None:
        """Record a committed window: counts, progress, dead addresses, the next window's size."""
        self._health.remember(sent.window, window_result)
        self._result.settled += len(window_result.changes)
        self._result.accepted += window_result.accepted
        self._progress(window_result)
        if window_result.dead:
            self._suppress_dead_addresses(window_result)
        self._size.adapt(sent, window_result, self._pool.size)

    def _suppress_dead_addresses(self, window_result: WindowResult) -> None:
        """Suppress addresses that do not exist."""
        now = self._context.now()
        try:
            with self._context.sessions.begin() as session:
                for subscriber_id, reply in window_result.dead.items():
                    subscriber = session.get(Subscriber, subscriber_id)
                    if subscriber is not None:
                        suppress(session, subscriber, SubscriberStatus.bounced, reason=reply, now=now)
        except OUT_OF_REACH as error:  # the server will refuse them again in the next campaign
            DATABASE.began(log, "sender %s: dead addresses stay: %s", self._sender_id, trouble_of(error))


class WindowSize:
    """The size of the next window, adapted to how long the previous ones took."""

    def __init__(self) -> None:
        self.emails = 1

    def adapt(self, sent: SentWindow, window_result: WindowResult, connections: int) -> None:
        """Double the size after a fast window, and shrink it after a slow one to what fits ``QUICK``.

        Once an email was accepted, each of the open ``connections`` gets at least one.
        """
        emails = len(sent.window.items)
        if sent.window_queue.error is not None or window_result.ends_turn:
            return
        if sent.seconds < QUICK / 2 and emails >= self.emails:
            self.emails = min(SLOTS, self.emails * 2)
        elif sent.seconds > QUICK:
            self.emails = max(1, int(emails * QUICK / sent.seconds))
        if window_result.accepted:
            self.emails = max(self.emails, connections)


class WindowDispatcher:
    """Hand the emails of a window to the lane's connections."""

    def __init__(self, equipment: LaneEquipment, stopped: Callable[[], bool]) -> None:
        self._context, self._sender = equipment.context, equipment.sender
        self._renderers, self._journal = equipment.planner.renderers, equipment.journal
        self._pool, self._renewer = equipment.pool, equipment.renewer
        self._stopped = stopped

    def send(self, planned: PlannedWindow) -> SentWindow:
        """Send a window; return it with the receipts of its emails."""
        window = planned.window
        campaign_id = window.claim.campaign_id
        self._journal.begin(window.id, len(window.items))
        window_queue = WindowQueue(
            window,
            renderer=self._renderers.renderer(planned.frozen_email_id),
            sender=self._sender.from_email,
            journal=self._journal,
            list_names=planned.list_names,
            in_time=self._renewer.in_time,
            halted=lambda: self._stopped() or self._is_closed(planned.closes_at),
            wanted=lambda: self._is_still_sending(campaign_id),
            pace=planned.pace,
        )
        if planned.starts_in:
            time.sleep(planned.starts_in)
        begun = elapsed()
        try:
            self._pool.send(window_queue, len(window.items))
        finally:
            window_queue.close()
        return SentWindow(window, window_queue, planned.minute, elapsed() - begun, planned.counted)

    def _is_closed(self, closes_at: datetime | None) -> bool:
        """Return whether the campaign's sending hours are over."""
        return closes_at is not None and self._context.now() >= closes_at

    def _is_still_sending(self, campaign_id: int) -> bool:
        """Return whether neither campaign nor sender was paused or stopped since the window opened."""
        try:
            with self._context.readers() as session:
                status = session.scalar(select(Campaign.status).where(Campaign.id == campaign_id))
                sender = session.scalar(select(Sender.status).where(Sender.id == self._sender.id))
        except OUT_OF_REACH:
            return True
        return status is CampaignStatus.sending and sender is SenderStatus.ready


def _log_database_trouble(sender_id: int, error: Exception) -> None:
    DATABASE.began(log, "sender %s: the database is in trouble: %s", sender_id, trouble_of(error))
