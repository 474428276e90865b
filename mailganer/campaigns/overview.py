"""List of an account's campaigns with their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session, defer, selectinload

from ..models import ACTIVE_STATES, Campaign, CampaignCounter, CampaignStatus, SenderStatus
from .counts import Counts, campaign_counts
from .sending_hours import Hours


@dataclass(frozen=True)
class CampaignRow:
    """A campaign in the list."""

    campaign: Campaign
    counts: Counts
    opened_certainly: int = 0  # recipients
    opened_possibly: int = 0  # further recipients: it may have been only a privacy proxy
    opens_at: datetime | None = None  # when the sending hours begin that it waits for

    @property
    def opened(self) -> tuple[float, float] | None:
        """Return the least and the greatest fraction of recipients who opened it; None before any email."""
        got = self.counts.sent
        if not got:
            return None
        return self.opened_certainly / got, min(1.0, (self.opened_certainly + self.opened_possibly) / got)

    @property
    def under_way(self) -> bool:
        return self.campaign.status in ACTIVE_STATES

    @property
    def held(self) -> str:
        """Return why a sending campaign sends nothing.

        "waiting" for resting senders or the sending hours, "stuck" if each sender needs a user's attention,
        else "".
        """
        states = {sender.status for sender in self.campaign.senders}
        if self.campaign.status is not CampaignStatus.sending:
            return ""
        if SenderStatus.ready in states:
            return "waiting" if self.opens_at else ""
        return "waiting" if SenderStatus.sleeping in states else "stuck"

    @property
    def rests_until(self) -> datetime | None:
        """Return when the first of its senders resumes, if all of them rest or need attention."""
        if self.held != "waiting" or self.opens_at:
            return None
        return min((each.sleeps_until for each in self.campaign.senders if each.sleeps_until), default=None)


@dataclass(frozen=True)
class CampaignPage:
    """A page of campaigns, and the cursor of the next (None after the last)."""

    items: tuple[CampaignRow, ...]
    next: int | None


def list_campaigns(
    session: Session,
    account_id: int,
    *,
    status: CampaignStatus | None = None,
    after: int | None = None,
    limit: int = 50,
    under_way_first: bool = False,
    emails: bool = True,
    now: datetime | None = None,
) -> CampaignPage:
    """Return campaigns of an account, newest first; ``after`` is the ``next`` of the previous page.

    With ``under_way_first``, those scheduled, being sent or paused come first, the newest of them first.
    Without ``emails``, the content of an email is loaded on access. With ``now``, rows contain whether a
    campaign waits for its sending hours.
    """
    query = select(Campaign).where(Campaign.account_id == account_id)
    query = query.options(selectinload(Campaign.lists), selectinload(Campaign.senders))
    if not emails:
        query = query.options(defer(Campaign.html), defer(Campaign.text), defer(Campaign.forecast))
    if status is not None:
        query = query.where(Campaign.status == status)
    if under_way_first:
        query = query.order_by(_rest)
    if after is not None:
        query = query.where(_behind(session, account_id, after) if under_way_first else Campaign.id < after)
    found = session.scalars(query.order_by(Campaign.id.desc()).limit(limit + 1)).all()
    shown = found[:limit]
    ids = [campaign.id for campaign in shown]
    counts, opened = campaign_counts(session, ids), _opened(session, ids)
    return CampaignPage(
        items=tuple(
            CampaignRow(
                each, counts[each.id], *opened.get(each.id, (0, 0)), _opens_at(each, counts[each.id], now)
            )
            for each in shown
        ),
        next=shown[-1].id if len(found) > limit else None,
    )


def _opens_at(campaign: Campaign, counts: Counts, now: datetime | None) -> datetime | None:
    """Return when the sending hours begin that the campaign's recipients wait for, or None."""
    hours = Hours.of(campaign.hours)
    if now is None or hours is None or not counts.waiting or campaign.status is not CampaignStatus.sending:
        return None
    return None if hours.is_open(now) else hours.next_open(now)


_rest = case((Campaign.status.in_(ACTIVE_STATES), 0), else_=1)


def _behind(session: Session, account_id: int, last: int) -> ColumnElement[bool]:
    """Return the condition for campaigns after ``last`` in the order with active ones first."""
    place = session.scalar(select(_rest).where(Campaign.id == last, Campaign.account_id == account_id))
    if place is None:  # deleted since: active campaigns cannot be
        place = 1
    return or_(_rest > place, and_(_rest == place, Campaign.id < last))


def _opened(session: Session, campaign_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    rows = session.execute(
        select(
            CampaignCounter.campaign_id,
            func.sum(CampaignCounter.opened_certain),
            func.sum(CampaignCounter.opened_possible),
        )
        .where(CampaignCounter.campaign_id.in_(campaign_ids))
        .group_by(CampaignCounter.campaign_id)
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in rows}


def count_by_status(session: Session, account_id: int) -> dict[CampaignStatus, int]:
    """Count the campaigns of an account by status, for the filter."""
    rows = session.execute(
        select(Campaign.status, func.count())
        .where(Campaign.account_id == account_id)
        .group_by(Campaign.status)
    )
    return {row[0]: row[1] for row in rows}
