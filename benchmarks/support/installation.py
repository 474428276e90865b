"""An installation to send from: subscribers, a campaign, and worker processes that run its lanes.

``python -m benchmarks.support.installation URL FOLDER SENDER NUMBER DEPTH`` is such a process: it does what
the ``run_lane`` task does, turn after turn, until no delivery is due, and prints its costs as JSON.
"""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, insert, select

from mailganer.db import make_engine, utcnow
from mailganer.models import (
    Account,
    Batch,
    Campaign,
    CampaignStatus,
    Sender,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    list_member,
)
from mailganer.models.audience import make_search_key
from mailganer.sending.context import SendingContext, open_sending_context
from mailganer.sending.scheduler.plan import plan, start_due
from mailganer.sending.worker.lane import LaneRunner
from mailganer.settings import Plan, Settings
from mailganer.subscriber_counts import add_to_counts

from .measure import Spent, cpu, peak

ROOT = Path(__file__).resolve().parents[2]
PARAGRAPH = (
    '<tr><td style="padding:12px 48px;font-size:16px"><p>This is a paragraph of an ordinary email, {}with '
    "some words about nothing in particular and a few more to make it as long as such paragraphs are.</p>"
    '<p><a href="https://shop.example.com/catalogue/{}?from=email">Read more about it</a></p></td></tr>\n'
)
FILLER = '<tr><td style="font-family:Arial,sans-serif;color:#2b2f3a">Constant text of the layout.</td></tr>\n'
VALUES = (
    "{{ first_name }}, ",
    "{{ last_name }}, ",
    "{{ city }}, ",
    "{{ company }}, ",
    "{{ points }} points, ",
)
DEPTH = 8  # emails in flight on a connection
SUBJECT = "{{ first_name }}, news of the week"


def html(size: int = 23_000) -> str:
    """Return an email of that many characters with ten links and five variables."""
    rows = "".join(PARAGRAPH.format(VALUES[n] if n < len(VALUES) else "", n) for n in range(10))
    while len(rows) < size - 200:
        rows += FILLER
    leave = '<a href="{{ unsubscribe_url }}">Unsubscribe</a>'
    return f'<html><body><table width="600">{rows}</table>{leave}</body></html>'


def settings(url: str, folder: Path, depth: int = DEPTH) -> Settings:
    return Settings(
        database_url=url,
        public_url="https://mail.example.com",
        secret_keys=("x" * 32,),
        data_dir=folder,
        backends=("smtp",),
        backend_options={"smtp": {"open_relay": "true", "depth": str(depth)}},
        allow_private_smtp_hosts=True,
        plans=(Plan("free", "Free", None, None),),
    )


def make(url: str, folder: Path, people: int) -> SendingContext:
    """An installation with an account and a list of subscribers."""
    from mailganer.migrations import migrate  # not needed by the processes that send

    engine = make_engine(url)
    migrate(engine)
    context = open_sending_context(settings(url, folder))
    now = utcnow()
    with context.sessions.begin() as session:
        account = Account(email="anna@example.com", plan="free", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(account_id=account.id, name="Readers", created_at=now)
        session.add(lst)
        session.flush()
        for start in range(0, people, 10_000):
            rows = [_person(account.id, n, now) for n in range(start, min(people, start + 10_000))]
            ids = session.scalars(insert(Subscriber).returning(Subscriber.id), rows).all()
            members = [{"list_id": lst.id, "subscriber_id": each, "added_at": now} for each in ids]
            session.execute(insert(list_member), members)
            for each in (None, lst.id):
                add_to_counts(session, account.id, each, {SubscriberStatus.active: len(ids)})
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    return context


def begin(context: SendingContext, port: int, connections: int) -> tuple[int, int, float]:
    """Create and plan a campaign to all subscribers through its own sender; return ids and planning time."""
    now = utcnow()
    with context.sessions.begin() as session:
        account, lst = session.get_one(Account, 1), session.get_one(SubscriberList, 1)
        sender = Sender(
            account_id=account.id,
            name="Anna",
            from_email="anna@example.com",
            backend="smtp",
            settings={"host": "127.0.0.1", "port": port, "security": "none", "username": ""},
            max_connections=connections,
            created_at=now,
            verified_at=now,
        )
        campaign = Campaign(
            account_id=account.id,
            name="News",
            subject=SUBJECT,
            html=html(),
            status=CampaignStatus.scheduled,
            send_at=now,
            created_at=now,
            updated_at=now,
        )
        campaign.lists.append(lst)
        campaign.senders.append(sender)
        session.add(campaign)
        session.flush()
        ids = campaign.id, sender.id
    begun = time.perf_counter()
    with context.sessions.begin() as session:
        start_due(session, utcnow(), context.latest_start)
    plan(context, ids[0])
    return *ids, time.perf_counter() - begun


def send(
    context: SendingContext,
    folder: Path,
    port: int,
    *,
    processes: int,
    connections: int = 8,
    depth: int = DEPTH,
) -> Spent:
    """Send a campaign to all subscribers with that many worker processes."""
    campaign_id, sender_id, planning = begin(context, port, connections)
    url = context.engine.url.render_as_string(hide_password=False)
    context.engine.dispose()
    module = (sys.executable, "-m", "benchmarks.support.installation")
    workers = [
        subprocess.Popen(
            [*module, url, folder, str(sender_id), str(number), str(depth)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in range(processes)
    ]
    found = [json.loads(worker.communicate()[0]) for worker in workers]
    emails = _sent(context, campaign_id)
    first, last = min(each["begun"] for each in found), max(each["ended"] for each in found)
    return Spent(
        emails,
        last - first,
        sum(each["cpu"] for each in found),
        max(each["memory"] for each in found),
        planning,
    )


def _sent(context: SendingContext, campaign_id: int) -> int:
    with context.readers() as session:
        return session.scalar(select(func.sum(Batch.sent)).where(Batch.campaign_id == campaign_id)) or 0


def work(url: str, folder: Path, sender_id: int, number: int, depth: int) -> None:
    """The process of :func:`send`."""
    context = open_sending_context(settings(url, folder, depth))
    used, begun = cpu(), time.time()
    while LaneRunner(context, sender_id, number).run(30).more:
        pass
    print(json.dumps({"cpu": cpu() - used, "begun": begun, "ended": time.time(), "memory": peak()}))


def _person(account_id: int, n: int, now: datetime) -> dict:
    email = f"reader{n}@example.org"
    return {
        "account_id": account_id,
        "email": email,
        "email_key": email,
        "search_key": make_search_key(email, f"Имя{n}", "Читатель"),
        "first_name": f"Имя{n % 9973}",
        "last_name": f"Читатель{n}",
        "fields": {"city": f"Town {n % 100}", "company": f"Company {n % 1000}", "points": str(n)},
        "created_at": now,
        "updated_at": now,
    }


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
