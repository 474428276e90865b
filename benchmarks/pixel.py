"""How many open pixels the web part answers in a second, and whether it counts them all.

    python benchmarks/pixel.py [--requests 30000] [--clients 2] [--connections 32] [--letters 5000]

Starts the web part by its own command, on a PostgreSQL of its own, and fetches the pixels of many letters
over connections that stay open, from processes of their own. Everything shares the machine's cores.
"""

import argparse
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy.orm import Session

from mailganer.db import make_engine
from mailganer.models import SubscriberList
from mailganer.tracking import campaign_numbers
from mailganer.vault import Vault
from tests.support.databases import Databases
from tests.support.factories import Factory
from tests.support.ports import die_with_parent, free_port, wait_until
from tests.support.sent import sent_campaign, token

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECRET = "0123456789abcdef" * 4
AGENT = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
WRITTEN_WITHIN = 30  # seconds after the last answer; half a second is promised
INI = """[app:main]
use = egg:mailganer
sqlalchemy.url = {url}
celery.broker_url = redis://127.0.0.1:1/0
mailganer.secret_key = {secret}
mailganer.public_url = http://localhost:{port}
mailganer.listen = 127.0.0.1:{port}
mailganer.backends = smtp
mailganer.data_dir = {folder}
mailganer.plans = free
mailganer.plan.free.title = Free
"""


def prepare(url: str, letters: int) -> tuple[int, list[str]]:
    """A campaign whose letters have left, and their tokens."""
    engine = make_engine(url)
    with Session(engine) as session:
        make = Factory(session, NOW, Vault((SECRET,)))
        account = make.account()
        readers: SubscriberList = make.list(account)
        people = [make.subscriber(account, lists=(readers,)) for _ in range(letters)]
        campaign = make.campaign(account, (readers,), (make.sender(account),))
        deliveries = sent_campaign(session, campaign, people, NOW)
        session.commit()
        tokens = [token(each) for each in deliveries]
        campaign_id = campaign.id
    engine.dispose()
    return campaign_id, tokens


def fetch(port: int, tokens: list[str], requests: int, connections: int) -> None:
    """One client: asks on each of its connections in turn, so that several requests are on their way."""
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for start in range(0, requests, connections):
        asked = lines[: min(connections, requests - start)]
        for place, line in enumerate(asked, start):
            path = f"/o/{tokens[place % len(tokens)]}.gif"
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {AGENT}\r\n\r\n".encode())
        for line in asked:
            read_answer(line)


def read_answer(line: socket.socket) -> None:
    answer = b""
    while b"GIF89a" not in answer or not answer.endswith(b"\x00;"):
        piece = line.recv(4096)
        assert piece, "the server hung up"
        answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")


def hammer(port: int, tokens: list[str], requests: int, clients: int, connections: int) -> float:
    """Requests a second over all clients."""
    share, part = requests // clients, len(tokens) // clients
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=fetch, args=(port, tokens[n * part : (n + 1) * part], share, connections))
        for n in range(clients)
    ]
    started = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    taken = time.perf_counter() - started
    assert all(process.exitcode == 0 for process in processes)
    return share * clients / taken


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/o/x.gif") as answer:  # counts nothing
            return answer.status == 200
    except OSError:
        return False


def count(url: str, campaign_id: int) -> int:
    engine = make_engine(url)
    with Session(engine) as session:
        found = campaign_numbers(session, [campaign_id])[campaign_id].opens
    engine.dispose()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=30_000)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32, help="of each client")
    parser.add_argument("--letters", type=int, default=5_000)
    options = parser.parse_args()
    databases = Databases()
    url, port = databases.fresh("postgresql"), free_port()
    campaign_id, tokens = prepare(url, options.letters)
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        ini = Path(folder) / "mailganer.ini"
        ini.write_text(INI.format(url=url.replace("%", "%%"), secret=SECRET, port=port, folder=folder))
        web = subprocess.Popen(
            [sys.executable, "-m", "mailganer", "web", str(ini)],
            env={name: value for name, value in os.environ.items() if name != "DATABASE_URI"},
            preexec_fn=die_with_parent,
        )
        try:
            wait_until(lambda: answers(port), 60, what="the web part")
            rate = hammer(port, tokens, options.requests, options.clients, options.connections)
            asked = options.requests // options.clients * options.clients
            started = time.perf_counter()
            while count(url, campaign_id) < asked and time.perf_counter() - started < WRITTEN_WITHIN:
                time.sleep(0.02)
            settled = time.perf_counter() - started
            counted = count(url, campaign_id)
        finally:
            web.terminate()
            web.wait(20)
            databases.stop()
    print(f"{rate:,.0f} pixels a second; {counted:,} of {asked:,} counted, the last {settled:.2f} s later")
    return 0 if counted == asked else 1


if __name__ == "__main__":
    sys.exit(main())
