"""An installation with a million subscribers, written by the database itself in a minute."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailganer import accounts, subscriber_counts
from mailganer.campaigns.frozen_emails import freeze
from mailganer.db import make_engine, make_sessions, utcnow
from mailganer.migrations import migrate
from mailganer.models import CampaignStatus, first_delivery_id
from mailganer.vault import Vault
from mailganer.web import RotatingSerializer

from .factories import Factory

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LISTS = 10
BATCH = 500
RARE = "Zakharova"
"""A last name that only the oldest subscribers have."""
EMAIL = (
    "<p>Dear {{ first_name|default('friend') }} of {{ city|default('town') }}, you have {{ points }} points, "
    '<a href="https://example.com/news">read on</a>.</p>'
)

_NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(1, :people) AS numbers(n)",
    "sqlite": (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :people) "
        "SELECT n FROM numbers"
    ),
}
_FIELDS = {
    "postgresql": "jsonb_build_object('city', 'Town ' || (n % 90), 'points', (n % 1000)::text)",
    "sqlite": "json_object('city', 'Town ' || (n % 90), 'points', CAST(n % 1000 AS TEXT))",
}
_TOKEN = {
    "postgresql": "decode(md5(n::text), 'hex')",
    "sqlite": "CAST(substr('0000000000000000' || n, -16) AS BLOB)",
}
_SUBSCRIBERS = """
INSERT INTO subscriber (id, account_id, email, email_key, search_key, first_name, last_name, fields, status,
                        status_reason, created_at, updated_at)
SELECT n, :account, email, email, lower(first || ' ' || last || ' ' || email), first, last, {fields},
       CASE WHEN n % 20 = 0 THEN 'unsubscribed' WHEN n % 50 = 7 THEN 'bounced' ELSE 'active' END, '', :now,
       :now
FROM (SELECT n, 'reader' || n || '@example' || (n % 500) || '.org' AS email, 'Name' || (n % 997) AS first,
             CASE WHEN n <= 20 THEN '{rare}' ELSE 'Family' || n END AS last
      FROM ({numbers}) AS all_numbers) AS people
"""
_MEMBERS = (
    "INSERT INTO list_member (list_id, subscriber_id, added_at) "
    "SELECT :list, id, :now FROM subscriber WHERE id % :every = 0"
)
_DELIVERIES = """
INSERT INTO delivery (id, campaign_id, subscriber_id, email, email_key, token, status, reason, reply,
                      attempts, sender_id, frozen_email_id, dated_at, settled_at, certain_open, opens,
                      machine_opens, clicks, machine_clicks, first_opened_at, first_clicked_at)
SELECT :first + n - 1, :campaign, n, email, email_key, {token},
       CASE WHEN n % 40 = 0 THEN 'failed' ELSE 'sent' END, CASE WHEN n % 40 = 0 THEN 'refused' END,
       CASE WHEN n % 40 = 0 THEN '550 5.1.1 no such user' END, 1, :sender, :frozen, :now, :now,
       n % 5 < 2, CASE WHEN n % 5 < 2 THEN 1 ELSE 0 END, 0, CASE WHEN n % 20 = 1 THEN 1 ELSE 0 END, 0,
       CASE WHEN n % 5 < 2 THEN :later END, CASE WHEN n % 20 = 1 THEN :later END
FROM (SELECT id AS n, email, email_key FROM subscriber WHERE id <= :people) AS people
"""
_EVENTS = """
INSERT INTO event (campaign_id, delivery_id, kind, source, link, frozen_email_id, at, agent)
SELECT :campaign, id, '{event}', 'person', {link}, :frozen, {at}, ''
FROM delivery WHERE campaign_id = :campaign AND {which}
"""
_AT = {
    "postgresql": "dated_at + make_interval(secs => (id % 100000))",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', dated_at, '+' || (id % 100000) || ' seconds')",
}
_BATCHES = """
INSERT INTO batch (campaign_id, number, first_id, last_id, state, epoch, pending, sending, sent, failed,
                   in_doubt, skipped, bounced)
SELECT :campaign, (id - :first) / :size, min(id), max(id), 'done', 1, 0, 0,
       sum(CASE WHEN status = 'sent' THEN 1 ELSE 0 END), sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END),
       0, 0, 0
FROM delivery WHERE campaign_id = :campaign GROUP BY (id - :first) / :size
"""
_COUNTERS = """
INSERT INTO campaign_counter (campaign_id, shard, opened_certain, opened_possible, opens, machine_opens,
                              clicked, clicks, machine_clicks, unsubscribed)
SELECT :campaign, id % 16, sum(opens), 0, sum(opens), 0, sum(clicks), sum(clicks), 0, 0
FROM delivery WHERE campaign_id = :campaign GROUP BY id % 16
"""


Asked = tuple[str, dict[str, str]]
"""Path and headers of a request."""


@dataclass(frozen=True)
class Filled:
    """What pages are asked about."""

    account_id: int
    list_id: int  # with every subscriber
    small_list_id: int
    one_list: int  # a draft to the list with every subscriber
    three_lists: int  # a draft to three lists
    sent: int  # a campaign sent to half of them
    cookie: str
    token: str  # of the API
    seconds: float


def fill(url: str, people: int, secret: str) -> Filled:
    """Create an account with so many subscribers on ten lists, two drafts and a sent campaign."""
    began = time.perf_counter()
    engine = make_engine(url)
    migrate(engine)
    kind = engine.dialect.name
    with Session(engine) as session:
        make = Factory(session, NOW, Vault((secret,)))
        account = make.account()
        lists = [make.list(account, f"List {number}") for number in range(1, LISTS + 1)]
        sender = make.sender(account)
        one, three = (
            make.campaign(account, tuple(lists[:number]), (sender,), html=EMAIL, subject="News")
            for number in (1, 3)
        )
        sent = make.campaign(account, (lists[0],), (sender,), html=EMAIL, subject="News", name="Sent")
        freeze(session, sent, NOW)
        sent.status, sent.started_at, sent.planned_at = CampaignStatus.finished, NOW, NOW
        sent.finished_at, sent.message_domain, sent.planned = NOW, "example.com", people // 2

        def run(statement: str, **values: object) -> None:
            session.execute(
                text(statement), values | {"now": _stored(kind, NOW)} if ":now" in statement else values
            )

        numbers, fields = _NUMBERS[kind], _FIELDS[kind]
        run(_SUBSCRIBERS.format(numbers=numbers, fields=fields, rare=RARE), account=account.id, people=people)
        if kind == "postgresql":
            run("SELECT setval(pg_get_serial_sequence('subscriber', 'id'), :people)", people=people)
        for number, each in enumerate(lists):
            run(_MEMBERS, list=each.id, every=3 * number or 1)
        first = first_delivery_id(sent.id)
        values: dict[str, object] = {"campaign": sent.id, "frozen": sent.frozen_email_id}
        run(
            _DELIVERIES.format(token=_TOKEN[kind]),
            **values,
            first=first,
            sender=sender.id,
            people=people // 2,
            later=_stored(kind, NOW + timedelta(minutes=5)),
        )
        for event, which, link in (("open", "opens > 0", "NULL"), ("click", "clicks > 0", "1")):
            run(_EVENTS.format(at=_AT[kind], which=which, event=event, link=link), **values)
        run(_BATCHES, campaign=sent.id, first=first, size=BATCH)
        run(_COUNTERS, campaign=sent.id)
        token, _row = accounts.create_api_token(session, account, name="bench", now=utcnow())
        session_id = accounts.open_web_session(session, account, now=utcnow())
        state = {"account": account.id, "id": session_id, "epoch": account.session_epoch}
        cookie = RotatingSerializer((secret,)).dumps([time.time(), time.time(), state]).decode()
        ids = (account.id, lists[0].id, lists[-1].id, one.id, three.id, sent.id)
        session.commit()
    subscriber_counts.reconcile(make_sessions(engine), ids[0])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if kind == "postgresql" else "ANALYZE")
    engine.dispose()
    return Filled(*ids, f"mailganer={cookie}", token, time.perf_counter() - began)


def pages(filled: Filled) -> dict[str, Asked]:
    """Return path and headers of each page by name."""
    own, api = {"Cookie": filled.cookie}, {"Authorization": f"Bearer {filled.token}"}
    found: dict[str, Asked] = {
        "subscribers": ("/subscribers", own),
        "subscribers of a list": (f"/subscribers?list={filled.small_list_id}", own),
        "subscribers unsubscribed": ("/subscribers?status=unsubscribed", own),
        "lists": ("/lists", own),
        "list": (f"/lists/{filled.list_id}", own),
        "API: lists": ("/api/v1/lists", api),
        "API: 500 subscribers": ("/api/v1/subscribers?limit=500", api),
        "API: 500 of a list": (f"/api/v1/lists/{filled.small_list_id}/subscribers?limit=500", api),
    }
    words = {
        "a frequent word": "name5",
        "a rare word": RARE,
        "no one": "qqzzxx",
        "two letters": "ya",
        "two words": "name7 family1000",
        "an address": "reader77@example77.org",
    }
    for name, word in words.items():
        found[f"search: {name}"] = (f"/subscribers?query={quote(word)}", own)
    found["search in a list"] = (f"/lists/{filled.small_list_id}?query={quote(RARE)}", own)
    for name, campaign in {"one list": filled.one_list, "three lists": filled.three_lists}.items():
        for step in ("target", "email", "check", "when", "send"):
            found[f"{name}: {step}"] = (f"/campaigns/{campaign}/{step}", own)
    found |= {
        "report": (f"/campaigns/{filled.sent}/report", own),
        "recipients": (f"/campaigns/{filled.sent}/recipients", own),
        "campaigns": ("/campaigns", own),
    }
    return found


def _stored(kind: str, moment: datetime) -> object:
    return moment if kind == "postgresql" else moment.strftime("%Y-%m-%d %H:%M:%S.%f")
