"""Renew a lane's leases while its process lives, however long a server takes to answer."""

import logging
from threading import Event, Thread

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from ...db import DATABASE, OUT_OF_REACH, UNTRACKED, trouble_of
from ...ledger import Claim
from ...models import Batch, Lane, Window
from ...monotonic import elapsed
from ..context import SendingContext

log = logging.getLogger(__name__)

# Seconds without any response, after which leases lapse: a hanging backend must not block recipients.
LONGEST_WAIT = 3600.0


class LeaseRenewer:
    """A thread that renews leases. A stopped process (SIGSTOP, a suspended machine) renews nothing."""

    def __init__(
        self, context: SendingContext, *, sender_id: int, number: int, epoch: int, journal: str
    ) -> None:
        self.claim: Claim | None = None  # the batch the lane holds
        self.lost = False  # another process has taken over the lane
        self._context = context
        self._lane = (Lane.sender_id == sender_id, Lane.number == number, Lane.epoch == epoch)
        self._journal = journal
        self._until = self._last_sign = elapsed()
        self._ended = Event()
        self._thread = Thread(target=self._run, name="lease-renewer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def renewed(self, asked_at: float) -> None:
        """Record that a transaction begun at ``asked_at`` (of ``elapsed``) has committed a lease."""
        self._until = max(self._until, asked_at + self._context.lease)

    def sign_of_life(self) -> None:
        self._last_sign = elapsed()

    def in_time(self) -> bool:
        """Return whether no other process can have taken over what this lane holds."""
        return elapsed() < self._until

    def _run(self) -> None:
        while not self._ended.wait(self._context.lease / 4):
            if self.in_time() and elapsed() - self._last_sign < LONGEST_WAIT:
                self._renew()

    def _renew(self) -> None:
        asked_at = elapsed()
        until = self._context.leased_until(self._context.now())
        try:
            with self._context.sessions.begin() as session:
                lane = session.execute(
                    update(Lane).where(*self._lane).values(lease_until=until), execution_options=UNTRACKED
                )
                session.execute(
                    update(Window).where(Window.journal == self._journal).values(lease_until=until),
                    execution_options=UNTRACKED,
                )
                in_windows = select(Window.batch_id).where(Window.journal == self._journal)
                held: list[ColumnElement[bool]] = [Batch.id.in_(in_windows)]
                if claim := self.claim:
                    held.append((Batch.id == claim.batch_id) & (Batch.epoch == claim.epoch))
                session.execute(
                    update(Batch).where(or_(*held)).values(lease_until=until), execution_options=UNTRACKED
                )
        except OUT_OF_REACH as error:
            DATABASE.began(log, "a lease could not be renewed: %s", trouble_of(error))
            return
        except SQLAlchemyError as error:
            log.warning("a lease could not be renewed: %s", error)
            return
        DATABASE.ended(log)
        # Count from before the transaction: if this process was stopped (SIGSTOP) during it, the lease ends
        # too early here rather than too late, so the lane never uses a batch that another process has taken
        # over.
        self.renewed(asked_at)
        self.lost = lane.rowcount == 0  # type: ignore[attr-defined]
