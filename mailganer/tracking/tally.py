"""The numbers of a delivery and of its campaign's tally, changed together."""

from collections.abc import Iterator
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
    before = asdict(numbers_of(delivery))
    yield
    after = asdict(numbers_of(delivery))
    changes = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    if changes:
        session.flush()  # deliveries before tallies, always: who comes meanwhile queues up
        _add(session, delivery, changes)


def _add(session: Session, delivery: Delivery, changes: dict[str, int]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    key = {"campaign_id": delivery.campaign_id, "shard": delivery.id % TALLY_SHARDS}
    row = insert(Tally).values(**key, **asdict(Numbers()) | changes)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["campaign_id", "shard"],
            set_={name: getattr(Tally, name) + change for name, change in changes.items()},
        )
    )
