"""Campaigns of one simulated lane, and how its emails are divided among them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from .campaign_shares import PLENTY, CampaignShare, shares, until_done
from .simulation_model import SimulatedCampaign, SimulatedLane


@dataclass
class LaneQueue:
    """The campaigns that take turns on one lane, and the emails sent since they were last divided."""

    number: int
    lane: SimulatedLane
    ours: SimulatedCampaign
    campaigns: list[SimulatedCampaign] = field(default_factory=list)
    left: int = 0  # waiting recipients of all of them
    until_done: int = 0  # emails of all until the last of ours is sent
    sent: int = 0
    begins: datetime | None = None
    ends: datetime | None = None

    def fill(self, active: Iterable[SimulatedCampaign]) -> None:
        """Start with the campaigns that may send now. A newly active one starts at the others' level."""
        number, floor = self.number, self.lane.floor
        self.campaigns = [each for each in active if number in each.had and each.left]
        for each in self.campaigns:
            each.had[number] = max(each.had[number], floor)
        self.recount()

    def recount(self) -> None:
        """Count the waiting recipients again."""
        self.left = sum(each.left for each in self.campaigns)
        self.until_done = self.emails_until_ours_are_sent() if self.ours in self.campaigns else self.left

    def emails_until_ours_are_sent(self, *, count_equals: bool = False) -> int:
        """Return how many emails are sent until then.

        With ``count_equals`` those of campaigns at the same level are included.
        """
        others = [_share(each, self.number) for each in self.campaigns if each is not self.ours]
        ours = _share(self.ours, self.number)
        return until_done(ours._replace(campaign_id=PLENTY) if count_equals else ours, others)

    def divide(self, emails: int, taken: Mapping[int, int]) -> list[int]:
        """Return each campaign's part of the emails. ``taken`` is what they send through other lanes."""
        return shares(emails, [_share(each, self.number, taken.get(id(each), 0)) for each in self.campaigns])

    def record_shares(self, parts: Sequence[int]) -> None:
        """Record what each campaign has had, and the sender's new floor."""
        number, alone = self.number, len(self.campaigns) == 1
        for campaign, part in zip(self.campaigns, parts, strict=True):
            campaign.left -= part
            if not alone:
                campaign.had[number] += part
        waiting = [each.had[number] for each in self.campaigns if each.left]
        last = min(waiting) if waiting else min(each.had[number] for each in self.campaigns)
        self.lane.floor = max(self.lane.floor, last)
        self.sent, self.begins = 0, None


def _share(campaign: SimulatedCampaign, number: int, taken: int = 0) -> CampaignShare:
    return CampaignShare(campaign.campaign_id, campaign.had[number], campaign.left - taken)
