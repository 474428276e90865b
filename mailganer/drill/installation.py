"""The installation of a drill: its settings, its database and campaign, and the rows it ends with."""

import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session

from ..accounts import network_of
from ..backends import load_backends
from ..campaigns import state_changes
from ..db import make_engine
from ..errors import Conflict
from ..migrations import migrate
from ..models import (
    Account,
    Campaign,
    Delivery,
    Sender,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    list_member,
)
from ..sending.context import SendingContext
from ..settings import Settings, load
from ..subscriber_counts import add_to_counts
from .verdict import DrillRow

SPEED = 7200  # two hours a second: a day's wait takes twelve seconds, and a lease lasts as long as ever
DEPTH = 8  # emails that may be unanswered on one connection
CONNECTIONS = 8
ROWS_AT_ONCE = 5000
EMAIL = """<p>Dear {{ first_name }}, this is email {{ number }}.</p>
<p><a href="https://example.com/news">Read on</a>.</p>"""


def write_settings(folder: Path, database_url: str, port: int) -> Settings:
    """Write an ini file for the drill's installation, which its parts read as well, and load it."""
    values = {
        "use": "egg:mailganer",
        "sqlalchemy.url": database_url or f"sqlite:///{folder / 'drill.sqlite'}",
        "mailganer.secret_key": secrets.token_hex(32),
        "mailganer.public_url": "https://drill.example.com",
        "mailganer.data_dir": str(folder / "data"),
        "mailganer.backends": "smtp",
        "mailganer.backend.smtp.open_relay": "true",
        "mailganer.backend.smtp.depth": str(DEPTH),
        "mailganer.allow_private_smtp_hosts": "true",
        "mailganer.smtp_ports": str(port),
        "mailganer.plans": "drill",
        "mailganer.plan.drill.title": "Drill",
        # By this clock twelve seconds are a day.
        "mailganer.latest_start_hours": "876000",
        "mailganer.fast_clock": f"{datetime.now(UTC).isoformat()} {SPEED}",
    }
    ini = folder / "drill.ini"
    lines = (f"{key} = {value.replace('%', '%%')}\n" for key, value in values.items())
    ini.touch(mode=0o600)
    ini.write_text("[app:main]\n" + "".join(lines))
    os.environ["MAILGANER_INI"] = str(ini)
    return load(ini)


def make_database(settings: Settings) -> None:
    engine = make_engine(settings.database_url)
    try:
        if inspect(engine).get_table_names():
            raise Conflict("This database holds something. A drill wants an empty one of its own.")
        migrate(engine)
    finally:
        engine.dispose()


def create_campaign(context: SendingContext, settings: Settings, number: int, port: int) -> Sequence[str]:
    """Create an account with a list, a sender and a campaign that starts now; return the addresses."""
    now = context.now()
    addresses = [f"reader{each:07}@example.org" for each in range(1, number + 1)]
    with context.sessions.begin() as session:
        account = Account(email="drill@example.com", plan="drill", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(account_id=account.id, name="Drill", created_at=now)
        sender = Sender(
            account_id=account.id,
            name="Drill",
            from_name="Drill",
            from_email="drill@example.com",
            backend="smtp",
            settings={"host": "127.0.0.1", "port": port, "security": "none", "username": ""},
            max_connections=CONNECTIONS,
            created_at=now,
            verified_at=now,
        )
        session.add_all([lst, sender])
        session.flush()
        _fill(session, account.id, lst.id, addresses, now)
        campaign = Campaign(
            account_id=account.id,
            name="Drill",
            subject="Email {{ number }}",
            html=EMAIL,
            created_at=now,
            updated_at=now,
        )
        campaign.lists.append(lst)
        campaign.senders.append(sender)
        session.add(campaign)
        session.flush()
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    with context.sessions() as session:
        campaign = session.get_one(Campaign, campaign.id)
        state_changes.schedule(session, campaign, None, now, settings=settings, registry=registry)
        session.commit()
    return addresses


def _fill(session: Session, account_id: int, list_id: int, addresses: Sequence[str], now: datetime) -> None:
    for begin in range(0, len(addresses), ROWS_AT_ONCE):
        rows = [
            {
                "account_id": account_id,
                "email": email,
                "email_key": email,
                "first_name": "Reader",
                "fields": {"number": email[6:13]},
                "status": SubscriberStatus.active,
                "created_at": now,
                "updated_at": now,
            }
            for email in addresses[begin : begin + ROWS_AT_ONCE]
        ]
        ids = session.scalars(insert(Subscriber).returning(Subscriber.id), rows).all()
        members = [{"list_id": list_id, "subscriber_id": each, "added_at": now} for each in ids]
        session.execute(insert(list_member), members)
        for each in (None, list_id):
            add_to_counts(session, account_id, each, {SubscriberStatus.active: len(ids)})


def final_rows(context: SendingContext) -> Iterator[DrillRow]:
    columns = (Delivery.email, Delivery.status, Delivery.reason, Delivery.reply, Delivery.attempts)
    with context.readers() as session:
        for email, status, reason, reply, attempts in session.execute(select(*columns)):
            yield DrillRow(email, status.value, reason.value if reason else "", reply or "", attempts)
