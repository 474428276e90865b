"""An office over the test's own database, and an installation without Celery: ticks by hand."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from mailganer.db import utcnow
from mailganer.models import Batch, Campaign, CampaignStatus, Delivery, DeliveryStatus, Sender
from mailganer.sending import doubt
from mailganer.sending.lane import Lane
from mailganer.sending.office import Office, open_office
from mailganer.sending.plan import plan
from mailganer.sending.tick import tick

from .processes import Parts
from .scripted import Script


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
    """``open_works(now=clock, script=...)``: an office over the test's database, as another process has."""
    offices: list[Office] = []

    def open_one(now: Callable[[], datetime] = utcnow, script: Script | None = None) -> Works:
        office = open_office(settings, now)
        if script is not None:
            office = replace(
                office,
                open_backend=lambda sender: script.backend(sender.from_email),
                limits=script.limits_of,
            )
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
def deliveries(sessions: sessionmaker[Session]) -> Callable[[int], list[Delivery]]:
    """The rows of a campaign's ledger."""

    def read(campaign_id: int) -> list[Delivery]:
        with sessions() as session:
            query = select(Delivery).where(Delivery.campaign_id == campaign_id).order_by(Delivery.id)
            return list(session.scalars(query))

    return read


@pytest.fixture
def reload(sessions: sessionmaker[Session]) -> Callable[[Any], Any]:
    """The row as it stands in the database now."""

    def read(thing: Any) -> Any:
        with sessions() as session:
            return session.get_one(type(thing), thing.id)

    return read


@pytest.fixture(autouse=True)
def _counts_agree(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: a batch's counts are those of its rows, and no letter is left under way."""
    sessions = request.getfixturevalue("sessions") if "sessions" in request.fixturenames else None
    yield
    if sessions is None:
        return
    with sessions() as session:
        for batch in session.scalars(select(Batch)):
            rows = session.scalars(
                select(Delivery.status).where(Delivery.id.between(batch.first_id, batch.last_id))
            )
            found = Counter(status.value for status in rows)
            kept = {status.value: getattr(batch, status.value) for status in DeliveryStatus}
            assert kept == {word: found[word] for word in kept}, f"batch {batch.number}"


@pytest.fixture
def due(make: Any, smtp_server: Any) -> Callable[..., Campaign]:
    """``due(20)``: a committed campaign to so many people, scheduled for this moment."""

    def make_due(
        people: int,
        sender: Sender | None = None,
        account: Any = None,
        sender_values: Any = None,
        **values: Any,
    ) -> Campaign:
        account = account or make.account(plan="pro")
        sender = sender or make.sender(account, smtp_server, **(sender_values or {}))
        lst = make.list(account)
        if people:
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
