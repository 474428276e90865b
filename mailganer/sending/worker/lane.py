"""Lane: the loop that sends for one sender, with one database session and a few connections.

One commit per window: it settles the previous window and opens the next, so a slow server costs a commit per
email and a fast relay one per several hundred. No transaction is open while an email is being sent, and no
ORM object is created per email.
"""

import gc
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from ... import ledger
from ...audience.suppression import suppress
from ...backends import Limits
from ...db import DATABASE, OUT_OF_REACH, UNTRACKED, trouble_of, upsert
from ...errors import BackendError, InputError, SecretUnreadable, _
from ...i18n.sentences import with_reply
from ...ledger import OpenWindow, SettleResult
from ...logs import Outage
from ...models import Account, Campaign, CampaignStatus, Sender, SenderStatus, Subscriber, SubscriberStatus
from ...models import Lane as LaneRow
from ...quota import reservations
from ...quota.usage import minute_of
from ..clock import elapsed
from ..context import SendingContext
from ..scheduler.restore_detector import is_forgotten, restored_message
from ..scheduler.restore_detector import read as read_mark
from . import pausing, sender_queue
from .connection_pool import ConnectionPool
from .journal import SLOTS, Journal, host_name
from .lease_renewer import LeaseRenewer
from .receipt_outcomes import WindowResult, changes_for_window
from .sender_health import SenderHealth
from .window_planner import QUICK, PlannedWindow, WindowPlanner
from .window_queue import WindowQueue

log = logging.getLogger(__name__)
JOURNALS = Outage("The folder for journals")

SETTLE_FOR = 600.0  # seconds of retries while the database is unreachable; then the sweep has to settle
LANES = 4  # maximum number of lanes per sender
CONNECTIONS_PER_LANE = 4


def lanes_of(limits: Limits) -> int:
    """Return how many lanes may work for a sender at once."""
    return max(1, min(LANES, limits.max_connections // CONNECTIONS_PER_LANE))


@cache
def _freeze_loaded_objects() -> None:
    """Exclude loaded modules from garbage collection, once per process.

    They stay until the process ends, and the collector would scan all of them every few thousand emails,
    which takes a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class LaneTurn:
    """Result of a lane's turn."""

    settled: int = 0  # recipients with a result
    accepted: int = 0
    more: bool = False  # the turn ended before its work did


@dataclass(frozen=True)
class SentWindow:
    """A window whose emails have been handed over and that is to be settled."""

    window: OpenWindow
    window_queue: WindowQueue
    minute: int  # under which its emails were taken from the quota
    took: float = 0.0
    counted: bool = False


class LaneRunner:
    """One lane of one sender, for one turn."""

    def __init__(
        self,
        context: SendingContext,
        sender_id: int,
        number: int = 0,
        *,
        stopped: Callable[[], bool] = lambda: False,
        yields: Callable[[], bool] = lambda: False,
        progress: Callable[[WindowResult], None] = lambda window_result: None,
    ) -> None:
        self.context, self.sender_id, self.number = context, sender_id, number
        self._stopped, self._yields, self._progress = stopped, yields, progress
        self._size = 1
        self._settled, self._accepted, self._more = 0, 0, False

    def run(self, seconds: float) -> LaneTurn:
        """Send for about ``seconds``, until no recipient is due or there is a reason to stop."""
        self._name = f"{uuid.uuid4().hex}"
        try:
            self._journal = Journal(self.context.journals, f"{self._name}.journal")
        except OSError as error:
            self._rest_without_journal(error)
            return LaneTurn()
        JOURNALS.ended(log)
        settled = False
        try:
            settled = self._work(elapsed() + seconds) if self._enter() else True
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: the database does not let it begin: %s", self.sender_id, trouble_of(error)
            )
        finally:
            self._journal.close(keep=not settled)
        return LaneTurn(self._settled, self._accepted, self._more)

    # --- entering and leaving

    def _rest_without_journal(self, error: OSError) -> None:
        """Put the sender to sleep when no journal can be created: nothing is sent that could not be recorded.

        The reason is shown to the sender's user, and logged for the operator.
        """
        JOURNALS.began(
            log,
            "sender %s: there is no room for a journal, so nothing is sent: %s",
            self.sender_id,
            error,
            level=logging.ERROR,
        )
        try:
            with self.context.sessions.begin() as session:
                sender = session.get(Sender, self.sender_id)
                if sender and sender.deleted_at is None and sender.status is SenderStatus.ready:
                    pausing.back_off(session, self.sender_id, _NO_JOURNAL, self.context.now(), may_fail=False)
        except OUT_OF_REACH as trouble:  # perhaps on the same disk
            DATABASE.began(log, "sender %s: nobody could be told: %s", self.sender_id, trouble_of(trouble))

    def _enter(self) -> bool:
        """Acquire the lane's lease, and read everything that stays fixed for this turn."""
        mark = read_mark(self.context.journals)
        with self.context.sessions.begin() as session:
            sender = session.get(Sender, self.sender_id)
            if sender is None or sender.deleted_at or sender.status is not SenderStatus.ready:
                return False
            if is_forgotten(session, mark):
                return False  # the tick pauses the affected campaigns and asks their users
            account = session.get_one(Account, sender.account_id)
            plan_limit = self.context.plan_limit(account, self.context.now())
            epoch = self._take(session)
        if epoch is None:
            return False
        self._sender, self._account = sender, account
        self._epoch = epoch
        try:
            self._backend = self.context.open_backend(sender)
            self._limits = self.context.limits(sender)
        except (BackendError, InputError, SecretUnreadable) as error:
            with self.context.sessions.begin() as session:
                pausing.mark_sender_failing(session, self.sender_id, with_reply(error), self.context.now())
                self._release(session)
            return False
        self._equip(plan_limit)
        return True

    def _equip(self, plan_limit: int | None) -> None:
        journal = self._journal.path.name
        self._health = SenderHealth(self._sender, self._limits)
        self._planner = WindowPlanner(
            self.context,
            self._sender,
            self._account,
            self._limits,
            plan_limit=plan_limit,
            process=self._name,
            journal=journal,
        )
        lanes = lanes_of(self._limits)
        share = (self._limits.max_connections + lanes - 1 - self.number % lanes) // lanes
        self._pool = ConnectionPool(self._backend, share)
        self._renewer = LeaseRenewer(
            self.context,
            sender_id=self.sender_id,
            number=self.number,
            epoch=self._epoch,
            journal=journal,
        )

    def _take(self, session: Session) -> int | None:
        now = self.context.now()
        mine = {"lease_until": self.context.leased_until(now), "host": host_name(), "process": self._name}
        row = upsert(session, LaneRow).values(sender_id=self.sender_id, number=self.number, epoch=1, **mine)
        return session.scalar(
            row.on_conflict_do_update(
                index_elements=[LaneRow.sender_id, LaneRow.number],
                set_={**mine, "epoch": LaneRow.epoch + 1},
                where=or_(LaneRow.lease_until.is_(None), LaneRow.lease_until <= now),
            ).returning(LaneRow.epoch)
        )

    def _release(self, session: Session) -> None:
        """End the lease now. Its timestamp stays: it orders the senders by how long they have waited."""
        session.execute(
            update(LaneRow)
            .where(
                LaneRow.sender_id == self.sender_id,
                LaneRow.number == self.number,
                LaneRow.epoch == self._epoch,
            )
            .values(lease_until=self.context.now(), host=None, process=None),
            execution_options=UNTRACKED,
        )

    # --- the loop

    def _work(self, until: float) -> bool:
        """Process window after window; return whether everything is settled."""
        _freeze_loaded_objects()
        self._renewer.start()
        sent: SentWindow | None = None
        try:
            while True:
                in_turn = elapsed() < until and not self._yields()
                going_on = in_turn and not self._stopped() and not self._renewer.lost
                self._more = not in_turn
                following = self._turn(sent, going_on)
                while following is None and self._compiled():
                    following = self._turn(None, going_on)
                sent = None
                if following is None:
                    return self._finish()
                sent = self._send(following)
        finally:
            try:
                self._pool.close()
            finally:  # otherwise the renewer would keep a lane in which nothing works
                self._renewer.stop()

    def _turn(self, sent: SentWindow | None, going_on: bool) -> PlannedWindow | None:
        """Settle a window and open the next in one commit."""
        asked_at, claim = elapsed(), self._planner.claim
        try:
            with self.context.sessions.begin() as session:
                window_result = self._settle(session, sent) if sent else None
                following = None
                if going_on and not self._ends(window_result):
                    following = self._planner.open(session, self._size, locked=sent is not None)
            DATABASE.ended(log)
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: the database is in trouble: %s", self.sender_id, trouble_of(error)
            )
            self._planner.claim = claim  # what that transaction claimed or gave back was rolled back
            self._planner.missing = None
            window_result, following = self._settle_with_retries(sent), None
            self._more = False  # not at once: the tick queues a task again when the database is back
        if following:
            self._renewer.renewed(asked_at)
        self._renewer.claim = self._planner.claim
        self._renewer.sign_of_life()
        if sent and window_result:
            self._learn(sent, window_result)
        return following

    def _compiled(self) -> bool:
        """Compile the email that the next window lacks; return whether there is one."""
        if self._planner.missing is None:
            return False
        try:
            self._planner.get_ready()
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: the database is in trouble: %s", self.sender_id, trouble_of(error)
            )
            return False
        return True

    @staticmethod
    def _ends(window_result: WindowResult | None) -> bool:
        """Return whether the sender has to stop, or the lane has lost its window."""
        return window_result is not None and any(
            (
                window_result.trouble,
                window_result.everybody,
                window_result.exhausted,
                window_result.unauthorised,
                window_result.late,
            )
        )

    def _finish(self) -> bool:
        """Release the batch and the lane; return whether every window is settled."""
        try:
            with self.context.sessions.begin() as session:
                left = ledger.windows_of_journal(session, self._journal.path.name)
                self._release(session)  # before the batch, the order in which the renewer locks them
                if self._planner.claim is not None:
                    ledger.release(session, self._planner.claim)
                    self._planner.claim = None
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: a lane could not be given back: %s", self.sender_id, trouble_of(error)
            )
            return False
        return not left

    # --- handing over

    def _send(self, following: PlannedWindow) -> SentWindow:
        window = following.window
        campaign_id = window.claim.campaign_id
        self._journal.begin(window.id, len(window.items))
        window_queue = WindowQueue(
            window,
            renderer=self._planner.renderer(following.frozen_email_id),
            sender=self._sender.from_email,
            journal=self._journal,
            list_names=following.list_names,
            in_time=self._renewer.in_time,
            halted=lambda: self._stopped() or self._is_over(following.closes_at),
            wanted=lambda: self._wanted(campaign_id),
            pace=following.pace,
        )
        if following.starts_in:
            time.sleep(following.starts_in)
        begun = elapsed()
        try:
            self._pool.send(window_queue, len(window.items))
        finally:
            window_queue.close()
        return SentWindow(window, window_queue, following.minute, elapsed() - begun, following.counted)

    def _is_over(self, closes_at: datetime | None) -> bool:
        return closes_at is not None and self.context.now() >= closes_at

    def _wanted(self, campaign_id: int) -> bool:
        """Return whether neither campaign nor sender was paused or stopped since the window opened."""
        try:
            with self.context.readers() as session:
                status = session.scalar(select(Campaign.status).where(Campaign.id == campaign_id))
                sender = session.scalar(select(Sender.status).where(Sender.id == self.sender_id))
        except OUT_OF_REACH:
            return True
        return status is CampaignStatus.sending and sender is SenderStatus.ready

    # --- settling

    def _settle(self, session: Session, sent: SentWindow) -> WindowResult:
        now = self.context.now()
        window_result = changes_for_window(sent.window.items, sent.window_queue.answers, now)
        self._planner.lock(session)
        self._health.compare(
            session,
            sent.window,
            sent.window_queue.answers,
            window_result,
            now,
            known=self._planner.refused_before,
        )
        settled = ledger.settle(session, sent.window, window_result.changes, now)
        if settled is not SettleResult.whole:
            window_result.late = True
            if settled is SettleResult.forgotten:
                pausing.pause_campaign(
                    session, sent.window.claim.campaign_id, restored_message(None, now), now
                )
            return window_result
        reservations.settle(
            session,
            self.sender_id,
            self._account.id,
            minute=sent.minute,
            taken=len(sent.window.items),
            used=window_result.left,
            now=now,
        )
        campaign_id = sent.window.claim.campaign_id
        if sent.counted:
            sender_queue.uncount(session, self.sender_id, campaign_id, sent.window_queue.answers.count(None))
        reservations.note_left(session, campaign_id, self.sender_id, window_result.accepted, now)
        self._health.mind(session, sent.window, sent.window_queue, window_result, now)
        return window_result

    def _settle_with_retries(self, sent: SentWindow | None) -> WindowResult | None:
        """Settle, retrying for ``SETTLE_FOR`` seconds: what the server has accepted must not be forgotten.

        When even that fails, the journal stays, and the sweep settles by it.
        """
        until, pause = elapsed() + SETTLE_FOR, 0.1
        while True:
            try:
                with self.context.sessions.begin() as session:
                    self._give_back_unknown(session, sent)
                    window_result = self._settle(session, sent) if sent else None
                DATABASE.ended(log)
                return window_result
            except OUT_OF_REACH as error:
                if elapsed() > until:
                    log.error(
                        "sender %s: a window could not be settled: %s", self.sender_id, trouble_of(error)
                    )
                    return None
            time.sleep(pause)
            pause = min(5.0, pause * 2)

    def _give_back_unknown(self, session: Session, sent: SentWindow | None) -> None:
        """Give back windows that a COMMIT without a response may have opened.

        None of their emails was handed over.
        """
        now = self.context.now()
        for row in ledger.windows_of_journal(session, self._journal.path.name):
            if sent is None or row.id != sent.window.id:
                changes = ledger.untouched(session, row.first_id, row.last_id)
                if ledger.settle_left_over(session, row.batch_id, row.id, changes, now):
                    reservations.move_used(
                        session, self.sender_id, minute=minute_of(row.opened_at), emails=row.size
                    )
                self._planner.claim = None

    def _learn(self, sent: SentWindow, window_result: WindowResult) -> None:
        """Adapt the next window's size to the duration of this one, and suppress dead addresses."""
        self._health.remember(sent.window, window_result)
        self._settled += len(window_result.changes)
        self._accepted += window_result.accepted
        self._progress(window_result)
        if window_result.dead:
            self._suppress(window_result)
        emails = len(sent.window.items)
        if sent.window_queue.error is not None or self._ends(window_result):
            return
        if sent.took < QUICK / 2 and emails >= self._size:
            self._size = min(SLOTS, self._size * 2)
        elif sent.took > QUICK:
            self._size = max(1, int(emails * QUICK / sent.took))
        if window_result.accepted:
            self._size = max(self._size, self._pool.size)

    def _suppress(self, window_result: WindowResult) -> None:
        """Suppress addresses that do not exist."""
        now = self.context.now()
        try:
            with self.context.sessions.begin() as session:
                for subscriber_id, reply in window_result.dead.items():
                    subscriber = session.get(Subscriber, subscriber_id)
                    if subscriber is not None:
                        suppress(session, subscriber, SubscriberStatus.bounced, reason=reply, now=now)
        except OUT_OF_REACH as error:  # the server will refuse them again in the next campaign
            DATABASE.began(log, "sender %s: dead addresses stay: %s", self.sender_id, trouble_of(error))


_NO_JOURNAL = _(
    "Mailganer cannot keep a record of what it sends: most likely the disk of this installation is full. "
    "Nothing is sent until there is room again; then it goes on by itself. Tell whoever runs it."
)
