"""What machines ask: is it well, and how much of what."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailganer.db import utcnow
from mailganer.models import Account, Batch, CampaignStatus, Heartbeat

from ..support.factories import Factory


def test_a_healthy_installation_says_ok(app: Any, session: Session) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow()))
    session.add(Heartbeat(name="worker here:1", seen_at=utcnow() - timedelta(hours=5)))
    session.add(Heartbeat(name="worker here:2", seen_at=utcnow()))
    session.commit()
    answer = app.get("/healthz", status=200).json
    assert 0 <= answer.pop("tick_age") <= 60
    assert answer == {"status": "ok", "down": [], "database": "ok", "worker": "ok", "beat": "ok"}


def test_what_was_never_started_is_not_down(app: Any) -> None:
    answer = app.get("/healthz", status=200).json
    assert (answer["worker"], answer["tick_age"]) == ("not started", None)


def test_a_part_that_was_heard_before_the_clock_was_set_back_is_not_taken_for_well(
    app: Any, session: Session
) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow() + timedelta(hours=8)))
    session.commit()
    assert app.get("/healthz", status=503).json["down"] == ["beat"]


def test_a_part_that_fell_silent_is_named(app: Any, session: Session) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow() - timedelta(minutes=4)))
    session.commit()
    answer = app.get("/healthz", status=503).json
    assert (answer["status"], answer["down"]) == ("down", ["beat"])
    assert app.get("/healthz?part=web", status=200).json["status"] == "ok"


def test_a_database_of_another_version_is_named(wsgi_app: Any, app: Any) -> None:
    with wsgi_app.registry["engine"].begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = app.get("/healthz", status=503).json
    assert answer["down"] == ["database"]
    assert "mailganer migrate" in answer["database"]


def test_a_database_that_does_not_answer_is_named(ini_values: dict[str, str], tmp_path: Any) -> None:
    from webtest import TestApp

    from mailganer import main

    ini_values["sqlalchemy.url"] = f"sqlite:///{tmp_path}/no/such/folder.db"
    answer = TestApp(main({}, **ini_values)).get("/healthz", status=503).json
    assert answer["down"] == ["database"]


def test_metrics_count_letters_senders_and_requests(
    app: Any, session: Session, make: Factory, account: Account
) -> None:
    make.sender(account)
    campaign = make.campaign(account, status=CampaignStatus.sending)
    session.add(Batch(campaign_id=campaign.id, number=1, first_id=1, last_id=10, pending=7, sent=3))
    session.commit()
    app.get("/healthz")
    page = app.get("/metrics", status=200).text
    assert 'mailganer_letters{status="sent"} 3.0' in page
    assert 'mailganer_letters{status="pending"} 7.0' in page
    assert 'mailganer_senders{status="ready"} 1.0' in page
    assert 'mailganer_requests_total{method="GET",route="healthz",status="200"}' in page
