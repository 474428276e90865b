"""A lane: the loop that sends. One sender, one database session, a few connections.

One commit a window: it settles the window before and opens the next, so that a slow mailbox costs a commit a
letter and a fast relay one per several hundred. No transaction is open while a letter is on its way, and no
object of the ORM is made per letter.
"""

import gc
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Table, bindparam, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..audience.status import suppress
from ..backends import Limits, Receipt, Scope
from ..campaigns import holds
from ..campaigns.allowance import minute_of, sender_allowance
from ..campaigns.hours import Hours
from ..db import OUT_OF_REACH, trouble_of
from ..errors import (
    BackendError,
    InputError,
    LetterError,
    MailganerError,
    ProtocolBroken,
    SecretUnreadable,
    TooFast,
    Unreachable,
    _,
)
from ..models import (
    Account,
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Sender,
    SenderStatus,
    Subscriber,
    SubscriberStatus,
    campaign_sender,
)
from ..models import (
    Lane as LaneRow,
)
from . import halt, ledger, pace, quota
from .clock import elapsed
from .crew import Crew
from .feed import Feed
from .journal import SLOTS, Journal, host_name
from .keeper import Keeper
from .ledger import Claim, Opened, Settled
from .mark import is_forgotten, put_back
from .mark import read as read_mark
from .office import Office
from .printer import Printer
from .verdict import IN_A_ROW_REFUSED, IN_A_ROW_RENDER, Streaks, Verdict, judge
from .words import together

log = logging.getLogger(__name__)

QUICK = 0.25  # seconds a window should take: how long a "pause" may take, and what is lost with a machine
SETTLE_FOR = 600.0  # seconds in which an unreachable database is tried again before the sweep has to settle
SHORT_WAIT = 5.0  # seconds of pace that are waited for in place; a longer wait leaves the lane to others
UNKNOWN_USAGE = timedelta(hours=1)  # after "enough for today" from a server that we have sent nothing to
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
class _Sent:
    """A window whose letters have been handed over, and is to be settled."""

    window: Opened
    feed: Feed
    minute: int  # under which its letters were taken from the quota
    took: float = 0.0


@dataclass(frozen=True)
class _Next:
    """A window just opened, with what it needs on its way."""

    window: Opened
    minute: int
    letter_id: int
    list_names: Any
    starts_in: float = 0.0  # seconds until its first letter may leave
    pace: float = 0.0
    closes_at: datetime | None = None  # when the campaign's sending hours end


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
        self._claim: Claim | None = None
        self._size = 1
        self._last_campaign = random.getrandbits(31)
        self._streaks: dict[int, Streaks] = {}
        self._printers: dict[int, Printer] = {}
        self._settled, self._accepted, self._more = 0, 0, False
        self._well = True  # nothing to forgive: the sender has no troubles on record
        self._slowed = False  # its server asked it to slow down, and its old pace is to be won back

    def run(self, seconds: float) -> Turn:
        """Sends for about so long, or until nobody is due, or there is a reason to stop."""
        self._name = f"{uuid.uuid4().hex}"
        try:
            self._journal = Journal(self.office.journals, f"{self._name}.journal")
        except OSError as error:
            self._rest_without_journal(error)
            return Turn()
        self._begun = elapsed()
        settled = False
        try:
            settled = self._work(elapsed() + seconds) if self._enter() else True
        except OUT_OF_REACH as error:
            log.warning(
                "sender %s: the database does not let it begin: %s", self.sender_id, trouble_of(error)
            )
        finally:
            self._journal.close(keep=not settled)
        return Turn(self._settled, self._accepted, self._more)

    # --- coming and going

    def _rest_without_journal(self, error: OSError) -> None:
        """Nothing is sent that could not be noted. Its person reads why; whoever has the disk, too."""
        log.error("sender %s: there is no room for a journal, so nothing is sent: %s", self.sender_id, error)
        try:
            with self.office.sessions.begin() as session:
                sender = session.get(Sender, self.sender_id)
                if sender and sender.deleted_at is None and sender.status is SenderStatus.ready:
                    halt.trouble(session, self.sender_id, _NO_JOURNAL, self.office.now(), may_fail=False)
        except OUT_OF_REACH as trouble:  # perhaps on the same disk
            log.warning("sender %s: nobody could be told: %s", self.sender_id, trouble_of(trouble))

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
            epoch = self._take(session)
        if epoch is None:
            return False
        self._sender, self._account = sender, account
        self._epoch = epoch
        self._well = sender.failures == 0
        self._slowed = sender.slowed_to is not None
        try:
            self._backend = self.office.open_backend(sender)
            self._limits = self.office.limits(sender)
        except (BackendError, InputError, SecretUnreadable) as error:
            with self.office.sessions.begin() as session:
                halt.fail(session, self.sender_id, self._sentence(error), self.office.now())
                self._release(session)
            return False
        self._plan_limit = self.office.plan_limit(account, self.office.now())
        lanes = lanes_of(self._limits)
        share = (self._limits.max_connections + lanes - 1 - self.number % lanes) // lanes
        self._crew = Crew(self._backend, share)
        self._keeper = Keeper(
            self.office,
            sender_id=self.sender_id,
            number=self.number,
            epoch=epoch,
            journal=self._journal.path.name,
        )
        return True

    def _take(self, session: Session) -> int | None:
        now = self.office.now()
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        mine = {"lease_until": self._lease(now), "host": host_name(), "process": self._name}
        row = dialect.insert(LaneRow).values(sender_id=self.sender_id, number=self.number, epoch=1, **mine)
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
            execution_options=ledger.UNTRACKED,
        )

    def _lease(self, now: datetime) -> datetime:
        return now + self.office.span(self.office.lease)

    # --- the loop

    def _work(self, until: float) -> bool:
        """Window after window; answers whether all of it is settled."""
        _keep_what_is_loaded()
        self._keeper.start()
        sent: _Sent | None = None
        try:
            while True:
                in_turn = elapsed() < until and not self._yields()
                going_on = in_turn and not self._stopped() and not self._keeper.lost
                self._more = not in_turn
                following = self._turn(sent, going_on)
                sent = None
                if following is None:
                    return self._finish()
                sent = self._send(following)
        finally:
            self._crew.close()
            self._keeper.stop()

    def _turn(self, sent: _Sent | None, going_on: bool) -> _Next | None:
        """One commit: settles a window and opens the next."""
        asked_at, claim = elapsed(), self._claim
        try:
            with self.office.sessions.begin() as session:
                verdict = self._settle(session, sent) if sent else None
                following = self._open(session) if going_on and not self._ends(verdict) else None
        except OUT_OF_REACH as error:
            log.warning("sender %s: the database is in trouble: %s", self.sender_id, trouble_of(error))
            self._claim = claim  # what was claimed or given back in that transaction was not
            verdict, following = self._settle_stubbornly(sent), None
            self._more = False  # not at once: the tick rings again when there is a database
        if following:
            self._keeper.renewed(asked_at)
        self._keeper.claim = self._claim
        self._keeper.sign_of_life()
        if sent and verdict:
            self._learn(sent, verdict)
        return following

    @staticmethod
    def _ends(verdict: Verdict | None) -> bool:
        """Whether the sender had to stop, or the lane is not what it believed to be."""
        return verdict is not None and any(
            (verdict.trouble, verdict.exhausted, verdict.unauthorised, verdict.late)
        )

    def _finish(self) -> bool:
        """Gives the batch and the lane back."""
        try:
            with self.office.sessions.begin() as session:
                left = ledger.of_journal(session, self._journal.path.name)
                self._release(session)  # before the batch: the keeper takes them in this order, too
                if self._claim is not None:
                    ledger.let_go(session, self._claim)
                    self._claim = None
        except OUT_OF_REACH as error:
            log.warning("sender %s: a lane could not be given back: %s", self.sender_id, trouble_of(error))
            return False
        return not left

    # --- opening

    def _open(self, session: Session) -> _Next | None:
        now = self.office.now()
        quota.lock(
            session,
            self.sender_id,
            self._account.id,
            sender=self._limits.per_day is not None or self._limits.per_second is not None,
            plan=self._plan_limit is not None,
        )
        sender = session.execute(_SENDER, {"id": self.sender_id}).one()
        if sender.deleted_at is not None or sender.status is not SenderStatus.ready:
            self._give_up(session)
            return None
        room = quota.room(
            session,
            self.sender_id,
            self._account.id,
            sender_limit=self._limits.per_day,
            plan_limit=self._plan_limit,
            now=now,
        )
        if room.letters == 0:
            # The plan may grow at any moment: then nobody should wait for a sender to wake up.
            if self._some_campaign(session, now):
                if room.counter is quota.Counter.sender:
                    halt.rest(session, self.sender_id, room.until or now + UNKNOWN_USAGE, now)
                elif room.until is not None:
                    holds.note_plan(session, self._account.id, now, room.until)
            self._give_up(session)
            return None
        starts_in = max(0.0, (sender.paced_until - now).total_seconds()) if sender.paced_until else 0.0
        if starts_in > SHORT_WAIT:
            self._give_up(session)
            return None
        return self._open_somewhere(session, self._largest(room.letters), starts_in, now)

    def _give_up(self, session: Session) -> None:
        if self._claim is not None:
            ledger.let_go(session, self._claim)
            self._claim = None

    def _largest(self, room: int | None) -> int:
        size = min(self._size, SLOTS)
        if room is not None:
            size = min(size, room)
        if self._limits.per_second:
            size = min(size, max(1, int(self._limits.per_second * QUICK)))
        return size

    def _open_somewhere(self, session: Session, size: int, starts_in: float, now: datetime) -> _Next | None:
        """The next window: of our batch, else of the next campaign that has somebody waiting."""
        while True:
            if self._claim is None:
                self._claim = self._claim_next(session, now)
                if self._claim is None:
                    return None
            elif not ledger.hold(session, self._claim, self._lease(now)):
                self._claim = None
                continue
            campaign = session.execute(_CAMPAIGN, {"id": self._claim.campaign_id}).first()
            following = None
            if campaign and campaign.status is CampaignStatus.sending and campaign.letter_id:
                hours = Hours.of(campaign.hours)
                if hours and not hours.is_open(now):
                    halt.keep_hours(session, self._claim.campaign_id, hours.next_open(now))
                else:
                    following = self._open_here(
                        session, self._claim, campaign.letter_id, size, starts_in, now, hours
                    )
            if following is not None:
                return following
            self._give_up(session)

    def _open_here(
        self,
        session: Session,
        claim: Claim,
        letter_id: int,
        size: int,
        starts_in: float,
        now: datetime,
        hours: Hours | None,
    ) -> _Next | None:
        try:
            printer = self._printer(session, letter_id, now)
        except LetterError as error:
            sentence = _("The letter cannot be printed: ${reason}", mapping={"reason": self._text(error)})
            halt.halt(session, claim.campaign_id, sentence, now)
            return None
        window = ledger.open_window(
            session,
            claim,
            sender_id=self.sender_id,
            letter_id=letter_id,
            size=size,
            host=host_name(),
            process=self._name,
            journal=self._journal.path.name,
            now=now,
            until=self._lease(now),
        )
        if window is None:
            return None
        letters = len(window.items)
        minute = quota.use(session, self.sender_id, self._account.id, letters, now)
        gap = 1 / self._limits.per_second if self._limits.per_second else 0.0
        if gap:
            session.execute(
                update(Sender)
                .where(Sender.id == self.sender_id)
                .values(paced_until=now + timedelta(seconds=starts_in + letters * gap)),
                execution_options=ledger.UNTRACKED,
            )
        closes_at = hours.closes(now) if hours else None
        list_names = printer.list_names(session, window.items)
        return _Next(window, minute, letter_id, list_names, starts_in, gap, closes_at)

    def _claim_next(self, session: Session, now: datetime) -> Claim | None:
        waiting = self._waiting(session, now)
        # Batch after batch from another campaign, so that a small one need not wait for a big one's end.
        for campaign_id in sorted(waiting, key=lambda each: (each <= self._last_campaign, each)):
            claim = ledger.claim(session, self.sender_id, campaign_id, now, self._lease(now))
            if claim is not None:
                self._last_campaign = campaign_id
                return claim
        return None

    def _waiting(self, session: Session, now: datetime) -> list[int]:
        """The sender's campaigns in which somebody is due."""
        due = exists().where(
            Batch.campaign_id == Campaign.id,
            Batch.state == BatchState.open,
            or_(Batch.not_before.is_(None), Batch.not_before <= now),
        )
        return list(
            session.scalars(
                select(Campaign.id)
                .join(campaign_sender, campaign_sender.c.campaign_id == Campaign.id)
                .where(
                    campaign_sender.c.sender_id == self.sender_id,
                    Campaign.status == CampaignStatus.sending,
                    Campaign.letter_id.is_not(None),
                    or_(Campaign.resting_until.is_(None), Campaign.resting_until <= now),
                    due,
                )
            )
        )

    def _some_campaign(self, session: Session, now: datetime) -> bool:
        return self._claim is not None or bool(self._waiting(session, now))

    def _printer(self, session: Session, letter_id: int, now: datetime) -> Printer:
        printer = self._printers.get(letter_id)
        if printer is None:
            printer = self._printers[letter_id] = Printer(
                session,
                letter_id=letter_id,
                sender=self._sender,
                public_url=self.office.public_url,
                now=now,
            )
        return printer

    # --- handing over

    def _send(self, following: _Next) -> _Sent:
        window = following.window
        campaign_id = window.claim.campaign_id
        self._journal.begin(window.id, len(window.items))
        feed = Feed(
            window,
            printer=self._printers[following.letter_id],
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
        return _Sent(window, feed, following.minute, elapsed() - begun)

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

    def _settle(self, session: Session, sent: _Sent) -> Verdict:
        now = self.office.now()
        verdict = judge(sent.window.items, sent.feed.answers, now)
        quota.lock(
            session,
            self.sender_id,
            self._account.id,
            sender=self._limits.per_day is not None or self._limits.per_second is not None,
            plan=self._plan_limit is not None,
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
        quota.note_left(session, campaign_id, self.sender_id, verdict.accepted, now)
        self._mind_the_pace(session, sent, now)
        self._mind_the_sender(session, verdict, sent.feed.error, now)
        self._mind_the_campaign(session, sent, verdict, now)
        return verdict

    def _settle_stubbornly(self, sent: _Sent | None) -> Verdict | None:
        """Settles whatever it takes: what the server has accepted must not be forgotten.

        When even that fails, the journal stays, and the sweep settles by it.
        """
        until, pause = elapsed() + SETTLE_FOR, 0.1
        while True:
            try:
                with self.office.sessions.begin() as session:
                    self._give_back_unknown(session, sent)
                    return self._settle(session, sent) if sent else None
            except OUT_OF_REACH as error:
                if elapsed() > until:
                    log.error(
                        "sender %s: a window could not be settled: %s", self.sender_id, trouble_of(error)
                    )
                    return None
            time.sleep(pause)
            pause = min(5.0, pause * 2)

    def _give_back_unknown(self, session: Session, sent: _Sent | None) -> None:
        """A COMMIT whose answer was lost may have opened a window that we do not know: nobody touched it."""
        now = self.office.now()
        for row in ledger.of_journal(session, self._journal.path.name):
            if sent is None or row.id != sent.window.id:
                changes = ledger.untouched(session, row.first_id, row.last_id)
                if ledger.settle_left_over(session, row.batch_id, row.id, changes, now):
                    quota.move_used(
                        session, self.sender_id, minute=minute_of(row.opened_at), letters=row.size
                    )
                self._claim = None

    def _learn(self, sent: _Sent, verdict: Verdict) -> None:
        """What the next window is made of: how quick this one was, and who has no mailbox."""
        self._streaks[sent.window.claim.campaign_id] = verdict.streaks
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
            log.warning("sender %s: dead addresses stay: %s", self.sender_id, trouble_of(error))

    # --- who has to slow down or stop

    def _mind_the_pace(self, session: Session, sent: _Sent, now: datetime) -> None:
        """Letters that left later than was foreseen put off the next one."""
        if sent.feed.last_handed is None or not self._limits.per_second:
            return
        ago = elapsed() - sent.feed.last_handed
        earliest = now + timedelta(seconds=1 / self._limits.per_second - ago)
        session.execute(
            update(Sender)
            .where(Sender.id == self.sender_id, Sender.paced_until < earliest)
            .values(paced_until=earliest),
            execution_options=ledger.UNTRACKED,
        )

    def _mind_the_sender(
        self, session: Session, verdict: Verdict, error: Exception | None, now: datetime
    ) -> None:
        if verdict.unauthorised is not None:
            halt.fail(session, self.sender_id, self._quote(_REFUSES, verdict.unauthorised), now)
        elif verdict.exhausted is not None:
            self._rest(session, now)
        elif verdict.trouble is not None:
            if verdict.trouble.scope is Scope.account:
                self._slow_down(session, now)
            halt.trouble(
                session,
                self.sender_id,
                self._quote(_BREAKS_OFF, verdict.trouble),
                now,
                at_least=timedelta(seconds=verdict.trouble.retry_after or 0),
                may_fail=verdict.trouble.scope is Scope.connection,
            )
            self._well = False
        elif error is not None:
            self._mind_the_error(session, error, now)
        elif verdict.accepted:
            if self._slowed:
                pace.quicken(session, self.sender_id, verdict.accepted)
            if not self._well:
                halt.well(session, self.sender_id)
                self._well = True

    def _mind_the_error(self, session: Session, error: Exception, now: datetime) -> None:
        passing = not isinstance(error, MailganerError) or isinstance(error, Unreachable | ProtocolBroken)
        if not isinstance(error, MailganerError):
            log.error("backend %s: %r", self._sender.backend, error, exc_info=error)
        if isinstance(error, TooFast):
            self._slow_down(session, now)
        if passing:
            may_fail = not isinstance(error, TooFast)
            halt.trouble(session, self.sender_id, self._sentence(error), now, may_fail=may_fail)
        else:
            halt.fail(session, self.sender_id, self._sentence(error), now)
        self._well = False

    def _slow_down(self, session: Session, now: datetime) -> None:
        seconds = elapsed() - self._begun
        pace.slow_down(session, self.sender_id, self._limits, self._accepted, seconds, now)

    def _rest(self, session: Session, now: datetime) -> None:
        """The server says it was enough: it knows its limit better than we do."""
        used = sender_allowance(session, self.sender_id, 0, now)
        if used.used:
            session.execute(
                update(Sender).where(Sender.id == self.sender_id).values(learned_per_day=used.used),
                execution_options=ledger.UNTRACKED,
            )
        until = quota.frees_at(used.oldest) if used.oldest is not None else now + UNKNOWN_USAGE
        halt.rest(session, self.sender_id, until, now)

    def _mind_the_campaign(self, session: Session, sent: _Sent, verdict: Verdict, now: datetime) -> None:
        """A letter that nobody can be sent is not tried on everybody."""
        campaign_id = sent.window.claim.campaign_id
        # Remembered when it is committed: a settlement that is tried again counts nothing twice.
        streaks = verdict.streaks = self._streaks.get(campaign_id, Streaks()).copy()
        for item, answer in zip(sent.window.items, sent.feed.answers, strict=True):
            if answer is not None:
                streaks.note(item.id, answer)
        if streaks.unprinted >= IN_A_ROW_RENDER:
            sentence = _(
                "The letter could not be made for ${number} people in a row. Check it, then go on.",
                mapping={"number": streaks.unprinted},
            )
        elif len(streaks.refused) >= IN_A_ROW_REFUSED:
            ledger.take_back(session, streaks.refused, now)
            sentence = _(
                "The mail server refuses this letter, whoever it is for. Its answer: ${reply}",
                mapping={"reply": streaks.last_words},
            )
        else:
            return
        halt.halt(session, campaign_id, sentence, now)
        verdict.streaks = Streaks()

    # --- words

    def _quote(self, sentence: Any, receipt: Receipt) -> str:
        return sentence % {"reply": receipt.reply}

    def _sentence(self, error: Exception) -> str:
        """Our sentence, then the server's words."""
        reply = error.reply if isinstance(error, BackendError) else ""
        return together([self._text(error), reply]) if reply else self._text(error)

    def _text(self, error: Exception) -> str:
        if isinstance(error, InputError):
            return together(error.fields.values())
        return error.message if isinstance(error, MailganerError) else _UNEXPECTED


_SENDERS, _CAMPAIGNS = cast(Table, Sender.__table__), cast(Table, Campaign.__table__)
_SENDER = select(_SENDERS.c.status, _SENDERS.c.deleted_at, _SENDERS.c.paced_until).where(
    _SENDERS.c.id == bindparam("id")
)
_CAMPAIGN = select(_CAMPAIGNS.c.status, _CAMPAIGNS.c.letter_id, _CAMPAIGNS.c.hours).where(
    _CAMPAIGNS.c.id == bindparam("id")
)
"""What is looked at before each window. Built once: building a statement costs more than running it."""

_REFUSES = _("The mail server no longer lets this account send. Its answer: ${reply}")
_BREAKS_OFF = _("The mail server put us off. Its answer: ${reply}")
_NO_JOURNAL = _(
    "Mailganer cannot keep a record of what it sends: most likely the disk of this installation is full. "
    "Nothing is sent until there is room again; then it goes on by itself. Tell whoever runs it."
)
_UNEXPECTED = _(
    "The way to this mail server is broken. Whoever runs this installation finds more in its log."
)
