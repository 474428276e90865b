"""The fixtures work: the other tests depend on them."""

import smtplib
import socket
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import redis
from sqlalchemy import insert, make_url, select, text
from sqlalchemy.exc import IntegrityError
from webtest import TestApp

from mailganer.db import make_engine, make_sessions
from mailganer.migrations import current, newest
from mailganer.models import Subscriber, list_member, metadata
from mailganer.vault import Vault

from ..conftest import SECRET
from ..support.factories import Factory
from ..support.outside import OutsideWorld
from ..support.statements import statements


def test_every_test_has_a_migrated_database_of_its_own(engine):
    assert current(engine) == newest()


@pytest.mark.parametrize("time", ["first", "second"])
def test_what_one_test_commits_another_does_not_see(session, make, time):
    assert session.scalars(select(Subscriber)).all() == []
    account = make.account()
    make.subscribers(account, 3, make.list(account))
    make.commit()


@pytest.mark.parametrize(
    "change",
    [
        None,
        "CREATE INDEX another ON account (created_at)",
        "ALTER TABLE account ADD COLUMN another integer",
        "ALTER TABLE account RENAME COLUMN plan TO another",
        "DROP TABLE subscriber CASCADE",
        "CREATE FUNCTION another() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "UPDATE alembic_version SET version_num = '0001'",
        "ANALYZE account",
        "ALTER DATABASE \"{}\" SET lock_timeout = '1s'",
    ],
)
def test_a_used_database_is_emptied_if_its_schema_is_still_the_templates(databases, now, change):
    url = databases.fresh("postgresql")
    server, used, pristine = databases.postgresql, make_url(url).database, databases.pristine
    with closing_engine(url) as engine, make_sessions(engine)() as session:
        Factory(session, now, Vault((SECRET,))).account()
        session.commit()
        if change:
            session.execute(text(change.format(used)))
            session.commit()
        # The session still has its connection.
        as_good_as_new = server.recycle(used, f"{used}_again", pristine)
    assert as_good_as_new is (change is None)
    if as_good_as_new:
        with closing_engine(server.url(f"{used}_again")) as engine, make_sessions(engine)() as session:
            assert [
                name for name in metadata.tables if session.execute(text(f'SELECT 1 FROM "{name}"')).all()
            ] == []
            assert Factory(session, now, Vault((SECRET,))).account().id == 1
    for each in (used, f"{used}_again"):
        server.drop(each)


@contextmanager
def closing_engine(url):
    engine = make_engine(url)
    yield engine
    engine.dispose()


def test_a_campaign_can_be_made_with_everything_it_needs(session, make, smtp_server):
    account = make.account()
    readers = make.list(account)
    make.subscriber(account, lists=(readers,))
    campaign = make.campaign(account, (readers,), (make.sender(account, smtp_server),))
    make.commit()
    session.refresh(campaign)
    assert [sender.settings["port"] for sender in campaign.senders] == [smtp_server.port]


def test_both_brokers_answer_and_are_empty(broker_url):
    with redis.Redis.from_url(broker_url.replace("redis+socket://", "unix://")) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


def test_the_mail_server_wants_a_login_and_counts_emails(smtp_server):
    with smtplib.SMTP("127.0.0.1", smtp_server.port) as client:
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("anna@example.com", ["boris@example.org"], "Subject: one\n\nHello")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("anna@example.com", "wrong")
        client.login("anna@example.com", "secret")
        client.sendmail("anna@example.com", ["boris@example.org"], "Subject: one\n\nHello")
    assert smtp_server.counts == {"boris@example.org": 1}
    assert smtp_server.emails[0].part("plain").strip() == "Hello"


def test_nothing_reaches_another_machine():
    with socket.socket() as outward, pytest.raises(OutsideWorld):
        outward.connect(("192.0.2.1", 25))
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 25)


def test_foreign_keys_hold_on_both_databases(session):
    row = {"list_id": 1, "subscriber_id": 1, "added_at": datetime(2026, 1, 1, tzinfo=UTC)}
    with pytest.raises(IntegrityError):
        session.execute(insert(list_member), [row])


def test_the_browser_opens_a_page(page):
    page.set_content("<title>Hello</title>")
    assert page.title() == "Hello"


def test_an_application_is_configured_once_and_keeps_nothing_of_an_earlier_test(
    applications, ini_values, databases, tmp_path
):
    first = applications.make(ini_values)
    before = dict(first.registry)
    other = {"sqlalchemy.url": databases.fresh("sqlite"), "mailganer.data_dir": str(tmp_path / "other")}
    second = applications.make(ini_values | other)
    assert second.registry is first.registry
    kept = sorted(name for name, part in second.registry.items() if part is before[name])
    assert kept == [], f"tests.support.applications.renewed() has to make these anew: {kept}"
    assert set(second.registry) == set(before)
    with statements(before["engine"]) as old, statements(second.registry["engine"]) as new:
        TestApp(second, extra_environ={"REMOTE_ADDR": "127.0.0.1"}).get("/healthz")
    assert new
    assert old == []
    for each in (before, second.registry):
        each["engine"].dispose()


def test_other_settings_configure_another_application(applications, ini_values):
    first = applications.make(ini_values)
    other = applications.make(ini_values | {"mailganer.public_url": "https://mail.example.com"})
    assert other.registry is not first.registry
    assert TestApp(other).get("/sign-in").headers["Strict-Transport-Security"]
