"""Open pixels per second of the web part, their latency, and how long an open is at risk.

    python benchmarks/pixel.py [--requests 60000] [--connections 64] [--emails 5000]

Starts the web part with its own command, on a durable PostgreSQL (fsync on), and fetches the
pixels of many emails over persistent connections, with a program in C. Everything shares the machine's
cores. An open is at risk from the response until it is in the database, which is checked during the run.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Signal
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmarks.support.measure import children_cpu, cpu_of, cpu_of_family
from benchmarks.support.web_part import SAFE, SECRET, Readers, web_part
from mailganer.db import make_engine, utcnow
from mailganer.migrations import migrate
from mailganer.models import Event, EventKind, SubscriberList
from mailganer.tracking import campaign_numbers
from mailganer.vault import Vault
from tests.support.factories import Factory
from tests.support.ports import free_port, wait_until
from tests.support.postgresql import PostgreSQL
from tests.support.sent import sent_campaign, token

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LOOKS = 0.02  # seconds between two checks of the database
WRITTEN_WITHIN = 30  # seconds after the last response; half a second is promised


def prepare(url: str, emails: int) -> tuple[int, list[str]]:
    """A sent campaign, and the tokens of its emails."""
    engine = make_engine(url)
    migrate(engine)
    with Session(engine) as session:
        make = Factory(session, NOW, Vault((SECRET,)))
        account = make.account()
        readers: SubscriberList = make.list(account)
        people = [make.subscriber(account, lists=(readers,)) for _ in range(emails)]
        campaign = make.campaign(account, (readers,), (make.sender(account),))
        deliveries = sent_campaign(session, campaign, people, NOW)
        session.commit()
        tokens = [token(each) for each in deliveries]
        campaign_id = campaign.id
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return campaign_id, tokens


class Watch(Thread):
    """Poll the age of the newest written open, which bounds how long any answered open waits."""

    def __init__(self, url: str, campaign_id: int) -> None:
        super().__init__(daemon=True)
        self._engine, self._ended = make_engine(url), Signal()
        self._newest = select(func.max(Event.at)).where(
            Event.campaign_id == campaign_id, Event.kind == EventKind.open
        )
        self._begun = utcnow()
        self.seen: list[float] = []

    def run(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self._ended.wait(LOOKS):
                at = connection.scalar(self._newest) or self._begun
                self.seen.append((utcnow() - max(at, self._begun)).total_seconds())

    def end(self) -> None:
        self._ended.set()
        self.join()
        self._engine.dispose()


def count(url: str, campaign_id: int) -> int:
    engine = make_engine(url)
    with Session(engine) as session:
        found = campaign_numbers(session, [campaign_id])[campaign_id].opens
    engine.dispose()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--emails", type=int, default=5_000)
    options = parser.parse_args()
    server = PostgreSQL(SAFE)
    try:
        server.create("bench")
        return measure(server, options)
    finally:
        server.stop()


def measure(server: PostgreSQL, options: argparse.Namespace) -> int:
    url, port = server.url("bench"), free_port()
    campaign_id, tokens = prepare(url, options.emails)
    readers = Readers()
    with web_part(url, port) as web:
        paths = [f"/o/{each}.gif" for each in tokens]
        readers.fetch(port, paths[:100], 100, 10)  # connections to the database, plans of statements
        wait_until(lambda: count(url, campaign_id) == 100, WRITTEN_WITHIN, what="the first opens")
        before = cpu_of(web), cpu_of_family(server.pid), children_cpu()
        watch = Watch(url, campaign_id)
        watch.start()
        fetched = readers.fetch(port, paths, options.requests, options.connections)
        watch.end()
        wanted, started = options.requests + 100, time.perf_counter()
        while count(url, campaign_id) < wanted and time.perf_counter() - started < WRITTEN_WITHIN:
            time.sleep(0.02)
        settled = time.perf_counter() - started
        after = cpu_of(web), cpu_of_family(server.pid), children_cpu()
        counted = count(url, campaign_id)
    of_web, of_database, of_readers = (
        (b - a) / options.requests * 1e6 for a, b in zip(before, after, strict=True)
    )
    print(f"{fetched.speed:,.0f} pixels a second over {options.connections} connections")
    print(
        f"answered within {fetched.half:.0f} ms (half of them), {fetched.most:.0f} ms (99 %),"
        f" {fetched.longest:.0f} ms (all)"
    )
    print(f"CPU each: web part {of_web:.0f} us, PostgreSQL {of_database:.0f} us, readers {of_readers:.0f} us")
    print(f"longest at risk: {max(watch.seen):.2f} s; the last was written {settled:.2f} s after its answer")
    print(f"{counted:,} of {wanted:,} counted")
    return 0 if counted == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
