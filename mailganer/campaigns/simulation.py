"""Simulation for the forecast: sending of a campaign and of the campaigns beside it, minute by minute.

It uses the same counters as real sending: every sender's emails in any 24 hours, the plan's, each sender's
pace, and the shares of the campaigns beside this one (:mod:`campaign_shares`).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from ..quota.rolling_counter import RollingCounter
from .forecast import Forecast
from .lane_simulation import LaneSimulation
from .sending_hours import Hours
from .shared_limits_simulation import SharedLimitsSimulation
from .simulation_model import SimulatedCampaign, SimulatedLane


def simulate(
    emails: int,
    starts_at: datetime,
    lanes: Sequence[SimulatedLane],
    plan: RollingCounter,
    timezone: str,
    hours: Hours | None = None,
    beside: int = 0,
    *,
    campaign_id: int = 0,
    had: Sequence[int] = (),
    used: RollingCounter | None = None,
    rivals: Sequence[SimulatedCampaign] = (),
    other_lanes: Sequence[SimulatedLane] | None = None,
) -> Forecast:
    """Simulate the sending of ``emails``. Uses up the counters: make new ones for another question.

    ``rivals`` are other campaigns of these lanes, ``beside`` the emails of one that starts with this one.
    ``had`` is what this one has had of each lane so far, ``used`` its emails of the last 24 hours.
    ``other_lanes`` are the account's senders that this one does not use; they follow ``lanes`` in the numbers
    of rivals. Where they are given, the plan's limit is divided among the campaigns (:mod:`plan_shares`).
    """
    numbers = range(len(lanes))
    so_far = dict(zip(numbers, had or [0] * len(lanes), strict=True))
    ours = SimulatedCampaign(campaign_id, emails, starts_at, hours, so_far, used or RollingCounter(None))
    others = list(rivals)
    if beside:
        others.append(SimulatedCampaign(campaign_id - 1, beside, starts_at, hours, dict.fromkeys(numbers, 0)))
    zone = ZoneInfo(timezone)
    if other_lanes is not None and lanes:
        everything = [*lanes, *other_lanes]
        if _limits_are_divided(plan, everything, [ours, *others]):
            sorted_lanes = _sort_by_id(everything, [ours, *others])
            return SharedLimitsSimulation(ours, others, sorted_lanes, plan, zone).run()
        others = [beside for beside in map(partial(_through, len(lanes)), others) if beside.had]
    return LaneSimulation(ours, others, lanes, plan, zone).run()


def _limits_are_divided(
    plan: RollingCounter, lanes: Sequence[SimulatedLane], campaigns: Sequence[SimulatedCampaign]
) -> bool:
    """Return whether campaigns share limits, or one may send through several senders with limits."""
    limited = plan.limit is not None or any(lane.counter.limit is not None for lane in lanes)
    return limited and (len(campaigns) > 1 or len(campaigns[0].had) > 1)


def _sort_by_id(
    lanes: Sequence[SimulatedLane], campaigns: Sequence[SimulatedCampaign]
) -> list[SimulatedLane]:
    """Return the lanes in the order of their senders' ids, and renumber them in the campaigns."""
    order = sorted(range(len(lanes)), key=lambda number: lanes[number].sender_id)
    numbers = {old: new for new, old in enumerate(order)}
    for campaign in campaigns:
        campaign.had = {numbers[old]: had for old, had in sorted(campaign.had.items())}
    return [lanes[old] for old in order]


def _through(lanes: int, campaign: SimulatedCampaign) -> SimulatedCampaign:
    """Return a campaign as far as the first ``lanes`` know it."""
    return replace(campaign, had={number: had for number, had in campaign.had.items() if number < lanes})
