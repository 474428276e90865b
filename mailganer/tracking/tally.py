"""The numbers of a delivery and of its campaign's tally, changed together."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..models import TALLY_SHARDS, Delivery, Tally


@dataclass(frozen=True)
class Numbers:
    """What one delivery adds to its campaign, or what a campaign has brought in all."""

    opened_certain: int = 0  # people
    opened_possible: int = 0  # people; perhaps it was a privacy proxy
    opens: int = 0
    machine_opens: int = 0
    clicked: int = 0  # people
    clicks: int = 0
    machine_clicks: int = 0
    unsubscribed: int = 0  # people


def campaign_numbers(session: Session, campaign_ids: list[int]) -> dict[int, Numbers]:
    """What campaigns have brought. Every id asked for is answered."""
    sums = [func.sum(getattr(Tally, name)) for name in asdict(Numbers())]
    rows = session.execute(
        select(Tally.campaign_id, *sums)
        .where(Tally.campaign_id.in_(campaign_ids))
        .group_by(Tally.campaign_id)
    )
    found = {row[0]: Numbers(*(int(value) for value in row[1:])) for row in rows}
    return {campaign_id: found.get(campaign_id, Numbers()) for campaign_id in campaign_ids}


def numbers_of(delivery: Delivery) -> Numbers:
    opened = delivery.first_opened_at is not None
    return Numbers(
        opened_certain=int(opened and delivery.certain_open),
        opened_possible=int(opened and not delivery.certain_open),
        opens=delivery.opens,
        machine_opens=delivery.machine_opens,
        clicked=int(delivery.first_clicked_at is not None),
        clicks=delivery.clicks,
        machine_clicks=delivery.machine_clicks,
        unsubscribed=int(delivery.unsubscribed_at is not None),
    )


@contextmanager
def counted(session: Session, delivery: Delivery) -> Iterator[None]:
    """Whatever happens to the delivery's numbers within is added to the tally. The row must be locked."""
    with counted_together(session, [delivery]):
        yield


@contextmanager
def counted_together(session: Session, deliveries: Collection[Delivery]) -> Iterator[None]:
    """The same for many at once: a tally of many of them is written once. All rows must be locked."""
    before = {delivery.id: numbers_of(delivery) for delivery in deliveries}
    yield
    changes: dict[tuple[int, int], Counter[str]] = {}
    for delivery in deliveries:
        shard = changes.setdefault((delivery.campaign_id, delivery.id % TALLY_SHARDS), Counter())
        shard.update(_difference(before[delivery.id], numbers_of(delivery)))
    session.flush()  # deliveries before tallies, always: who comes meanwhile queues up
    for (campaign_id, shard_number), change in sorted(changes.items(), key=lambda each: each[0]):
        _add(session, campaign_id, shard_number, {name: n for name, n in change.items() if n})


def _difference(before: Numbers, after: Numbers) -> dict[str, int]:
    return {name: number - getattr(before, name) for name, number in vars(after).items()}


def _add(session: Session, campaign_id: int, shard: int, changes: dict[str, int]) -> None:
    if not changes:
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    key = {"campaign_id": campaign_id, "shard": shard}
    row = insert(Tally).values(**key, **asdict(Numbers()) | changes)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["campaign_id", "shard"],
            set_={name: getattr(Tally, name) + change for name, change in changes.items()},
        )
    )
