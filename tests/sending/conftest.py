"""An office over the test's own database, and an installation without Celery: ticks by hand."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from mailganer.db import utcnow
from mailganer.models import Campaign, CampaignStatus, Delivery, Sender
from mailganer.sending import doubt
from mailganer.sending.lane import Lane
from mailganer.sending.office import Office, open_office
from mailganer.sending.plan import plan
from mailganer.sending.tick import tick

from .processes import Parts


class Clock:
    """A moment that goes on only when told to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Works:
    """What beat and worker do, in this process: one tick after another."""

    def __init__(self, office: Office) -> None:
        self.office = office

    def tick(self) -> None:
        for call in tick(self.office):
            if call.task == "plan":
                plan(self.office, *call.ids)
            elif call.task == "pump":
                Lane(self.office, *call.ids).run(30)
            elif call.task == "look_up":
                doubt.look_up(self.office, *call.ids)

    def run(self, ticks: int = 6) -> None:
        for _each in range(ticks):
            self.tick()


@pytest.fixture
def open_works(settings: Any) -> Iterator[Callable[..., Works]]:
    """``open_works(now=clock)``: another office over the same database, as another process would have."""
    offices: list[Office] = []

    def open_one(now: Callable[[], datetime] = utcnow) -> Works:
        office = open_office(settings, now)
        offices.append(office)
        return Works(office)

    yield open_one
    for office in offices:
        office.engine.dispose()


@pytest.fixture
def works(open_works: Callable[..., Works]) -> Works:
    return open_works()


@pytest.fixture
def office(works: Works) -> Office:
    return works.office


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def statuses(sessions: sessionmaker[Session]) -> Callable[[int], Counter[str]]:
    """How many deliveries of a campaign are in which state, by their rows."""

    def count(campaign_id: int) -> Counter[str]:
        with sessions() as session:
            rows = session.scalars(select(Delivery.status).where(Delivery.campaign_id == campaign_id))
            return Counter(status.value for status in rows)

    return count


@pytest.fixture
def due(make: Any, smtp_server: Any) -> Callable[..., Campaign]:
    """``due(20)``: a committed campaign to so many people, scheduled for this moment."""

    def make_due(people: int, sender: Sender | None = None, account: Any = None, **values: Any) -> Campaign:
        account = account or make.account(plan="pro")
        sender = sender or make.sender(account, smtp_server)
        lst = make.list(account)
        make.subscribers(account, people, lst)
        defaults = {"status": CampaignStatus.scheduled, "send_at": make.now}
        campaign = make.campaign(account, (lst,), (sender,), **{**defaults, **values})
        make.commit()
        return campaign

    return make_due


@pytest.fixture
def parts(ini_values: dict[str, str], broker_url: str, tmp_path: Any) -> Iterator[Parts]:
    """Worker and beat as processes, with both kinds of database and of broker."""
    ini_values["celery.broker_url"] = broker_url
    folder = tmp_path / "parts"
    folder.mkdir()
    running = Parts(folder, ini_values)
    yield running
    running.stop()
