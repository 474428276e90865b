"""Fair shares of what an account's plan and its senders allow, among campaigns of several senders.

The limits of any 24 hours are divided as if each email went to the campaign that has had least in the last
24 hours (:mod:`quota_division`). A campaign keeps no more for itself than its senders can still send, so that
a slow sender, or one with a small limit of its own, leaves the rest to the others. The emails of a campaign
go evenly through its senders as far as their limits allow.

The worker asks before each window, the forecast whenever something changes. No database here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .campaign_shares import CampaignShare
from .quota_division import assign, divide, route

SECONDS_A_DAY = 24 * 60 * 60


class CampaignDemand(NamedTuple):
    """A campaign that can send now, is about to start, or whose sending hours begin within 24 hours."""

    campaign_id: int
    used: int  # emails of the last 24 hours, those of open windows included
    left: int  # recipients who wait
    senders: Collection[int]  # those that can send now
    later: bool = False  # its sending hours begin within 24 hours


class SenderQuota(NamedTuple):
    """What a sender has sent in the last 24 hours, and what it may still send."""

    used: int
    free: int


@dataclass(frozen=True)
class PlanShares:
    """What the limits allow each campaign."""

    used: Mapping[int, int]  # by campaign: emails of the last 24 hours
    parts: Mapping[int, Mapping[int, int]]  # by campaign: emails by sender
    free: Mapping[int, int]  # by sender: what it can send beside what is kept for campaigns of later hours

    def share_at(self, campaign: CampaignShare, sender: int, *, helping: bool = False) -> CampaignShare:
        """Return a campaign's share of a sender within what the limits allow.

        The order goes by what each has had in the last 24 hours of all senders. A sender is ``helping`` when
        it has sent its part and takes over emails that other, slower senders have not sent yet.
        """
        number = campaign.campaign_id
        parts = self.parts.get(number, {})
        emails = min(sum(parts.values()), self.free.get(sender, 0)) if helping else parts.get(sender, 0)
        return campaign._replace(had=self.used.get(number, 0), left=min(campaign.left, emails))


def plan_shares(
    remaining: int, demands: Sequence[CampaignDemand], senders: Mapping[int, SenderQuota]
) -> PlanShares:
    """Divide ``remaining``, what the plan still allows, and what the senders do.

    ``senders`` by number: those that can send now.
    """
    free = {number: sender.free for number, sender in senders.items() if sender.free > 0}
    known = [(each, tuple(s for s in each.senders if s in free)) for each in demands]
    able = [(each, own) for each, own in known if own and each.left]
    if _enough(remaining, able, free):  # then nothing is kept for later hours
        able = [(each, own) for each, own in able if not each.later]
    campaigns = [CampaignShare(each.campaign_id, each.used, each.left) for each, _own in able]
    links = [own for _each, own in able]
    loads = {number: CampaignShare(number, senders[number].used, left) for number, left in free.items()}
    ways = assign(divide(remaining, campaigns, links, free), campaigns, links, loads)
    parts = {campaign.campaign_id: way for campaign, way in zip(campaigns, ways, strict=True)}
    kept = dict(free)
    for each, _own in able:
        for sender, emails in parts.get(each.campaign_id, {}).items() if each.later else ():
            kept[sender] -= emails
    return PlanShares({each.campaign_id: each.used for each in demands}, parts, kept)


def _enough(
    remaining: int, able: Sequence[tuple[CampaignDemand, tuple[int, ...]]], free: Mapping[int, int]
) -> bool:
    """Return whether the plan allows all that the senders can send."""
    kinds: dict[tuple[int, ...], int] = {}
    for each, own in able:
        kinds[own] = kinds.get(own, 0) + each.left
    supply = [min(left, sum(free[s] for s in own)) for own, left in kinds.items()]
    return remaining >= route(supply, list(kinds), free).total


def by_pace(per_second: float | None) -> int | None:
    """Return the emails of 24 hours at this pace; None where there is no limit."""
    return int(per_second * SECONDS_A_DAY) if per_second else None
