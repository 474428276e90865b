"""Lane: one sending loop of a sender, with one database session and a few connections.

This module holds its lifecycle: acquire the lane's lease, open the backend, send, release the lease. The
emails of a turn are sent by :mod:`.lane_turn`.
"""

import gc
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from ... import ledger
from ...backends import Backend, Limits
from ...db import DATABASE, OUT_OF_REACH, UNTRACKED, trouble_of, upsert
from ...errors import BackendError, InputError, SecretUnreadable, _
from ...i18n.sentences import with_reply
from ...logs import Outage
from ...models import Account, Sender, SenderStatus
from ...models import Lane as LaneRow
from ...monotonic import elapsed
from ..context import SendingContext
from ..scheduler.restore_detector import is_forgotten
from ..scheduler.restore_detector import read as read_mark
from . import pausing
from .connection_pool import ConnectionPool
from .journal import Journal, host_name
from .lane_turn import LaneEquipment, LaneResult, LaneTurn
from .lease_renewer import LeaseRenewer
from .receipt_outcomes import WindowResult
from .window_planner import WindowPlanner

log = logging.getLogger(__name__)
JOURNALS = Outage("The folder for journals")

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


class LaneLease:
    """The lease of one lane's row, by which at most one process works in the lane."""

    def __init__(self, context: SendingContext, sender_id: int, number: int, process: str) -> None:
        self.sender_id, self.number, self.process = sender_id, number, process
        self.epoch = 0  # of the row since ``acquire``; only the newest epoch may change it
        self._context = context

    def acquire(self, session: Session) -> bool:
        """Take the lane unless another process holds an unexpired lease of it; return whether it is ours."""
        now = self._context.now()
        mine = {"lease_until": self._context.leased_until(now), "host": host_name(), "process": self.process}
        row = upsert(session, LaneRow).values(sender_id=self.sender_id, number=self.number, epoch=1, **mine)
        epoch = session.scalar(
            row.on_conflict_do_update(
                index_elements=[LaneRow.sender_id, LaneRow.number],
                set_={**mine, "epoch": LaneRow.epoch + 1},
                where=or_(LaneRow.lease_until.is_(None), LaneRow.lease_until <= now),
            ).returning(LaneRow.epoch)
        )
        self.epoch = epoch or 0
        return epoch is not None

    def release(self, session: Session) -> None:
        """End the lease now. Its timestamp stays: it orders the senders by how long they have waited."""
        session.execute(
            update(LaneRow)
            .where(
                LaneRow.sender_id == self.sender_id,
                LaneRow.number == self.number,
                LaneRow.epoch == self.epoch,
            )
            .values(lease_until=self._context.now(), host=None, process=None),
            execution_options=UNTRACKED,
        )


@dataclass(frozen=True)
class _Entered:
    """What a lane reads when it acquires its lease; fixed for the turn."""

    sender: Sender
    account: Account
    plan_limit: int | None


class LaneRunner:
    """Run one lane of one sender for one turn."""

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

    def run(self, seconds: float) -> LaneResult:
        """Send for about ``seconds``, until no recipient is due or there is a reason to stop."""
        result = LaneResult()
        process = uuid.uuid4().hex
        try:
            journal = Journal(self.context.journals, f"{process}.journal")
        except OSError as error:
            self._sleep_without_journal(error)
            return result
        JOURNALS.ended(log)
        lease = LaneLease(self.context, self.sender_id, self.number, process)
        settled = False
        try:
            equipment = self._enter(lease, journal)
            settled = equipment is None or self._work(lease, equipment, elapsed() + seconds, result)
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: the database does not let it begin: %s", self.sender_id, trouble_of(error)
            )
        finally:
            journal.close(keep=not settled)
        return result

    def _sleep_without_journal(self, error: OSError) -> None:
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
            DATABASE.began(log, "sender %s: user not notified: %s", self.sender_id, trouble_of(trouble))

    # --- enter and equip

    def _enter(self, lease: LaneLease, journal: Journal) -> LaneEquipment | None:
        """Acquire the lease and open the backend; return None when the lane cannot be entered."""
        entered = self._acquire(lease)
        if entered is None:
            return None
        try:
            backend = self.context.open_backend(entered.sender)
            limits = self.context.limits(entered.sender)
        except (BackendError, InputError, SecretUnreadable) as error:
            with self.context.sessions.begin() as session:
                pausing.mark_sender_failing(session, self.sender_id, with_reply(error), self.context.now())
                lease.release(session)
            return None
        return self._equip(lease, journal, entered, backend, limits)

    def _acquire(self, lease: LaneLease) -> _Entered | None:
        mark = read_mark(self.context.journals)
        with self.context.sessions.begin() as session:
            sender = session.get(Sender, self.sender_id)
            if sender is None or sender.deleted_at or sender.status is not SenderStatus.ready:
                return None
            if is_forgotten(session, mark):
                return None  # the tick pauses the affected campaigns and asks their users
            account = session.get_one(Account, sender.account_id)
            plan_limit = self.context.plan_limit(account, self.context.now())
            acquired = lease.acquire(session)
        return _Entered(sender, account, plan_limit) if acquired else None

    def _equip(
        self, lease: LaneLease, journal: Journal, entered: _Entered, backend: Backend, limits: Limits
    ) -> LaneEquipment:
        """Create the parts that work in this lane."""
        lanes = lanes_of(limits)
        connections = (limits.max_connections + lanes - 1 - self.number % lanes) // lanes
        return LaneEquipment(
            context=self.context,
            sender=entered.sender,
            account=entered.account,
            limits=limits,
            journal=journal,
            planner=WindowPlanner(
                self.context,
                entered.sender,
                entered.account,
                limits,
                plan_limit=entered.plan_limit,
                process=lease.process,
                journal=journal.path.name,
            ),
            pool=ConnectionPool(backend, connections),
            renewer=LeaseRenewer(
                self.context,
                sender_id=self.sender_id,
                number=self.number,
                epoch=lease.epoch,
                journal=journal.path.name,
            ),
        )

    # --- work and leave

    def _work(self, lease: LaneLease, equipment: LaneEquipment, until: float, result: LaneResult) -> bool:
        """Send until ``until`` (of ``elapsed``) and leave; return whether every window is settled."""
        _freeze_loaded_objects()
        turn = LaneTurn(
            equipment, result, stopped=self._stopped, yields=self._yields, progress=self._progress
        )
        equipment.renewer.start()
        try:
            turn.run(until)
            return self._leave(lease, equipment)
        finally:
            try:
                equipment.pool.close()
            finally:  # otherwise the renewer would keep a lane in which nothing works
                equipment.renewer.stop()

    def _leave(self, lease: LaneLease, equipment: LaneEquipment) -> bool:
        """Release the batch and the lane; return whether every window is settled."""
        try:
            with self.context.sessions.begin() as session:
                unsettled = ledger.windows_of_journal(session, equipment.journal.path.name)
                lease.release(session)  # before the batch, the order in which the renewer locks them
                equipment.planner.batch.release(session)
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: a lane could not be given back: %s", self.sender_id, trouble_of(error)
            )
            return False
        return not unsettled


_NO_JOURNAL = _(
    "Mailganer cannot record what it sends, most likely because the disk of this "
    "installation is full. Nothing is sent until there is space again; then sending "
    "resumes automatically. Contact the operator of this installation."
)
