"""Letters a second and CPU a letter, the whole way: plan, ledger, printing, a backend that takes everything.

``python benchmarks/sending.py [PEOPLE] [DATABASE_URL]``; SQLite in a temporary folder unless told otherwise.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from mailganer.backends import Limits
from mailganer.db import make_engine, utcnow
from mailganer.migrations import migrate
from mailganer.models import (
    Account,
    Campaign,
    CampaignStatus,
    Sender,
    Subscriber,
    SubscriberList,
    list_member,
)
from mailganer.models.audience import make_search_key
from mailganer.sending.lane import Lane
from mailganer.sending.office import Office
from mailganer.sending.plan import plan, start_due

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.sending.scripted import NoSettings, Script, ScriptedBackend

PARAGRAPH = "<p>{{ first_name }}, the news of this week: <a href='https://example.com/%d'>read on</a>. %s</p>"
HTML = "".join(PARAGRAPH % (n, "Words that fill a letter as they do. " * 60) for n in range(10))


class Sink(Script):
    """Takes everything and keeps nothing."""

    def receive(self, message):
        return self.answer(message)


def main(people: int, url: str, folder: Path) -> None:
    engine = make_engine(url)
    migrate(engine)
    backend = ScriptedBackend("anna@example.com", NoSettings(), script=Sink())
    office = Office(
        engine=engine,
        journals=folder / "journals",
        open_backend=lambda sender: backend,
        limits=lambda sender: Limits(),
        plan_limit=lambda account, now: None,
        public_url="https://mail.example.com",
        now=utcnow,
    )
    campaign_id, sender_id = prepare(office, people)
    begun = time.perf_counter()
    with office.sessions.begin() as session:
        start_due(session, utcnow())
    plan(office, campaign_id)
    planned = time.perf_counter()
    print(f"planned   {people:>9,} in {planned - begun:6.2f} s")
    before = cpu()
    settled = 0
    while settled < people:
        settled += Lane(office, sender_id).run(30).settled
    took = time.perf_counter() - planned
    each = (cpu() - before) / people * 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"sent      {people:>9,} in {took:6.2f} s: {people / took:,.0f}/s")
    print(f"          {each:.0f} us of our CPU each; {peak:.0f} MB at most, making the people included")


def prepare(office: Office, people: int) -> tuple[int, int]:
    now = utcnow()
    with office.sessions.begin() as session:
        account = Account(email="anna@example.com", plan="free", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(account_id=account.id, name="Readers", created_at=now)
        sender = Sender(
            account_id=account.id,
            name="Anna",
            from_email="anna@example.com",
            backend="scripted",
            created_at=now,
        )
        session.add_all([lst, sender])
        session.flush()
        for start in range(0, people, 10_000):
            rows = [person(account.id, n, now) for n in range(start, min(people, start + 10_000))]
            ids = session.scalars(insert(Subscriber).returning(Subscriber.id), rows)
            members = [{"list_id": lst.id, "subscriber_id": each, "added_at": now} for each in ids]
            session.execute(insert(list_member), members)
        campaign = Campaign(
            account_id=account.id,
            name="News",
            subject="News for {{ first_name }}",
            html=HTML,
            status=CampaignStatus.scheduled,
            send_at=now,
            created_at=now,
            updated_at=now,
        )
        campaign.lists.append(lst)
        campaign.senders.append(sender)
        session.add(campaign)
        session.flush()
        return campaign.id, sender.id


def person(account_id: int, n: int, now: object) -> dict:
    email = f"reader{n}@example.org"
    return {
        "account_id": account_id,
        "email": email,
        "email_key": email,
        "search_key": make_search_key(email, f"Name{n}", "Reader"),
        "first_name": f"Name{n}",
        "last_name": "Reader",
        "fields": {"city": f"Town {n % 100}"},
        "created_at": now,
        "updated_at": now,
    }


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        where = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{temporary}/bench.sqlite"
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, where, Path(temporary))
