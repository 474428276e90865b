"""Opening a window: for which campaign the next letters of a sender are, how many, and from when."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, exists, or_, select, update
from sqlalchemy.orm import Session

from ..backends import Limits
from ..campaigns.hours import Hours
from ..db import UNTRACKED
from ..errors import LetterError, _
from ..models import (
    Account,
    Batch,
    BatchState,
    Campaign,
    CampaignStatus,
    Sender,
    SenderStatus,
    campaign_sender,
    holds,
)
from . import halt, ledger, quota
from .journal import SLOTS, host_name
from .ledger import Claim, Opened
from .office import Office
from .printer import Printer
from .words import sentence_of

QUICK = 0.25  # seconds a window should take: how long a "pause" may take, and what is lost with a machine
SHORT_WAIT = 5.0  # seconds of pace that are waited for in place; a longer wait leaves the lane to others


@dataclass(frozen=True)
class Next:
    """A window just opened, with what it needs on its way."""

    window: Opened
    minute: int
    letter_id: int
    list_names: Any
    starts_in: float = 0.0  # seconds until its first letter may leave
    pace: float = 0.0
    closes_at: datetime | None = None  # when the campaign's sending hours end


class Opener:
    """Opens windows for one lane's turn, out of the batch that it holds (``claim``) or takes."""

    def __init__(
        self,
        office: Office,
        sender: Sender,
        account: Account,
        limits: Limits,
        *,
        plan_limit: int | None,
        process: str,
        journal: str,
    ) -> None:
        self._office, self._sender, self._account, self._limits = office, sender, account, limits
        self._plan_limit = plan_limit
        self._process, self._journal = process, journal
        self.claim: Claim | None = None
        self._last_campaign = random.getrandbits(31)
        self._printers: dict[int, Printer] = {}

    def lock(self, session: Session) -> None:
        """Makes other lanes wait until this transaction ends, where they share a limit with this one."""
        quota.lock(
            session,
            self._sender.id,
            self._account.id,
            sender=self._limits.per_day is not None or self._limits.per_second is not None,
            plan=self._plan_limit is not None,
        )

    def open(self, session: Session, size: int) -> Next | None:
        """The next window, of at most ``size`` letters; None when the lane has nothing to send now."""
        now = self._office.now()
        self.lock(session)
        sender = session.execute(_SENDER, {"id": self._sender.id}).one()
        if sender.deleted_at is not None or sender.status is not SenderStatus.ready:
            self.give_up(session)
            return None
        room = quota.room(
            session,
            self._sender.id,
            self._account.id,
            sender_limit=self._limits.per_day,
            plan_limit=self._plan_limit,
            now=now,
        )
        if room.letters == 0:
            # The plan may grow at any moment: then nobody should wait for a sender to wake up.
            if self._some_campaign(session, now):
                if room.counter is quota.Counter.sender:
                    halt.rest(session, self._sender.id, room.until or now + quota.UNKNOWN_USAGE, now)
                elif room.until is not None:
                    holds.note_plan(session, self._account.id, now, room.until)
            self.give_up(session)
            return None
        starts_in = max(0.0, (sender.paced_until - now).total_seconds()) if sender.paced_until else 0.0
        if starts_in > SHORT_WAIT:
            self.give_up(session)
            return None
        return self._open_somewhere(session, self._largest(size, room.letters), starts_in, now)

    def give_up(self, session: Session) -> None:
        """Gives the batch back."""
        if self.claim is not None:
            ledger.let_go(session, self.claim)
            self.claim = None

    def _largest(self, size: int, room: int | None) -> int:
        size = min(size, SLOTS)
        if room is not None:
            size = min(size, room)
        if self._limits.per_second:
            size = min(size, max(1, int(self._limits.per_second * QUICK)))
        return size

    def _open_somewhere(self, session: Session, size: int, starts_in: float, now: datetime) -> Next | None:
        """The next window: of our batch, else of the next campaign that has somebody waiting."""
        while True:
            if self.claim is None:
                self.claim = self._claim_next(session, now)
                if self.claim is None:
                    return None
            elif not ledger.hold(session, self.claim, self._office.leased_until(now)):
                self.claim = None
                continue
            campaign = session.execute(_CAMPAIGN, {"id": self.claim.campaign_id}).first()
            following = None
            if campaign and campaign.status is CampaignStatus.sending and campaign.letter_id:
                hours = Hours.of(campaign.hours)
                if hours and not hours.is_open(now):
                    halt.keep_hours(session, self.claim.campaign_id, hours.next_open(now))
                else:
                    following = self._open_here(
                        session, self.claim, campaign.letter_id, size, starts_in, now, hours
                    )
            if following is not None:
                return following
            self.give_up(session)

    def _open_here(
        self,
        session: Session,
        claim: Claim,
        letter_id: int,
        size: int,
        starts_in: float,
        now: datetime,
        hours: Hours | None,
    ) -> Next | None:
        try:
            printer = self._printer(session, letter_id, now)
        except LetterError as error:
            sentence = _("The letter cannot be printed: ${reason}", mapping={"reason": sentence_of(error)})
            halt.halt(session, claim.campaign_id, sentence, now)
            return None
        window = ledger.open_window(
            session,
            claim,
            sender_id=self._sender.id,
            letter_id=letter_id,
            size=size,
            host=host_name(),
            process=self._process,
            journal=self._journal,
            now=now,
            until=self._office.leased_until(now),
        )
        if window is None:
            return None
        letters = len(window.items)
        minute = quota.use(session, self._sender.id, self._account.id, letters, now)
        gap = 1 / self._limits.per_second if self._limits.per_second else 0.0
        if gap:
            session.execute(
                update(Sender)
                .where(Sender.id == self._sender.id)
                .values(paced_until=now + timedelta(seconds=starts_in + letters * gap)),
                execution_options=UNTRACKED,
            )
        closes_at = hours.closes(now) if hours else None
        list_names = printer.list_names(session, window.items)
        return Next(window, minute, letter_id, list_names, starts_in, gap, closes_at)

    def _claim_next(self, session: Session, now: datetime) -> Claim | None:
        waiting = self._waiting(session, now)
        # Batch after batch from another campaign, so that a small one need not wait for a big one's end.
        for campaign_id in sorted(waiting, key=lambda each: (each <= self._last_campaign, each)):
            claim = ledger.claim(session, self._sender.id, campaign_id, now, self._office.leased_until(now))
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
                    campaign_sender.c.sender_id == self._sender.id,
                    Campaign.status == CampaignStatus.sending,
                    Campaign.letter_id.is_not(None),
                    or_(Campaign.resting_until.is_(None), Campaign.resting_until <= now),
                    due,
                )
            )
        )

    def _some_campaign(self, session: Session, now: datetime) -> bool:
        return self.claim is not None or bool(self._waiting(session, now))

    def printer(self, letter_id: int) -> Printer:
        """That of a window that was opened here."""
        return self._printers[letter_id]

    def _printer(self, session: Session, letter_id: int, now: datetime) -> Printer:
        printer = self._printers.get(letter_id)
        if printer is None:
            printer = self._printers[letter_id] = Printer(
                session,
                letter_id=letter_id,
                sender=self._sender,
                public_url=self._office.public_url,
                now=now,
            )
        return printer


_SENDERS, _CAMPAIGNS = cast(Table, Sender.__table__), cast(Table, Campaign.__table__)
_SENDER = select(_SENDERS.c.status, _SENDERS.c.deleted_at, _SENDERS.c.paced_until).where(
    _SENDERS.c.id == bindparam("id")
)
_CAMPAIGN = select(_CAMPAIGNS.c.status, _CAMPAIGNS.c.letter_id, _CAMPAIGNS.c.hours).where(
    _CAMPAIGNS.c.id == bindparam("id")
)
"""What is looked at before each window. Built once: building a statement costs more than running it."""
