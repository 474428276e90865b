"""Plan the next window of a sender: for which campaign, how many emails, and when the first may leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session

from ... import ledger
from ...backends import Limits
from ...campaigns.campaign_shares import CampaignShare, order_campaigns
from ...campaigns.plan_shares import PlanShares
from ...campaigns.sending_hours import Hours
from ...db import UNTRACKED
from ...errors import _
from ...i18n.sentences import sentence_of
from ...ledger import Claim, OpenWindow, RecipientSelection
from ...models import Account, Campaign, CampaignStatus, Sender, SenderStatus, delays
from ...quota import reservations
from ...quota.plan_and_sender_usage import minute_of, newest_minute
from ..context import SendingContext
from . import pausing, sender_queue
from .account_queue import account_shares
from .held_batch import HeldBatch
from .journal import SLOTS, host_name
from .refusal_pattern import RefusalPattern
from .renderer_cache import RendererCache

QUICK = 0.25  # seconds a window should take: a pause takes effect, and a crash loses receipts, within them
# Until a sender checks again whether the limits leave it anything; a tick wakes it earlier (share_waits).
NO_SHARE = timedelta(seconds=20)
HELPS_WITHIN = timedelta(minutes=1)  # after such a check, a sender may send what other senders have not sent
SHORT_WAIT = 5.0  # seconds of pace for which the lane waits; before a longer wait it ends its turn


@dataclass(frozen=True)
class PlannedWindow:
    """A window just opened, with everything needed to send it."""

    window: OpenWindow
    minute: int
    frozen_email_id: int
    list_names: Any
    starts_in: float = 0.0  # seconds until its first email may leave
    pace: float = 0.0
    closes_at: datetime | None = None  # when the campaign's sending hours end
    counted: bool = False  # against the campaign's share, because other campaigns wait for the same sender


class WindowPlanner:
    """Open windows for one lane's turn, from the batch that it holds or claims."""

    def __init__(
        self,
        context: SendingContext,
        sender: Sender,
        account: Account,
        limits: Limits,
        *,
        plan_limit: int | None,
        process: str,
        journal: str,
    ) -> None:
        self._context, self._sender, self._account, self._limits = context, sender, account, limits
        self._plan_limit = plan_limit
        self._process, self._journal = process, journal
        self.renderers = RendererCache(context, sender)
        self.batch = HeldBatch(context, sender.id, self.renderers)
        self.refused_before = True  # refusals were on record when the last window was opened
        self._refused, self._failures = RefusalPattern(), 0  # as stored in the sender's row
        self._all_limits: dict[int, Limits] | None = None
        self._paced_until: datetime | None = None  # as stored in the sender's row
        self._helping = False  # it sends emails of other senders' shares

    def lock(self, session: Session) -> None:
        """Make lanes that share a limit with this one wait until this transaction ends."""
        reservations.lock(
            session,
            self._sender.id,
            self._account.id,
            sender=self._limits.per_day is not None or self._limits.per_second is not None,
            plan=self._plan_limit is not None or self._divides_quota(session),
        )

    def open(self, session: Session, size: int, *, locked: bool = False) -> PlannedWindow | None:
        """Return the next window, of at most ``size`` emails; None when the lane has nothing to send now.

        None as well when an email is missing that ``renderers`` has to compile first, after this transaction.
        ``locked`` is true when this transaction has called ``lock``.
        """
        now = self._context.now()
        self.renderers.missing = None
        if not locked:
            self.lock(session)
        sender = session.execute(_SENDER, {"id": self._sender.id}).one()
        self._refused, self._failures = RefusalPattern.from_json(sender.refusals), sender.failures
        self.refused_before = self._refused.has_memory
        if sender.deleted_at is not None or sender.status is not SenderStatus.ready:
            self.batch.release(session)
            return None
        remaining = reservations.remaining(
            session,
            self._sender.id,
            self._account.id,
            sender_limit=self._limits.per_day,
            plan_limit=self._plan_limit,
            now=now,
        )
        if remaining.emails == 0:
            self._note_used_up(session, remaining, now)
            self.batch.release(session)
            return None
        self._paced_until = sender.paced_until
        starts_in = max(0.0, (sender.paced_until - now).total_seconds()) if sender.paced_until else 0.0
        if starts_in > SHORT_WAIT:
            self.batch.release(session)
            return None
        return self._open_for_next_campaign(
            session, self._largest_size(size, remaining.emails), remaining, starts_in, now
        )

    def _note_used_up(self, session: Session, remaining: reservations.RemainingQuota, now: datetime) -> None:
        """Record what a due campaign waits for when a quota is used up.

        Only the sender's own quota puts the sender to sleep: the plan may be extended at any time, and its
        senders have to notice at once.
        """
        if not self._has_waiting_campaign(session, now):
            return
        if remaining.counter is reservations.LimitOwner.sender:
            until = remaining.until or now + reservations.UNKNOWN_USAGE
            pausing.put_sender_to_sleep(session, self._sender.id, until, now)
        elif remaining.until is not None:
            delays.note_plan(session, self._account.id, now, remaining.until)

    def _largest_size(self, size: int, remaining: int | None) -> int:
        """Return the size that refusals, quota and pace leave of ``size``."""
        size = min(size, SLOTS)
        if self._failures or self._refused.needs_sample:
            size = 1
        if remaining is not None:
            size = min(size, remaining)
        if self._limits.per_second:
            size = min(size, max(1, int(self._limits.per_second * QUICK)))
        return size

    def _open_for_next_campaign(
        self,
        session: Session,
        size: int,
        remaining: reservations.RemainingQuota,
        starts_in: float,
        now: datetime,
    ) -> PlannedWindow | None:
        """Return a window of the campaign whose turn it is; None when there is nothing to send now."""
        while True:
            queue = self._queue(session, now, remaining)
            largest = self._claim_batch(session, queue, remaining.emails, size, now)
            if self.batch.claim is None:
                return None
            planned = self._open_within_hours(session, self.batch.claim, largest, starts_in, now, queue)
            if planned is not None or self.renderers.missing is not None:
                return planned
            self.batch.release(session)

    def _open_within_hours(
        self,
        session: Session,
        claim: Claim,
        size: int,
        starts_in: float,
        now: datetime,
        queue: sender_queue.SenderQueue,
    ) -> PlannedWindow | None:
        """Open a window unless the campaign has stopped or waits for its sending hours."""
        campaign = session.execute(_CAMPAIGN, {"id": claim.campaign_id}).first()
        if not campaign or campaign.status is not CampaignStatus.sending or not campaign.frozen_email_id:
            return None
        hours = Hours.of(campaign.hours)
        if hours and not hours.is_open(now):
            pausing.wait_for_sending_hours(session, claim.campaign_id, hours.next_open(now))
            return None
        return self._open_for_campaign(
            session, claim, campaign.frozen_email_id, size, starts_in, now, hours, queue
        )

    def _open_for_campaign(
        self,
        session: Session,
        claim: Claim,
        frozen_email_id: int,
        size: int,
        starts_in: float,
        now: datetime,
        hours: Hours | None,
        queue: sender_queue.SenderQueue,
    ) -> PlannedWindow | None:
        """Open a window in the claimed batch; return None when none of its recipients is due."""
        if not self.renderers.is_compiled(frozen_email_id):
            return None  # the email was edited since the batch was claimed
        if error := self.renderers.error(frozen_email_id):
            sentence = _("The email cannot be rendered: ${reason}", mapping={"reason": sentence_of(error)})
            pausing.pause_campaign_with_reason(session, claim.campaign_id, sentence, now)
            return None
        renderer = self.renderers.renderer(frozen_email_id)
        window = ledger.open_window(
            session,
            claim,
            sender_id=self._sender.id,
            frozen_email_id=frozen_email_id,
            size=size,
            host=host_name(),
            process=self._process,
            journal=self._journal,
            now=now,
            until=self._context.leased_until(now),
            selection=self.batch.selection,
            other_than=self.batch.other_than,
        )
        if window is None:
            return None
        emails = len(window.items)
        minute = reservations.reserve(session, self._sender.id, self._account.id, emails, now)
        counted = sender_queue.count_sent(session, self._sender.id, queue, claim.campaign_id, emails)
        pace = 1 / self._limits.per_second if self._limits.per_second else 0.0
        if pace:
            self._set_paced_until(session, now + timedelta(seconds=starts_in + emails * pace))
        closes_at = hours.closes(now) if hours else None
        list_names = renderer.list_names(session, window.items)
        return PlannedWindow(window, minute, frozen_email_id, list_names, starts_in, pace, closes_at, counted)

    def _set_paced_until(self, session: Session, until: datetime) -> None:
        """Let no other window of the sender start earlier than ``until``."""
        session.execute(
            update(Sender).where(Sender.id == self._sender.id).values(paced_until=until),
            execution_options=UNTRACKED,
        )

    def _claim_batch(
        self,
        session: Session,
        queue: sender_queue.SenderQueue,
        remaining: int | None,
        size: int,
        now: datetime,
    ) -> int:
        """Claim a batch of the first campaign in line that has one; return how large its window may be."""
        line = order_campaigns(queue.campaigns, remaining, size)
        if self._refused.needs_sample:  # begin with recipients of another campaign, to compare
            line.sort(key=lambda each: each.campaign_id == self._refused.last_campaign)
        domains = set(self._refused.domains.values())
        choice = self.batch.claim_first(session, line, self._selections(), now, domains)
        return choice.size if choice else 0

    def _selections(self) -> tuple[RecipientSelection, ...]:
        """Return how to select recipients, best first.

        After a refusal, recipients never refused go first. After a failed attempt it is one from anywhere, of
        another domain if possible: those at the head of a list are often of one domain, and would fail one
        after another, a rest apart.
        """
        if self._refused.needs_sample or self._failures:
            anywhere = (RecipientSelection.sample, RecipientSelection.longest_deferred)
            return (RecipientSelection.other_domain, *anywhere) if self._refused.domains else anywhere
        return (
            (RecipientSelection.untried, RecipientSelection.in_order)
            if self._refused.is_open
            else (RecipientSelection.in_order,)
        )

    def _queue(
        self, session: Session, now: datetime, remaining: reservations.RemainingQuota = reservations.FREE
    ) -> sender_queue.SenderQueue:
        """Return the campaigns that wait for the sender, each with what the limits allow it."""
        ours = self.batch.claim.campaign_id if self.batch.claim else None
        limited = remaining.emails is not None
        waiting = sender_queue.read_sender_queue(session, self._sender.id, now, ours, limited=limited)
        if not limited or not waiting.campaigns or not self._has_other_senders(session):
            return waiting
        plan = account_shares(session, self._account.id, self._limits_of_senders(session), remaining, now)
        campaigns = self._within_limits(waiting.campaigns, plan)
        if not campaigns and self._may_help(session, now):
            campaigns = self._within_limits(waiting.campaigns, plan, helping=True)
            self._helping = bool(campaigns)
        if not campaigns:
            # Keep the sender out of due work: what is left is for campaigns of other senders.
            self._set_paced_until(session, now + NO_SHARE)
        return sender_queue.SenderQueue(campaigns, waiting.floor, counts=False)

    def _within_limits(
        self, waiting: Sequence[CampaignShare], plan: PlanShares, *, helping: bool = False
    ) -> tuple[CampaignShare, ...]:
        shares = (plan.share_at(each, self._sender.id, helping=helping) for each in waiting)
        return tuple(share for share in shares if share.left)

    def _may_help(self, session: Session, now: datetime) -> bool:
        """Return whether the sender may send shares of other senders, because it has waited for them in vain.

        Within a minute, senders as fast as this one have sent their shares.
        """
        waited = self._paced_until is not None and now - HELPS_WITHIN < self._paced_until <= now
        if waited and not self._helping:
            newest = newest_minute(session, self._sender.id)
            return newest is None or newest < minute_of(now)
        return self._helping

    def _divides_quota(self, session: Session) -> bool:
        """Return whether the sender's own limit is divided together with those of other senders."""
        return self._limits.per_day is not None and self._has_other_senders(session)

    def _has_other_senders(self, session: Session) -> bool:
        return len(self._limits_of_senders(session)) > 1

    def _limits_of_senders(self, session: Session) -> dict[int, Limits]:
        """Return the limits of all senders of the account, read once a turn."""
        if self._all_limits is None:
            of_account = select(Sender).where(
                Sender.account_id == self._account.id, Sender.deleted_at.is_(None)
            )
            senders = session.scalars(of_account).all()
            self._all_limits = {sender.id: self._context.limits(sender) for sender in senders}
            self._all_limits[self._sender.id] = self._limits
        return self._all_limits

    def _has_waiting_campaign(self, session: Session, now: datetime) -> bool:
        return self.batch.claim is not None or bool(self._queue(session, now).campaigns)


_SENDERS, _CAMPAIGNS = cast(Table, Sender.__table__), cast(Table, Campaign.__table__)
_SENDER = select(
    _SENDERS.c.status,
    _SENDERS.c.deleted_at,
    _SENDERS.c.paced_until,
    _SENDERS.c.refusals,
    _SENDERS.c.failures,
).where(_SENDERS.c.id == bindparam("id"))
_CAMPAIGN = select(_CAMPAIGNS.c.status, _CAMPAIGNS.c.frozen_email_id, _CAMPAIGNS.c.hours).where(
    _CAMPAIGNS.c.id == bindparam("id")
)
"""Statements of every window. Built once, because building a statement costs more than running it."""
