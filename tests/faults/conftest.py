"""Real faults: of our processes, of servers, of databases, of clocks.

``docs/faults.md`` names the test of each case.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mailganer.models import Delivery, DeliveryStatus
from mailganer.sending.context import SendingContext
from tests.backends.faulty import FaultyServer
from tests.support.databases import Databases
from tests.support.disks import LimitedFiles, SmallDisk, small_disk
from tests.support.redis import Redis

PLAIN = ("8BITMIME", "ENHANCEDSTATUSCODES")  # no pipelining across emails: one on the wire at a time


@pytest.fixture(autouse=True)
def _counts_agree(counts_agree: None) -> None:
    """Check after each test that the ledger's counts match its rows."""


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A mail server with a login and configurable faults."""
    server = FaultyServer(features=PLAIN, passwords={"anna@example.com": "secret"})
    yield server
    server.stop()


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis that the test may kill."""
    server = Redis()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def safe_databases() -> Iterator[Databases]:
    """On a PostgreSQL configured as in production: commits are durable."""
    databases = Databases(fsync="on", synchronous_commit="on", full_page_writes="on")
    yield databases
    databases.stop()


@pytest.fixture
def safe_database_url(safe_databases: Databases) -> Iterator[str]:
    url = safe_databases.fresh("postgresql")
    yield url
    safe_databases.drop(url)


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk | LimitedFiles]:
    """A small disk with all data (``mailganer.data_dir``); for both kinds, write

    @pytest.mark.parametrize("disk", ["mounted", "limited"], indirect=True)
    """
    with small_disk(tmp_path / "var", getattr(request, "param", "mounted") == "mounted") as disk:
        yield disk


def at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, nth: int, do: Callable[..., None]) -> None:
    """Run something before the ``nth`` call of ``owner.name``, with its arguments."""
    original, calls = getattr(owner, name), count(1)

    def watched(*arguments: Any, **options: Any) -> Any:
        if next(calls) == nth:
            do(*arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, watched)


def with_one_connection(context: SendingContext) -> SendingContext:
    """Limit sending to one email on the wire at a time."""
    return replace(context, limits=lambda sender: replace(context.limits(sender), max_connections=1))


@pytest.fixture
def pledge() -> Callable[..., list[Delivery]]:
    """``pledge(server.counts, rows)``: no recipient twice, none lost, every doubt explained."""

    def check(got: Counter[str], rows: list[Delivery], *, pending: bool = False) -> list[Delivery]:
        assert {email: number for email, number in got.items() if number > 1} == {}
        rows = [row for row in rows if not (pending and row.status is DeliveryStatus.pending)]
        assert {row.status.value for row in rows} <= {"sent", "in_doubt"}
        doubtful = [row for row in rows if row.status is DeliveryStatus.in_doubt]
        assert {row.email for row in rows} - set(got) <= {row.email for row in doubtful}
        assert all(row.settled_at and row.reason and row.dated_at for row in doubtful)
        return doubtful

    return check


@pytest.fixture
def campaign_to(due: Any, server: FaultyServer, make: Any) -> Callable[..., Any]:
    """``campaign_to(20)``: a committed campaign that is sent through ``server``."""

    def make_one(people: int, **values: Any) -> Any:
        account = make.account(plan="pro")
        return due(people, make.sender(account, server), account, **values)

    return make_one
