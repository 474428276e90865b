"""A lane: the loop that sends. One sender, one database session, a few connections.

One commit a window: it settles the window before and opens the next, so that a slow mailbox costs a commit a
letter and a fast relay one per several hundred. No transaction is open while a letter is on its way, and no
object of the ORM is made per letter.
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

from ..audience.status import suppress
from ..backends import Limits
from ..campaigns.allowance import minute_of
from ..db import DATABASE, OUT_OF_REACH, UNTRACKED, trouble_of, upsert
from ..errors import BackendError, InputError, SecretUnreadable, _
from ..logs import Outage
from ..models import Account, Campaign, CampaignStatus, Sender, SenderStatus, Subscriber, SubscriberStatus
from ..models import Lane as LaneRow
from . import halt, ledger, queues, quota
from .clock import elapsed
from .crew import Crew
from .feed import Feed
from .journal import SLOTS, Journal, host_name
from .keeper import Keeper
from .ledger import Opened, Settled
from .mark import is_forgotten, put_back
from .mark import read as read_mark
from .minder import Minder
from .office import Office
from .opener import QUICK, Next, Opener
from .verdict import Verdict, judge
from .words import with_reply

log = logging.getLogger(__name__)
JOURNALS = Outage("The folder for journals")

SETTLE_FOR = 600.0  # seconds in which an unreachable database is tried again before the sweep has to settle
LANES = 4  # the most lanes of one sender
CONNECTIONS_PER_LANE = 4


def lanes_of(limits: Limits) -> int:
    """How many lanes may work for a sender at once."""
    return max(1, min(LANES, limits.max_connections // CONNECTIONS_PER_LANE))


@cache
def _keep_what_is_loaded() -> None:
    """Once a process: modules and what belongs to them stay until its end. The collector would go through all
    of it every few thousand letters, a tenth of a second each time."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Turn:
    """What a lane's turn came to."""

    settled: int = 0  # recipients of whom more is known than before
    accepted: int = 0
    more: bool = False  # the turn ended before its work did


@dataclass(frozen=True)
class Sent:
    """A window whose letters have been handed over, and is to be settled."""

    window: Opened
    feed: Feed
    minute: int  # under which its letters were taken from the quota
    took: float = 0.0
    counted: bool = False


class Lane:
    """One lane of one sender, for one turn."""

    def __init__(
        self,
        office: Office,
        sender_id: int,
        number: int = 0,
        *,
        stopped: Callable[[], bool] = lambda: False,
        yields: Callable[[], bool] = lambda: False,
        progress: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self.office, self.sender_id, self.number = office, sender_id, number
        self._stopped, self._yields, self._progress = stopped, yields, progress
        self._size = 1
        self._settled, self._accepted, self._more = 0, 0, False

    def run(self, seconds: float) -> Turn:
        """Sends for about so long, or until nobody is due, or there is a reason to stop."""
        self._name = f"{uuid.uuid4().hex}"
        try:
            self._journal = Journal(self.office.journals, f"{self._name}.journal")
        except OSError as error:
            self._rest_without_journal(error)
            return Turn()
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
        return Turn(self._settled, self._accepted, self._more)

    # --- coming and going

    def _rest_without_journal(self, error: OSError) -> None:
        """Nothing is sent that could not be noted. Its person reads why; whoever has the disk, too."""
        JOURNALS.began(
            log,
            "sender %s: there is no room for a journal, so nothing is sent: %s",
            self.sender_id,
            error,
            level=logging.ERROR,
        )
        try:
            with self.office.sessions.begin() as session:
                sender = session.get(Sender, self.sender_id)
                if sender and sender.deleted_at is None and sender.status is SenderStatus.ready:
                    halt.trouble(session, self.sender_id, _NO_JOURNAL, self.office.now(), may_fail=False)
        except OUT_OF_REACH as trouble:  # perhaps on the same disk
            DATABASE.began(log, "sender %s: nobody could be told: %s", self.sender_id, trouble_of(trouble))

    def _enter(self) -> bool:
        """Takes the lane's lease and everything that holds for this turn."""
        mark = read_mark(self.office.journals)
        with self.office.sessions.begin() as session:
            sender = session.get(Sender, self.sender_id)
            if sender is None or sender.deleted_at or sender.status is not SenderStatus.ready:
                return False
            if is_forgotten(session, mark):
                return False  # the tick asks what is to become of its campaigns
            account = session.get_one(Account, sender.account_id)
            plan_limit = self.office.plan_limit(account, self.office.now())
            epoch = self._take(session)
        if epoch is None:
            return False
        self._sender, self._account = sender, account
        self._epoch = epoch
        try:
            self._backend = self.office.open_backend(sender)
            self._limits = self.office.limits(sender)
        except (BackendError, InputError, SecretUnreadable) as error:
            with self.office.sessions.begin() as session:
                halt.fail(session, self.sender_id, with_reply(error), self.office.now())
                self._release(session)
            return False
        self._equip(plan_limit)
        return True

    def _equip(self, plan_limit: int | None) -> None:
        journal = self._journal.path.name
        self._minder = Minder(self._sender, self._limits)
        self._opener = Opener(
            self.office,
            self._sender,
            self._account,
            self._limits,
            plan_limit=plan_limit,
            process=self._name,
            journal=journal,
        )
        lanes = lanes_of(self._limits)
        share = (self._limits.max_connections + lanes - 1 - self.number % lanes) // lanes
        self._crew = Crew(self._backend, share)
        self._keeper = Keeper(
            self.office,
            sender_id=self.sender_id,
            number=self.number,
            epoch=self._epoch,
            journal=journal,
        )

    def _take(self, session: Session) -> int | None:
        now = self.office.now()
        mine = {"lease_until": self.office.leased_until(now), "host": host_name(), "process": self._name}
        row = upsert(session, LaneRow).values(sender_id=self.sender_id, number=self.number, epoch=1, **mine)
        return session.scalar(
            row.on_conflict_do_update(
                index_elements=[LaneRow.sender_id, LaneRow.number],
                set_={**mine, "epoch": LaneRow.epoch + 1},
                where=or_(LaneRow.lease_until.is_(None), LaneRow.lease_until <= now),
            ).returning(LaneRow.epoch)
        )

    def _release(self, session: Session) -> None:
        """The lease ends now. The moment stays: it says who has waited longest."""
        session.execute(
            update(LaneRow)
            .where(
                LaneRow.sender_id == self.sender_id,
                LaneRow.number == self.number,
                LaneRow.epoch == self._epoch,
            )
            .values(lease_until=self.office.now(), host=None, process=None),
            execution_options=UNTRACKED,
        )

    # --- the loop

    def _work(self, until: float) -> bool:
        """Window after window; answers whether all of it is settled."""
        _keep_what_is_loaded()
        self._keeper.start()
        sent: Sent | None = None
        try:
            while True:
                in_turn = elapsed() < until and not self._yields()
                going_on = in_turn and not self._stopped() and not self._keeper.lost
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
                self._crew.close()
            finally:  # a keeper that goes on would keep a lane that nobody works in
                self._keeper.stop()

    def _turn(self, sent: Sent | None, going_on: bool) -> Next | None:
        """One commit: settles a window and opens the next."""
        asked_at, claim = elapsed(), self._opener.claim
        try:
            with self.office.sessions.begin() as session:
                verdict = self._settle(session, sent) if sent else None
                following = None
                if going_on and not self._ends(verdict):
                    following = self._opener.open(session, self._size, locked=sent is not None)
            DATABASE.ended(log)
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: the database is in trouble: %s", self.sender_id, trouble_of(error)
            )
            self._opener.claim = claim  # what was claimed or given back in that transaction was not
            self._opener.missing = None
            verdict, following = self._settle_stubbornly(sent), None
            self._more = False  # not at once: the tick rings again when there is a database
        if following:
            self._keeper.renewed(asked_at)
        self._keeper.claim = self._opener.claim
        self._keeper.sign_of_life()
        if sent and verdict:
            self._learn(sent, verdict)
        return following

    def _compiled(self) -> bool:
        """Compile the email that is missing for the next window; False when there is none to be had."""
        if self._opener.missing is None:
            return False
        try:
            self._opener.get_ready()
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: the database is in trouble: %s", self.sender_id, trouble_of(error)
            )
            return False
        return True

    @staticmethod
    def _ends(verdict: Verdict | None) -> bool:
        """Whether the sender had to stop, or the lane is not what it believed to be."""
        return verdict is not None and any(
            (verdict.trouble, verdict.everybody, verdict.exhausted, verdict.unauthorised, verdict.late)
        )

    def _finish(self) -> bool:
        """Gives the batch and the lane back."""
        try:
            with self.office.sessions.begin() as session:
                left = ledger.of_journal(session, self._journal.path.name)
                self._release(session)  # before the batch: the keeper takes them in this order, too
                if self._opener.claim is not None:
                    ledger.let_go(session, self._opener.claim)
                    self._opener.claim = None
        except OUT_OF_REACH as error:
            DATABASE.began(
                log, "sender %s: a lane could not be given back: %s", self.sender_id, trouble_of(error)
            )
            return False
        return not left

    # --- handing over

    def _send(self, following: Next) -> Sent:
        window = following.window
        campaign_id = window.claim.campaign_id
        self._journal.begin(window.id, len(window.items))
        feed = Feed(
            window,
            printer=self._opener.printer(following.letter_id),
            sender=self._sender.from_email,
            journal=self._journal,
            list_names=following.list_names,
            in_time=self._keeper.in_time,
            halted=lambda: self._stopped() or self._is_over(following.closes_at),
            wanted=lambda: self._wanted(campaign_id),
            pace=following.pace,
        )
        if following.starts_in:
            time.sleep(following.starts_in)
        begun = elapsed()
        try:
            self._crew.send(feed, len(window.items))
        finally:
            feed.close()
        return Sent(window, feed, following.minute, elapsed() - begun, following.counted)

    def _is_over(self, closes_at: datetime | None) -> bool:
        return closes_at is not None and self.office.now() >= closes_at

    def _wanted(self, campaign_id: int) -> bool:
        """Whether nobody has paused or stopped anything since the window was opened."""
        try:
            with self.office.readers() as session:
                status = session.scalar(select(Campaign.status).where(Campaign.id == campaign_id))
                sender = session.scalar(select(Sender.status).where(Sender.id == self.sender_id))
        except OUT_OF_REACH:
            return True
        return status is CampaignStatus.sending and sender is SenderStatus.ready

    # --- settling

    def _settle(self, session: Session, sent: Sent) -> Verdict:
        now = self.office.now()
        verdict = judge(sent.window.items, sent.feed.answers, now)
        self._opener.lock(session)
        self._minder.compare(
            session, sent.window, sent.feed.answers, verdict, now, known=self._opener.refused_before
        )
        settled = ledger.settle(session, sent.window, verdict.changes, now)
        if settled is not Settled.whole:
            verdict.late = True
            if settled is Settled.forgotten:
                halt.halt(session, sent.window.claim.campaign_id, put_back(None, now), now)
            return verdict
        quota.settle(
            session,
            self.sender_id,
            self._account.id,
            minute=sent.minute,
            taken=len(sent.window.items),
            used=verdict.left,
            now=now,
        )
        campaign_id = sent.window.claim.campaign_id
        if sent.counted:
            queues.give_back(session, self.sender_id, campaign_id, sent.feed.answers.count(None))
        quota.note_left(session, campaign_id, self.sender_id, verdict.accepted, now)
        self._minder.mind(session, sent.window, sent.feed, verdict, now)
        return verdict

    def _settle_stubbornly(self, sent: Sent | None) -> Verdict | None:
        """Settles whatever it takes: what the server has accepted must not be forgotten.

        When even that fails, the journal stays, and the sweep settles by it.
        """
        until, pause = elapsed() + SETTLE_FOR, 0.1
        while True:
            try:
                with self.office.sessions.begin() as session:
                    self._give_back_unknown(session, sent)
                    verdict = self._settle(session, sent) if sent else None
                DATABASE.ended(log)
                return verdict
            except OUT_OF_REACH as error:
                if elapsed() > until:
                    log.error(
                        "sender %s: a window could not be settled: %s", self.sender_id, trouble_of(error)
                    )
                    return None
            time.sleep(pause)
            pause = min(5.0, pause * 2)

    def _give_back_unknown(self, session: Session, sent: Sent | None) -> None:
        """A COMMIT whose answer was lost may have opened a window that we do not know: nobody touched it."""
        now = self.office.now()
        for row in ledger.of_journal(session, self._journal.path.name):
            if sent is None or row.id != sent.window.id:
                changes = ledger.untouched(session, row.first_id, row.last_id)
                if ledger.settle_left_over(session, row.batch_id, row.id, changes, now):
                    quota.move_used(
                        session, self.sender_id, minute=minute_of(row.opened_at), letters=row.size
                    )
                self._opener.claim = None

    def _learn(self, sent: Sent, verdict: Verdict) -> None:
        """What the next window is made of: how quick this one was, and who has no mailbox."""
        self._minder.remember(sent.window, verdict)
        self._settled += len(verdict.changes)
        self._accepted += verdict.accepted
        self._progress(verdict)
        if verdict.dead:
            self._suppress(verdict)
        letters = len(sent.window.items)
        if sent.feed.error is not None or self._ends(verdict):
            return
        if sent.took < QUICK / 2 and letters >= self._size:
            self._size = min(SLOTS, self._size * 2)
        elif sent.took > QUICK:
            self._size = max(1, int(letters * QUICK / sent.took))
        if verdict.accepted:
            self._size = max(self._size, self._crew.size)

    def _suppress(self, verdict: Verdict) -> None:
        """Addresses that do not exist are not written to again."""
        now = self.office.now()
        try:
            with self.office.sessions.begin() as session:
                for subscriber_id, reply in verdict.dead.items():
                    subscriber = session.get(Subscriber, subscriber_id)
                    if subscriber is not None:
                        suppress(session, subscriber, SubscriberStatus.bounced, reason=reply, now=now)
        except OUT_OF_REACH as error:  # its server will say so again to the next campaign
            DATABASE.began(log, "sender %s: dead addresses stay: %s", self.sender_id, trouble_of(error))


_NO_JOURNAL = _(
    "Mailganer cannot keep a record of what it sends: most likely the disk of this installation is full. "
    "Nothing is sent until there is room again; then it goes on by itself. Tell whoever runs it."
)
