"""Fair shares of what an account's plan allows, among campaigns of several senders.

The plan's limit of any 24 hours is divided as if each email went to the campaign that has had least in the
last 24 hours (:func:`turns.shares`). A campaign keeps no more for itself than its senders can still send, so
that a slow sender, or one with a small limit of its own, leaves the rest to the others.

The worker asks before each window, the forecast for each minute. No database here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .turns import CampaignShare, shares

SECONDS_A_DAY = 24 * 60 * 60


class CampaignDemand(NamedTuple):
    """A campaign that can send now, or whose sending hours begin within 24 hours."""

    campaign_id: int
    used: int  # emails of the last 24 hours, those of open windows included
    left: int  # recipients who wait
    senders: Collection[int]  # those that can send now


@dataclass(frozen=True)
class PlanShares:
    """What the plan allows each campaign."""

    used: Mapping[int, int]  # by campaign: emails of the last 24 hours
    kept: Mapping[int, int]  # by campaign: what the others leave to it
    of_senders: Mapping[int, int]  # by campaign: the same for all campaigns of its senders together
    spare: int  # more than all of them can send
    enough: bool  # the plan lets all senders send what they can, so that only their own limits count

    def turn(self, turn: CampaignShare) -> CampaignShare:
        """Return a campaign's turn at a sender within what the plan allows.

        While the plan's limit decides, the order goes by what each had of the plan, too. What a campaign has
        had of the sender is not counted then.
        """
        number = turn.campaign_id
        if self.enough:
            return turn._replace(left=min(turn.left, self.of_senders.get(number, 0) + self.spare))
        return turn._replace(had=self.used.get(number, 0), left=min(turn.left, self.kept.get(number, 0)))


class _Group(NamedTuple):
    """Campaigns that share senders, and what these may still send within 24 hours."""

    turns: list[CampaignShare]
    free: int


def plan_shares(remaining: int, demands: Sequence[CampaignDemand], senders: Mapping[int, int]) -> PlanShares:
    """Divide ``remaining``. ``senders`` is what each sender may still send within 24 hours."""
    groups, kept, of_senders, enough = _groups(demands, senders), {}, {}, True
    while groups:
        parts = _divide(remaining, groups)
        full = [n for n, group in enumerate(groups) if sum(parts[n]) > group.free]
        if not full:
            enough = remaining >= sum(turn.left for group in groups for turn in group.turns)
        for n in full or range(len(groups)):
            # Whose senders cannot send their part send what they can. The others share the rest.
            turns, free = groups[n]
            given = shares(free, turns) if full else parts[n]
            for turn, part in zip(turns, given, strict=True):
                kept[turn.campaign_id], of_senders[turn.campaign_id] = part, sum(given)
            remaining -= sum(given)
        groups = [group for n, group in enumerate(groups) if full and n not in full]
    used = {demand.campaign_id: demand.used for demand in demands}
    return PlanShares(used, kept, of_senders, max(0, remaining), enough)


def _groups(demands: Sequence[CampaignDemand], senders: Mapping[int, int]) -> list[_Group]:
    together: list[tuple[set[int], list[CampaignShare]]] = []
    for each in demands:
        own = {sender for sender in each.senders if senders.get(sender, 0) > 0}
        left = min(each.left, sum(senders[sender] for sender in own))
        if not left:
            continue
        turns = [CampaignShare(each.campaign_id, each.used, left)]
        for joined in [group for group in together if not own.isdisjoint(group[0])]:
            together.remove(joined)
            own, turns = own | joined[0], joined[1] + turns
        together.append((own, turns))
    return [_Group(turns, sum(senders[sender] for sender in own)) for own, turns in together]


def _divide(remaining: int, groups: Sequence[_Group]) -> list[list[int]]:
    """Return the parts of each group's campaigns, whatever their senders can send."""
    parts = iter(shares(remaining, [turn for group in groups for turn in group.turns]))
    return [[next(parts) for _turn in group.turns] for group in groups]


def by_pace(per_second: float | None) -> int | None:
    """Return the emails of 24 hours at this pace; None where there is no limit."""
    return int(per_second * SECONDS_A_DAY) if per_second else None
