"""Seconds from Send to the first email of a large campaign, and to its last planned recipient.

    python benchmarks/first_email.py [--recipients 1000000]

Starts an installation with ``mailganer serve`` on a durable PostgreSQL and Redis, with its two worker
processes. The mail server is in C and accepts everything. Send is the API call that starts the campaign.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.support import installation
from benchmarks.support.sinks import Sink
from mailganer.accounts import create_api_token
from mailganer.db import make_engine, utcnow
from mailganer.models import Account, Campaign, Heartbeat, SubscriberList
from mailganer.vault import Vault
from tests.support.factories import Factory
from tests.support.installation import SECRET, Installation
from tests.support.ports import wait_until
from tests.support.postgresql import PostgreSQL
from tests.support.redis import Redis

SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}
LIMIT = 300.0  # seconds


def prepare(session: Session, port: int) -> tuple[int, str]:
    """Create a campaign to the list of the installation's account; return its id and an API token."""
    make = Factory(session, utcnow(), Vault((SECRET,)))
    account, readers = session.get_one(Account, 1), session.get_one(SubscriberList, 1)
    account.postal_address = "1 Long Road, Oslo"
    settings = {"host": "127.0.0.1", "port": port, "security": "none", "username": ""}
    sender = make.sender(account, settings=settings, secrets=None)
    campaign = make.campaign(account, (readers,), (sender,))
    token, _row = create_api_token(session, account, name="benchmark", now=make.now)
    session.commit()
    return campaign.id, token


def send(url: str, campaign_id: int, token: str) -> None:
    request = urllib.request.Request(
        f"{url}/api/v1/campaigns/{campaign_id}/schedule",
        data=json.dumps({}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    urllib.request.urlopen(request, timeout=60).close()


def measure(recipients: int, server: PostgreSQL, folder: Path) -> None:
    server.create("first")
    installation.make(server.url("first"), folder / "data", recipients).engine.dispose()
    redis = Redis()
    keys = {"mailganer__backend__smtp__open_relay": "true"}
    here = Installation(folder / "here", server.url("first"), redis.url, **keys)
    try:
        with Sink() as sink:
            here.start(timeout=60)
            engine = make_engine(here.database_url)
            with Session(engine) as session:
                awake = select(Heartbeat.name).where(Heartbeat.name.startswith("worker")).limit(1)
                wait_until(lambda: session.scalar(awake) or session.rollback(), 60, what="the worker")
                campaign_id, token = prepare(session, sink.port)
            begun = time.monotonic()
            send(here.url, campaign_id, token)
            answered = time.monotonic() - begun
            wait_until(sink.taken, LIMIT, what="the first email")
            first = time.monotonic() - begun
            planned = select(Campaign.planned_at).where(Campaign.id == campaign_id)
            with Session(engine) as session:
                wait_until(lambda: session.scalar(planned) or session.rollback(), LIMIT, what="the plan")
            last = time.monotonic() - begun
            engine.dispose()
    finally:
        here.stop()
        redis.stop()
    print(f"{recipients:>11,} {answered:>11.2f} s {first:>11.2f} s {last:>11.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipients", type=int, default=1_000_000)
    how = parser.parse_args()
    print(f"{'recipients':>11} {'answer':>13} {'first email':>13} {'all planned':>13}")
    server = PostgreSQL(SAFE)
    try:
        with tempfile.TemporaryDirectory(prefix="mg-first-") as folder:
            measure(how.recipients, server, Path(folder))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
