"""The list of an account's campaigns, with what became of each."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Campaign, CampaignStatus
from .counts import Counts, campaign_counts


@dataclass(frozen=True)
class Line:
    """One campaign of the list."""

    campaign: Campaign
    counts: Counts


@dataclass(frozen=True)
class Page:
    """Some lines, and where the next ones begin (None: these were the last)."""

    items: tuple[Line, ...]
    next: int | None


def list_campaigns(
    session: Session,
    account_id: int,
    *,
    status: CampaignStatus | None = None,
    after: int | None = None,
    limit: int = 50,
) -> Page:
    """Campaigns of an account, the newest first; ``after`` is the ``next`` of the page before."""
    query = select(Campaign).where(Campaign.account_id == account_id).order_by(Campaign.id.desc())
    if status is not None:
        query = query.where(Campaign.status == status)
    if after is not None:
        query = query.where(Campaign.id < after)
    found = session.scalars(query.limit(limit + 1)).all()
    shown = found[:limit]
    counts = campaign_counts(session, [campaign.id for campaign in shown])
    return Page(
        items=tuple(Line(campaign, counts[campaign.id]) for campaign in shown),
        next=shown[-1].id if len(found) > limit else None,
    )


def count_by_status(session: Session, account_id: int) -> dict[CampaignStatus, int]:
    """How many campaigns of an account are in which state, for the filter."""
    rows = session.execute(
        select(Campaign.status, func.count())
        .where(Campaign.account_id == account_id)
        .group_by(Campaign.status)
    )
    return {row[0]: row[1] for row in rows}
