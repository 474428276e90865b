"""Clicks, unsubscribe pages and browser views per second, beside pixels, and an owner's page meanwhile.

    python benchmarks/clicks.py [--seconds 6] [--connections 32] [--emails 5000] [--rounds 2]

Starts the web part with its own command, on a durable PostgreSQL (fsync on), and fetches each kind of
recipient address over persistent connections, with a program in C. Meanwhile one owner loads a page of the
same process again and again. Everything shares the machine's cores, so compare the rows of one run.
"""

import argparse
import http.client
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from threading import Event as Signal
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy.orm import Session

from benchmarks.support.installation import html
from benchmarks.support.measure import cpu_of, cpu_of_family
from benchmarks.support.web_part import SAFE, SECRET, Fetched, Readers, web_part
from mailganer import accounts
from mailganer.db import make_engine, utcnow
from mailganer.migrations import migrate
from mailganer.tracking import campaign_numbers
from mailganer.vault import Vault
from mailganer.web import RotatingSerializer
from tests.support.factories import Factory
from tests.support.ports import free_port
from tests.support.postgresql import PostgreSQL
from tests.support.sent import sent_campaign, token

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
OWNER_RESTS = 0.1  # seconds between two pages of the owner
TRIAL = 200  # requests that show how many fit into the time
KINDS = {"pixel": "/o/{}.gif", "click": "/c/{}/1", "unsubscribe": "/u/{}", "view": "/v/{}"}


@dataclass(frozen=True)
class Prepared:
    """A sent campaign, the tokens of its emails, and the cookie of its owner."""

    campaign_id: int
    tokens: list[str]
    cookie: str


def prepare(url: str, emails: int) -> Prepared:
    engine = make_engine(url)
    migrate(engine)
    with Session(engine) as session:
        make = Factory(session, NOW, Vault((SECRET,)))
        account = make.account()
        readers = make.list(account)
        people = [
            make.subscriber(account, lists=(readers,), first_name=f"Name {n}", fields={"city": f"Town {n}"})
            for n in range(emails)
        ]
        campaign = make.campaign(account, (readers,), (make.sender(account),), html=html())
        deliveries = sent_campaign(session, campaign, people, NOW)
        session_id = accounts.open_web_session(session, account, now=utcnow())
        state = {"account": account.id, "id": session_id, "epoch": account.session_epoch}
        now = time.time()
        cookie = "mailganer=" + RotatingSerializer((SECRET,)).dumps([now, now, state]).decode()
        session.commit()
        found = Prepared(campaign.id, [token(each) for each in deliveries], cookie)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return found


class Owner(Thread):
    """Loads the list of campaigns again and again."""

    def __init__(self, port: int, cookie: str) -> None:
        super().__init__(daemon=True)
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers, self._ended = {"Cookie": cookie, "Host": f"localhost:{port}"}, Signal()
        self.took: list[float] = []

    def run(self) -> None:
        while not self._ended.wait(OWNER_RESTS):
            begun = time.perf_counter()
            self._line.request("GET", "/campaigns", headers=self._headers)
            answer = self._line.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the owner's page answers {answer.status}")
            self.took.append((time.perf_counter() - begun) * 1e3)

    def end(self) -> Sequence[float]:
        self._ended.set()
        self.join()
        return sorted(self.took)


@dataclass
class Row:
    """What one kind of address has shown, round by round."""

    kind: str
    fetched: list[Fetched] = field(default_factory=list)
    web: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    owner: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        return median(each.speed for each in self.fetched)

    def __str__(self) -> str:
        half, most = (median(getattr(each, name) for each in self.fetched) for name in ("half", "most"))
        refused = sum(each.refused for each in self.fetched) / sum(each.requests for each in self.fetched)
        slow = self.owner[int(len(self.owner) * 0.95)]
        return (
            f"| {self.kind} | {self.speed:,.0f} | {half:.0f} / {most:.0f} ms | {refused:.0%} | "
            f"{median(self.web):.0f} us | {median(self.database):.0f} us | "
            f"{median(self.owner):.0f} / {slow:.0f} ms |"
        )


def measure(server: PostgreSQL, options: argparse.Namespace) -> list[Row]:
    url, port, readers = server.url("bench"), free_port(), Readers()
    prepared = prepare(url, options.emails)
    rows = [Row(kind) for kind in KINDS]
    clicks = 0
    with web_part(url, port) as web:
        for number in range(options.rounds + 1):  # the first one warms up
            for row in rows:
                paths = [KINDS[row.kind].format(each) for each in prepared.tokens]
                trial = readers.fetch(port, paths[:TRIAL], TRIAL, options.connections)
                count = max(TRIAL, int(trial.speed * options.seconds)) if number else TRIAL
                owner = Owner(port, prepared.cookie)
                owner.start()
                before = cpu_of(web), cpu_of_family(server.pid)
                fetched = readers.fetch(port, paths, count, options.connections)
                of_web, of_database = (
                    (b - a) / count * 1e6
                    for a, b in zip(before, (cpu_of(web), cpu_of_family(server.pid)), strict=True)
                )
                clicks += (TRIAL + count) * (row.kind == "click")
                pages = owner.end()
                if number:
                    row.fetched.append(fetched)
                    row.web.append(of_web)
                    row.database.append(of_database)
                    row.owner = sorted([*row.owner, *pages])
        counted = counted_clicks(url, prepared.campaign_id)
    if counted != clicks:
        raise SystemExit(f"{counted:,} of {clicks:,} clicks counted")
    return rows


def counted_clicks(url: str, campaign_id: int) -> int:
    engine = make_engine(url)
    with Session(engine) as session:
        found = campaign_numbers(session, [campaign_id])[campaign_id].clicks
    engine.dispose()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each kind and round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--emails", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    server = PostgreSQL(SAFE)
    try:
        server.create("bench")
        rows = measure(server, options)
    finally:
        server.stop()
    print("| address | a second | 50 / 99 % within | refused | CPU of web | of PostgreSQL | owner's page |")
    print("|---|---|---|---|---|---|---|")
    print(*rows, sep="\n")
    speeds = {row.kind: row.speed for row in rows}
    print(f"clicks: {speeds['click'] / speeds['pixel']:.2f} of the pixels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
