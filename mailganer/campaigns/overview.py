"""The list of an account's campaigns, with what became of each."""

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
    """One campaign of the list."""

    campaign: Campaign
    counts: Counts
    opened_certainly: int = 0  # people
    opened_possibly: int = 0  # people besides: a privacy proxy fetched the email for them
    opens_at: datetime | None = None  # when the sending hours begin that it waits for

    @property
    def opened(self) -> tuple[float, float] | None:
        """The least and the greatest share of people who opened it; None while nobody has the email."""
        got = self.counts.sent
        if not got:
            return None
        return self.opened_certainly / got, min(1.0, (self.opened_certainly + self.opened_possibly) / got)

    @property
    def under_way(self) -> bool:
        return self.campaign.status in ACTIVE_STATES

    @property
    def held(self) -> str:
        """Why nothing leaves although it is being sent: "waiting" for senders that rest or for the sending
        hours, "stuck" where each sender needs a person, or nothing."""
        states = {sender.status for sender in self.campaign.senders}
        if self.campaign.status is not CampaignStatus.sending:
            return ""
        if SenderStatus.ready in states:
            return "waiting" if self.opens_at else ""
        return "waiting" if SenderStatus.sleeping in states else "stuck"

    @property
    def rests_until(self) -> datetime | None:
        """When the first of its senders goes on, where all of them rest or need a person."""
        if self.held != "waiting" or self.opens_at:
            return None
        return min((each.sleeps_until for each in self.campaign.senders if each.sleeps_until), default=None)


@dataclass(frozen=True)
class CampaignPage:
    """Some lines, and where the next ones begin (None: these were the last)."""

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
    """Campaigns of an account, the newest first; ``after`` is the ``next`` of the page before.

    ``under_way_first``: before them those that are planned, being sent or paused, the newest of them first.
    Without ``emails`` an email is read only when somebody looks at it. With ``now``, lines say whether a
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
    """When the sending hours begin that keep a campaign's recipients waiting; None: nothing does."""
    hours = Hours.of(campaign.hours)
    if now is None or hours is None or not counts.waiting or campaign.status is not CampaignStatus.sending:
        return None
    return None if hours.is_open(now) else hours.next_open(now)


_rest = case((Campaign.status.in_(ACTIVE_STATES), 0), else_=1)


def _behind(session: Session, account_id: int, last: int) -> ColumnElement[bool]:
    """What follows the campaign ``last`` where those under way come first."""
    place = session.scalar(select(_rest).where(Campaign.id == last, Campaign.account_id == account_id))
    if place is None:  # deleted meanwhile: nothing that is under way can be
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
    """How many campaigns of an account are in which state, for the filter."""
    rows = session.execute(
        select(Campaign.status, func.count())
        .where(Campaign.account_id == account_id)
        .group_by(Campaign.status)
    )
    return {row[0]: row[1] for row in rows}
