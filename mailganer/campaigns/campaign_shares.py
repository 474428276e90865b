"""Fair division of one sender's capacity among its campaigns.

A sender serves the campaign that has had least. ``had`` counts emails on a scale common to the campaigns of
one sender. A campaign that starts, or resumes after a rest, begins at the sender's ``floor``: time in which
it could not send gives it no claim. Emails sent while a campaign is alone are not counted.

The result for a day's quota does not depend on ids, sizes of windows and batches, or the number of lanes: a
window never takes more than its campaign's share of the rest (:func:`shares`). The worker calls this before
each window (:func:`order_campaigns`), the forecast for a whole period. No database here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

PLENTY = 1 << 60  # stands for an unknown number of recipients


class CampaignShare(NamedTuple):
    """A campaign that can send now."""

    campaign_id: int
    had: int
    left: int = PLENTY  # waiting recipients
    free: bool = True  # False: all of them are in batches held by other lanes


@dataclass(frozen=True)
class WindowChoice:
    """The campaign to serve, and the maximum size of its window."""

    campaign_id: int
    size: int


def shares(emails: int, campaigns: Sequence[CampaignShare]) -> list[int]:
    """Divide ``emails`` as if each went to the campaign that has had least; ties go to the lowest id."""
    left = sum(campaign.left for campaign in campaigns)
    if len(campaigns) == 1 or emails >= left:
        return [min(emails, campaign.left) for campaign in campaigns]
    level, extra = _level(emails, campaigns)
    found = [max(0, min(campaign.left, level - campaign.had)) for campaign in campaigns]
    if extra:
        at_level = [
            n for n, campaign in enumerate(campaigns) if campaign.left > found[n] == level - campaign.had
        ]
        at_level.sort(key=lambda n: campaigns[n].campaign_id)
        for n in at_level[:extra]:
            found[n] += 1
    return found


def _level(emails: int, campaigns: Sequence[CampaignShare]) -> tuple[int, int]:
    """Return the common level after dividing ``emails``, and how many campaigns get one more."""
    level, extra = divmod(sum(campaign.had for campaign in campaigns) + emails, len(campaigns))
    if all(campaign.had <= level < campaign.had + campaign.left for campaign in campaigns):
        return level, extra
    changes: dict[int, int] = {}  # levels at which a campaign joins or is done
    for campaign in campaigns:
        if campaign.left:
            changes[campaign.had] = changes.get(campaign.had, 0) + 1
            changes[campaign.had + campaign.left] = changes.get(campaign.had + campaign.left, 0) - 1
    served, level = 0, min(changes)
    for height in sorted(changes):
        if served and emails < (height - level) * served:
            break
        emails -= (height - level) * served
        served, level = served + changes[height], height
    return (level + emails // served, emails % served) if served else (level, 0)


def until_done(campaign: CampaignShare, others: Sequence[CampaignShare]) -> int:
    """Return how many emails of all campaigns are sent until the last one of ``campaign``."""
    last = campaign.had + campaign.left - 1  # what it has had when its last email is sent
    before = (
        min(each.left, max(0, last - each.had + (each.campaign_id < campaign.campaign_id))) for each in others
    )
    return campaign.left + sum(before)


def order_campaigns(
    campaigns: Sequence[CampaignShare], remaining: int | None, size: int
) -> list[WindowChoice]:
    """Return the campaigns a lane may serve, in order, each with the largest window it may open.

    ``remaining`` is what the day's quota still allows (None: any number). A campaign that is not ``free`` is
    left out, but keeps its share.
    """
    order = sorted(
        (campaign for campaign in campaigns if campaign.left),
        key=lambda campaign: (campaign.had, campaign.campaign_id),
    )
    if remaining is None or len(order) == 1:
        sizes = [
            min(size, campaign.left) if remaining is None else min(size, remaining, campaign.left)
            for campaign in order
        ]
    else:
        # How many recipients the others have may be unknown. If fewer wait than assumed, this campaign gets
        # its share in several windows instead of one.
        sizes = [min(size, share) for share in shares(remaining, order)]
    pairs = zip(order, sizes, strict=True)
    return [
        WindowChoice(campaign.campaign_id, allowed)
        for campaign, allowed in pairs
        if campaign.free and allowed
    ]


def lowest_count_after(campaigns: Sequence[CampaignShare], campaign_id: int, emails: int) -> int:
    """Return the sender's floor after ``campaign_id`` got ``emails``: the lowest ``had``."""
    return min(campaign.had + emails * (campaign.campaign_id == campaign_id) for campaign in campaigns)
