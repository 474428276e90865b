"""Many campaigns due at once: the longest queue, and the time until all of them are sent.

    python benchmarks/storm.py [--campaigns 500] [--accounts 200] [--recipients 1] [--busy 4]
                               [--database sqlite postgresql] [--by schedule api] [--limit 120]
                               [--duplicate 10] [--delay 60] [--lose 0.5] [--finished 1000]

Starts installations with ``mailganer serve``: on SQLite with the embedded broker, and on PostgreSQL with
Redis. ``--busy`` processes that only use CPU time run beside it. The mail server is in C and accepts
everything. ``--by api`` starts the campaigns through the API, eight at a time.

With ``--duplicate``, ``--delay`` or ``--lose``, a proxy before the broker repeats each message, delays it
for that many seconds, or loses that fraction of them. The embedded broker is then started beside the
installation. With ``--delay``, each storm takes that much longer to prepare. ``--finished`` gives the first
sender that many finished campaigns: ``--campaigns 1 --finished 1000`` shows when a new one starts then.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from benchmarks.support.sinks import Sink
from mailganer import broker
from mailganer.accounts import create_api_token
from mailganer.db import make_engine, utcnow
from mailganer.models import Batch, Campaign, CampaignStatus, Heartbeat
from mailganer.settings import load
from mailganer.vault import Vault
from tests.support.broker_proxy import BrokerProxy, Fate
from tests.support.embedded_broker import EmbeddedBroker
from tests.support.factories import Factory
from tests.support.installation import SECRET, Installation
from tests.support.past_campaigns import add_past_campaigns
from tests.support.ports import die_with_parent, wait_until
from tests.support.postgresql import PostgreSQL
from tests.support.redis import Redis

CLIENTS = 8
LOOKS = 0.25  # seconds between two checks of the queue
SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}


@dataclass
class Storm:
    """The measurements of one storm: seconds since the campaigns were due."""

    emails: int
    first: float | None = None
    sent: float | None = None
    finished: float | None = None
    longest: int = 0
    left: int = 0  # emails that were not sent within the limit


def prepare(
    engine: Engine, port: int, campaigns: int, accounts: int, recipients: int, finished: int
) -> list[tuple[int, str]]:
    """Create drafts, alternating between the accounts; return their ids with a token of the account."""
    made = []
    with Session(engine) as session:
        make = Factory(session, utcnow(), Vault((SECRET,)))
        owners = []
        for number in range(accounts):
            account = make.account(f"owner{number}@example.com", postal_address="1 Long Road, Oslo")
            readers = make.list(account)
            make.subscribers(account, recipients, readers)
            settings = {"host": "127.0.0.1", "port": port, "security": "none", "username": ""}
            sender = make.sender(account, settings=settings, secrets=None)
            token, _row = create_api_token(session, account, name="storm", now=make.now)
            owners.append((account, readers, sender, token))
        if finished:
            add_past_campaigns(session, owners[0][2], finished, make.now)
        for number in range(campaigns):
            account, readers, sender, token = owners[number % accounts]
            made.append((make.campaign(account, (readers,), (sender,)).id, token))
        session.commit()
    return made


def by_schedule(engine: Engine, _url: str, made: list[tuple[int, str]]) -> float:
    """Schedule all campaigns for the same time."""
    due = utcnow() + timedelta(seconds=1)
    with Session(engine) as session:
        values = {"status": CampaignStatus.scheduled, "send_at": due}
        session.execute(
            update(Campaign).where(Campaign.id.in_([each for each, _token in made])).values(values)
        )
        session.commit()
    time.sleep(max(0.0, (due - utcnow()).total_seconds()))
    return time.monotonic()


def by_api(_engine: Engine, url: str, made: list[tuple[int, str]]) -> float:
    begun = time.monotonic()

    def start(each: tuple[int, str]) -> None:
        request = urllib.request.Request(
            f"{url}/api/v1/campaigns/{each[0]}/schedule",
            data=json.dumps({}).encode(),
            headers={"Authorization": f"Bearer {each[1]}", "Content-Type": "application/json"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=60).close()

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(start, made))
    print(f"  started by {CLIENTS} clients in {time.monotonic() - begun:.1f} s", flush=True)
    return begun


WAYS = {"schedule": by_schedule, "api": by_api}


def watch(
    engine: Engine, queue: str, made: list[tuple[int, str]], storm: Storm, begun: float, limit: float
) -> Storm:
    """Poll the queue and the database until all is sent and finished."""
    first = min(campaign_id for campaign_id, _token in made)  # the finished ones are older
    while time.monotonic() - begun < limit:
        if waits := broker.backlog(queue):
            storm.longest = max(storm.longest, waits.messages)
        with Session(engine.execution_options(reading=True)) as session:
            sent = session.scalar(select(func.sum(Batch.sent)).where(Batch.campaign_id >= first)) or 0
            over = session.scalar(
                select(func.count())
                .select_from(Campaign)
                .where(Campaign.status == CampaignStatus.finished, Campaign.id >= first)
            )
        passed = time.monotonic() - begun
        storm.left = storm.emails - sent
        storm.first = passed if sent and storm.first is None else storm.first
        storm.sent = passed if not storm.left and storm.sent is None else storm.sent
        if over == len(made):
            storm.finished = passed
            break
        time.sleep(LOOKS)
    return storm


def is_awake(engine: Engine) -> bool:
    """Return whether a worker has reported."""
    with Session(engine.execution_options(reading=True)) as session:
        heard = select(Heartbeat.name).where(Heartbeat.name.startswith("worker"))
        return session.scalar(heard.limit(1)) is not None


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run that many processes that use the CPU all the time."""
    running = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=die_with_parent)
        for _each in range(processes)
    ]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


@contextmanager
def installation(database: str, folder: Path, fate: Fate | None) -> Iterator[Installation]:
    """Start an installation, on either kind of database with its kind of broker."""
    with ExitStack() as stack:
        database_url = broker_url = ""
        if database == "postgresql":
            server, redis = PostgreSQL(SAFE), Redis()
            stack.callback(server.stop)
            stack.callback(redis.stop)
            server.create("storm")
            database_url, broker_url = server.url("storm"), redis.url
        elif fate:
            embedded = EmbeddedBroker()
            stack.callback(embedded.stop)
            broker_url = embedded.url
        if fate:
            proxy = BrokerProxy(broker_url, fate)
            stack.callback(proxy.stop)
            broker_url = proxy.url
        here = Installation(folder, database_url, broker_url, mailganer__backend__smtp__open_relay="true")
        stack.callback(here.stop)
        here.start(timeout=60 + (fate.delay if fate else 0))
        yield here


def run(database: str, way: str, how: argparse.Namespace) -> None:
    print(
        f"{database}, by {way}: {how.campaigns} campaigns of {how.accounts} accounts, {how.busy} busy beside"
    )
    fate = Fate(how.duplicate, how.delay, how.lose)
    if fate == Fate():
        fate = None
    else:
        print(f"  each message {fate.copies} times, {fate.delay:g} s late, {fate.lost:.0%} of them lost")
    with (
        tempfile.TemporaryDirectory(prefix="mg-storm-") as folder,
        Sink() as sink,
        installation(database, Path(folder) / "here", fate) as here,
    ):
        engine = make_engine(here.database_url)
        wait_until(lambda: is_awake(engine), 60 + how.delay, what="the worker")
        made = prepare(engine, sink.port, how.campaigns, how.accounts, how.recipients, how.finished)
        with busy(how.busy):
            begun = WAYS[way](engine, here.url, made)
            storm = Storm(how.campaigns * how.recipients)
            watch(engine, broker.broker_url(load(here.ini)), made, storm, begun, how.limit)
        taken = sink.taken()
        engine.dispose()
    print(f"  longest queue          {storm.longest:>8} messages")
    told = (("first email", storm.first), ("all sent", storm.sent), ("all finished", storm.finished))
    for what, seconds in told:
        print(f"  {what:<22} {seconds:>8.1f} s" if seconds else f"  {what:<22} not within {how.limit:g} s")
    print(f"  the server has         {taken:>8} of {storm.emails} emails", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=500)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--recipients", type=int, default=1, help="of each campaign")
    parser.add_argument("--busy", type=int, default=4, help="processes that use the processors meanwhile")
    kinds = ("sqlite", "postgresql")
    parser.add_argument("--database", nargs="*", choices=kinds, default=kinds)
    parser.add_argument("--by", nargs="*", choices=tuple(WAYS), default=tuple(WAYS))
    parser.add_argument("--limit", type=float, default=120, help="seconds after which a storm is given up")
    parser.add_argument("--finished", type=int, default=0, help="campaigns of the first sender that are over")
    parser.add_argument("--duplicate", type=int, default=1, help="how often each message comes")
    parser.add_argument("--delay", type=float, default=0, help="seconds that each message takes")
    parser.add_argument("--lose", type=float, default=0, help="the part of all messages that is lost: 0.5")
    how = parser.parse_args()
    for database in how.database:
        for way in how.by:
            run(database, way, how)


if __name__ == "__main__":
    main()
