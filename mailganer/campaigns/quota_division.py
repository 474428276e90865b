"""Max-min fair division of emails among campaigns that share senders with limits.

Each email goes to the campaign that has had least and can still get one; how much can still be sent is a
maximum flow from the campaigns through their senders. The result is a function of the state alone. If part of
it is sent, in any order, dividing the rest of the quota gives the rest of it: so it depends neither on the
order of lanes nor on the sizes of windows. No database here.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .campaign_shares import CampaignShare, shares


@dataclass(frozen=True)
class Flow:
    """Emails routed to senders, as many as possible."""

    routes: list[dict[int, int]]  # by position of the source: emails by sender
    tight_sources: list[int]  # positions of those that cannot send all, and of those that compete with them
    tight_senders: set[int]  # the senders of these: they are used up

    @property
    def total(self) -> int:
        return sum(sum(route.values()) for route in self.routes)


def route(supply: Sequence[int], links: Sequence[Collection[int]], free: Mapping[int, int]) -> Flow:
    """Route each ``supply`` through the senders it is linked to, within what these have free."""
    left, rest = dict(free), list(supply)
    routes: list[dict[int, int]] = [{} for _each in supply]
    for n in sorted(range(len(supply)), key=lambda n: len(links[n])):
        for sender in links[n]:
            emails = min(rest[n], left[sender])
            if emails:
                routes[n][sender] = emails
                rest[n] -= emails
                left[sender] -= emails
    if any(rest):
        users = {sender: {n for n, route in enumerate(routes) if sender in route} for sender in free}
        for n in range(len(supply)):
            while rest[n] and _reroute(n, rest, links, left, routes, users):
                pass
        found = _reachable([n for n in range(len(supply)) if rest[n]], links, users)
        return Flow(routes, list(found[0]), set(found[1]))
    return Flow(routes, [], set())


def _reachable(
    sources: Sequence[int],
    links: Sequence[Collection[int]],
    users: Mapping[int, Collection[int]],
    left: Mapping[int, int] | None = None,
) -> tuple[dict[int, int | None], dict[int, int], int | None]:
    """Search from sources over their senders to the sources that use these, and so on.

    Return whence each source and each sender was reached, and the first sender with something ``left``.
    """
    came: dict[int, int | None] = dict.fromkeys(sources)
    through: dict[int, int] = {}
    waiting = deque(sources)
    while waiting:
        n = waiting.popleft()
        for sender in links[n]:
            if sender in through:
                continue
            through[sender] = n
            if left and left[sender]:
                return came, through, sender
            for other in users[sender]:
                if other not in came:
                    came[other] = sender
                    waiting.append(other)
    return came, through, None


def _reroute(
    n: int,
    rest: list[int],
    links: Sequence[Collection[int]],
    left: dict[int, int],
    routes: list[dict[int, int]],
    users: dict[int, set[int]],
) -> bool:
    """Send more of source ``n`` by moving others to other senders. Return whether it was possible."""
    came, through, end = _reachable([n], links, users, left)
    if end is None:
        return False
    path: list[tuple[int, int, int | None]] = []  # source, the sender it gets, the one it gives away
    sender: int | None = end
    while sender is not None:
        source = through[sender]
        path.append((source, sender, came[source]))
        sender = came[source]
    given = (routes[source][lost] for source, _gained, lost in path if lost is not None)
    emails = min(rest[n], left[end], *given)
    for source, gained, lost in path:
        routes[source][gained] = routes[source].get(gained, 0) + emails
        users[gained].add(source)
        if lost is not None:
            routes[source][lost] -= emails
            if not routes[source][lost]:
                del routes[source][lost]
                users[lost].discard(source)
    rest[n] -= emails
    left[end] -= emails
    return True


def components(links: Sequence[Collection[int]]) -> list[tuple[list[int], set[int]]]:
    """Return groups of sources that share senders: their positions, and their senders."""
    found: list[tuple[list[int], set[int]]] = []
    by_sender: dict[int, tuple[list[int], set[int]]] = {}
    for n, senders in enumerate(links):
        group: tuple[list[int], set[int]] = ([n], set(senders))
        for joined in {id(by_sender[s]): by_sender[s] for s in senders if s in by_sender}.values():
            found.remove(joined)
            group = (joined[0] + group[0], joined[1] | group[1])
        found.append(group)
        by_sender.update(dict.fromkeys(group[1], group))
    return found


def divide(
    remaining: int,
    campaigns: Sequence[CampaignShare],
    links: Sequence[Collection[int]],
    free: Mapping[int, int],
) -> list[int]:
    """Return how many of ``remaining`` emails each gets.

    ``links`` are its senders, ``free`` what these can send.

    Divide as if the senders did not matter. Where campaigns then get more than their senders can send, these
    senders are divided among them alone, and the rest among the others (decomposition of a separable
    convex resource allocation, Groenevelt 1991).
    """
    found = [0] * len(campaigns)
    waiting = [(remaining, list(range(len(campaigns))), dict(free))]
    while waiting:
        remaining, members, free = waiting.pop()
        own = [tuple(s for s in links[n] if free.get(s)) for n in members]
        bounded = [
            campaigns[n]._replace(left=min(campaigns[n].left, sum(free[s] for s in senders)))
            for n, senders in zip(members, own, strict=True)
        ]
        remaining = min(remaining, sum(free.values()))
        parts = shares(remaining, bounded)
        kinds = _by_senders(own)
        supply = [sum(parts[n] for n in positions) for positions in kinds.values()]
        tight = route(supply, list(kinds), free) if len(free) > 1 else Flow([], [], set())
        if not tight.tight_senders:
            for n, part in zip(members, parts, strict=True):
                found[n] = part
            continue
        positions_of, senders_of = list(kinds.values()), list(kinds)
        inside = [senders_of[kind] for kind in tight.tight_sources]
        for kinds_inside, senders in components(inside):
            held = [members[n] for each in kinds_inside for n in positions_of[tight.tight_sources[each]]]
            waiting.append((sum(free[s] for s in senders), held, {s: free[s] for s in senders}))
        spent = sum(free[s] for s in tight.tight_senders)
        outside = set(range(len(positions_of))) - set(tight.tight_sources)
        others = [members[n] for kind in sorted(outside) for n in positions_of[kind]]
        still_free = {s: number for s, number in free.items() if s not in tight.tight_senders}
        if others:
            waiting.append((remaining - spent, others, still_free))
    return found


def _by_senders(links: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """Return the positions of those with the same senders."""
    found: dict[tuple[int, ...], list[int]] = {}
    for n, senders in enumerate(links):
        found.setdefault(senders, []).append(n)
    return found


def assign(
    parts: Sequence[int],
    campaigns: Sequence[CampaignShare],
    links: Sequence[Collection[int]],
    senders: Mapping[int, CampaignShare],
) -> list[dict[int, int]]:
    """Return through which senders these parts go, for each: emails by sender.

    ``senders`` by number: what each has sent in 24 hours and can still send. The one that has sent least
    comes first.
    """
    kinds = _by_senders([tuple(links[n]) if parts[n] else () for n in range(len(parts))])
    kinds.pop((), None)
    supply = [sum(parts[n] for n in positions) for positions in kinds.values()]
    loads = {number: sender.left for number, sender in senders.items()}
    if any(len(kind) > 1 for kind in kinds):
        loads = _loads(supply, list(kinds), senders)
    found: list[dict[int, int]] = [{} for _part in parts]
    for positions, by_sender in zip(kinds.values(), route(supply, list(kinds), loads).routes, strict=True):
        for sender in sorted(by_sender):
            rest = [
                campaigns[n]._replace(
                    had=campaigns[n].had + sum(found[n].values()), left=parts[n] - sum(found[n].values())
                )
                for n in positions
            ]
            for n, emails in zip(positions, shares(by_sender[sender], rest), strict=True):
                if emails:
                    found[n][sender] = emails
    return found


def _loads(
    supply: Sequence[int], kinds: Sequence[tuple[int, ...]], senders: Mapping[int, CampaignShare]
) -> dict[int, int]:
    """Return how many emails go through each sender: the same division, with the roles exchanged."""
    used = [number for number in senders if any(number in kind for kind in kinds)]
    links = [[n for n, kind in enumerate(kinds) if number in kind] for number in used]
    loads = divide(sum(supply), [senders[number] for number in used], links, dict(enumerate(supply)))
    return dict(zip(used, loads, strict=True))
