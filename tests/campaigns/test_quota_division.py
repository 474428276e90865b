"""Division of emails among campaigns with several senders: fair, complete, and the same in any order."""

import random

import pytest

from mailganer.campaigns.campaign_shares import PLENTY, CampaignShare
from mailganer.campaigns.quota_division import assign, components, divide, route

Case = tuple[int, list[CampaignShare], list[tuple[int, ...]], dict[int, CampaignShare]]


def some(rnd: random.Random) -> Case:
    """Remaining emails, campaigns with their senders, and the senders by number."""
    senders = {
        number: CampaignShare(number, rnd.randrange(12), rnd.choice([0, *range(1, 15)]))
        for number in rnd.sample(range(90), rnd.randrange(1, 5))
    }
    turns = [
        CampaignShare(number, rnd.randrange(10), rnd.choice([PLENTY, rnd.randrange(1, 15)]))
        for number in rnd.sample(range(1000), rnd.randrange(1, 6))
    ]
    able = [number for number, sender in senders.items() if sender.left]
    links = [tuple(sorted(rnd.sample(able, min(len(able), rnd.choice([1, 1, 2, 3]))))) for _turn in turns]
    return rnd.choice([PLENTY, rnd.randrange(40)]), turns, links, senders


def free_of(case: Case) -> dict[int, int]:
    return {number: sender.left for number, sender in case[3].items() if sender.left}


def one_by_one(case: Case) -> list[int]:
    """What ``divide`` promises, email by email."""
    remaining, turns, links, _senders = case
    found = [0] * len(turns)
    able = set(range(len(turns)))
    while able and sum(found) < remaining:
        n = min(able, key=lambda n: (turns[n].had + found[n], turns[n].campaign_id))
        found[n] += 1
        if found[n] > turns[n].left or route(found, links, free_of(case)).total < sum(found):
            found[n] -= 1
            able.remove(n)
    return found


@pytest.mark.parametrize("seed", range(80))
def test_the_division_is_that_of_emails_dealt_out_one_by_one(seed: int) -> None:
    case = some(random.Random(seed))
    assert divide(case[0], case[1], case[2], free_of(case)) == one_by_one(case)


@pytest.mark.parametrize("seed", range(80))
def test_emails_sent_in_any_order_change_nothing_of_the_division(seed: int) -> None:
    rnd = random.Random(seed)
    remaining, turns, links, senders = some(rnd)
    found, loads = None, None
    had = [turn.had for turn in turns]
    sent = dict.fromkeys(senders, 0)
    while True:
        free = {number: sender.left for number, sender in senders.items() if sender.left}
        links = [tuple(s for s in own if s in free) for own in links]
        parts = divide(remaining, turns, links, free)
        ways = assign(parts, turns, links, {number: senders[number] for number in free})
        assert [sum(way.values()) for way in ways] == parts
        totals = [turn.had - was + part for turn, was, part in zip(turns, had, parts, strict=True)]
        through = {s: sent[s] + sum(way.get(s, 0) for way in ways) for s in senders}
        assert totals == (found := found or totals)
        assert through == (loads := loads or through)
        choices = [(n, s, emails) for n, way in enumerate(ways) for s, emails in way.items()]
        if not choices:
            break
        n, s, emails = rnd.choice(choices)
        emails = rnd.randrange(1, emails + 1)
        turns[n] = turns[n]._replace(had=turns[n].had + emails, left=turns[n].left - emails)
        senders[s] = senders[s]._replace(had=senders[s].had + emails, left=senders[s].left - emails)
        sent[s] += emails
        remaining -= emails


def test_campaigns_that_share_a_sender_belong_together() -> None:
    assert components([(1,), (2, 3), (4,), (3, 1)]) == [([2], {4}), ([0, 1, 3], {1, 2, 3})]
