"""Health checks and metrics."""

import socket
import time
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from webtest import TestApp

from mailganer import main, migrations
from mailganer.db import utcnow
from mailganer.models import Account, Batch, CampaignStatus, Heartbeat
from mailganer.web import health

from ..support.factories import Factory
from ..support.pace import within
from ..support.ports import wait_until
from ..support.redis import Redis

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_healthy_installation_says_ok(app: Any, session: Session) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow()))
    session.add(Heartbeat(name="worker here:1", seen_at=utcnow() - timedelta(hours=5)))
    session.add(Heartbeat(name="worker here:2", seen_at=utcnow()))
    session.commit()
    answer = app.get("/healthz", status=200).json
    assert 0 <= answer.pop("tick_age") <= 60
    names = ("database", "disk", "broker", "queue", "worker", "beat")
    parts = dict.fromkeys(names, "ok")
    assert answer == {"status": "ok", "down": [], **parts}


def test_what_was_never_started_is_not_down_while_nothing_waits_for_it(app: Any) -> None:
    answer = app.get("/healthz", status=200).json
    assert (answer["worker"], answer["tick_age"]) == ("not started", None)


@pytest.mark.parametrize(
    ("status", "send_at", "down"),
    [
        (CampaignStatus.scheduled, timedelta(minutes=-2), ["worker", "beat"]),
        (CampaignStatus.scheduled, timedelta(seconds=-5), []),
        (CampaignStatus.scheduled, timedelta(hours=1), []),
        (CampaignStatus.draft, timedelta(hours=-1), []),
    ],
)
def test_what_was_never_started_is_down_when_a_campaign_is_due(
    app: Any,
    session: Session,
    make: Factory,
    account: Account,
    status: CampaignStatus,
    send_at: timedelta,
    down: list[str],
) -> None:
    make.campaign(account, status=status, send_at=utcnow() + send_at)
    session.commit()
    assert app.get("/healthz", status=503 if down else 200).json["down"] == down


def test_a_heartbeat_from_before_the_clock_was_set_back_does_not_count(app: Any, session: Session) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow() + timedelta(hours=8)))
    session.commit()
    assert app.get("/healthz", status=503).json["down"] == ["beat"]


def test_a_part_that_fell_silent_is_named(app: Any, session: Session) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow() - timedelta(seconds=70)))
    session.commit()
    answer = app.get("/healthz", status=503).json
    assert (answer["status"], answer["down"]) == ("down", ["beat"])
    assert app.get("/healthz?part=web", status=200).json["status"] == "ok"


@one_database
def test_a_broker_that_does_not_answer_is_named_within_seconds(
    ini_values: dict[str, str], request: pytest.FixtureRequest
) -> None:
    server = Redis()
    ini_values["celery.broker_url"] = server.url
    app = request.getfixturevalue("app")
    assert app.get("/healthz", status=200).json["broker"] == "ok"
    server.stop()
    wait_until(lambda: app.get("/healthz", status="*").status_int == 503, timeout=15)
    begun = time.monotonic()
    answer = app.get("/healthz", status=503).json
    assert time.monotonic() - begun < within(5)
    assert answer["down"] == ["broker"]
    assert app.get("/healthz?part=web", status=200).json == {"status": "ok", "down": [], "database": "ok"}


@one_database
def test_a_broker_that_takes_connections_and_says_nothing_is_down(
    ini_values: dict[str, str], request: pytest.FixtureRequest
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ini_values["celery.broker_url"] = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        app = request.getfixturevalue("app")
        begun = time.monotonic()
        assert app.get("/healthz", status=503).json["down"] == ["broker"]
        assert time.monotonic() - begun < within(5)


def test_a_database_of_another_version_is_named(wsgi_app: Any, app: Any) -> None:
    with wsgi_app.registry["engine"].begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = app.get("/healthz", status=503).json
    assert answer["down"] == ["database"]
    assert "mailganer migrate" in answer["database"]


def test_a_database_that_does_not_answer_is_named(ini_values: dict[str, str], tmp_path: Any) -> None:
    ini_values["sqlalchemy.url"] = f"sqlite:///{tmp_path}/no/such/folder.db"
    answer = TestApp(main({}, **ini_values)).get("/healthz", status=503).json
    assert answer["down"] == ["database"]


def test_a_database_that_hangs_holds_no_health_check_up(
    app: Any, wsgi_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server refuses nothing. One check waits for it, however many are asked for."""
    hangs, asked = Event(), []
    monkeypatch.setattr(health, "DATABASE_ANSWERS", 0.05)

    def current(engine: Any) -> str | None:
        asked.append(engine)
        hangs.wait(30)
        return migrations.newest()

    monkeypatch.setattr(health.migrations, "current", current)
    for _each in range(3):
        answer = app.get("/healthz?part=web", status=503).json
        assert answer["database"] == "down: it does not answer"
    assert len(asked) == 1
    hangs.set()
    wait_until(lambda: app.get("/healthz?part=web", expect_errors=True).status_int == 200, 5)


@one_database
def test_a_health_check_waits_for_no_writer(app: Any, wsgi_app: Any) -> None:
    with wsgi_app.registry["engine"].connect() as writer:  # SQLite: BEGIN IMMEDIATE
        writer.execute(text("SELECT 1"))
        assert app.get("/healthz?part=web", status=200).json["database"] == "ok"


@one_database
def test_words_that_are_no_method_make_no_series_of_their_own(wsgi_app: Any) -> None:
    app = TestApp(wsgi_app, lint=False, extra_environ={"REMOTE_ADDR": "127.0.0.1"})
    for method in ("BREW", "PROPFIND"):
        app.request("/nowhere", method=method, status="*")
    page = app.get("/metrics", status=200).text
    assert 'mailganer_requests_total{method="other",route="none"' in page
    assert "BREW" not in page


def test_metrics_count_emails_senders_and_requests(
    app: Any, session: Session, make: Factory, account: Account
) -> None:
    make.sender(account)
    campaign = make.campaign(account, status=CampaignStatus.sending)
    session.add(Batch(campaign_id=campaign.id, number=1, first_id=1, last_id=10, pending=7, sent=3))
    session.commit()
    app.get("/healthz")
    page = app.get("/metrics", status=200).text
    for name in ("mailganer_active_campaign_emails", "mailganer_letters"):  # and its old name
        assert f'{name}{{status="sent"}} 3.0' in page
        assert f'{name}{{status="pending"}} 7.0' in page
    assert 'mailganer_senders{status="ready"} 1.0' in page
    assert 'mailganer_requests_total{method="GET",route="healthz",status="200"}' in page
