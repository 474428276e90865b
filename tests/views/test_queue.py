"""A growing queue is reported by /healthz, by the doctor and in /metrics."""

import re
from typing import Any

import pytest
from celery import Celery
from redis import Redis as Client
from sqlalchemy.orm import Session

from mailganer import broker
from mailganer.broker import LONG_QUEUE, OLD_MESSAGE, QUEUE, Backlog
from mailganer.cli import doctor
from mailganer.db import utcnow
from mailganer.models import Heartbeat
from mailganer.queue import celery_config, enqueue
from mailganer.settings import Settings

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def celery(settings: Settings) -> Celery:
    app = Celery("elsewhere", set_as_current=False)
    app.config_from_object(celery_config(settings))
    return app


def doctors_words(settings: Settings) -> list[tuple[bool, str]]:
    return list(dict(doctor.CHECKS)["queue"](settings))


def fill(settings: Settings, messages: int) -> None:
    with Client.from_url(settings.broker_url) as client:
        client.lpush(QUEUE, *["{}"] * messages)


@one_database
def test_a_long_queue_is_reported_by_healthz_and_the_doctor(settings: Settings, app: Any) -> None:
    fill(settings, LONG_QUEUE + 1)
    answer = app.get("/healthz", status=503).json
    assert answer["down"] == ["queue"]
    assert f"{LONG_QUEUE + 1} messages wait" in answer["queue"]
    ((well, sentence),) = doctors_words(settings)
    assert not well
    assert sentence.startswith(f"{LONG_QUEUE + 1} messages wait")
    assert app.get("/healthz?part=web", status=200).json["status"] == "ok"


@one_database
def test_a_message_that_no_worker_takes_is_reported_with_its_age(
    settings: Settings, celery: Celery, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = broker.now
    monkeypatch.setattr(broker, "now", lambda connection: at(connection) - OLD_MESSAGE - 1)
    enqueue(celery, "tick")
    monkeypatch.setattr(broker, "now", at)
    assert "1 message waits, the oldest for 12" in app.get("/healthz", status=503).json["queue"]
    ((well, sentence),) = doctors_words(settings)
    assert (well, "1 message waits, the oldest for 12" in sentence) == (False, True)


@one_database
def test_a_short_queue_is_well_and_counted_in_metrics(
    settings: Settings, celery: Celery, app: Any, session: Session
) -> None:
    session.add(Heartbeat(name="beat", seen_at=utcnow()))
    session.commit()
    enqueue(celery, "tick")
    enqueue(celery, "import", 1)
    assert app.get("/healthz", status=200).json["queue"] == "ok"
    ((well, sentence),) = doctors_words(settings)
    assert well
    assert sentence.startswith("2 messages wait, the oldest for ")
    page = app.get("/metrics", status=200).text
    assert "mailganer_queue_messages 2.0" in page
    assert re.search(r"^mailganer_queue_age_seconds \d", page, re.MULTILINE)
    assert re.search(r"^mailganer_tick_age_seconds \d", page, re.MULTILINE)


@one_database
def test_an_empty_queue_is_zero_old(app: Any) -> None:
    page = app.get("/metrics", status=200).text
    assert "mailganer_queue_messages 0.0" in page
    assert "mailganer_queue_age_seconds 0.0" in page


def test_a_broker_that_shows_no_message_counts_them_all_the_same() -> None:
    app = Celery("memory", set_as_current=False)
    app.conf.update(broker_url="memory://", task_default_queue=QUEUE)
    with app.producer_pool.acquire() as producer:
        channel = producer.connection.default_channel
        channel.queue_declare(QUEUE)
        channel.queue_purge(QUEUE)
    enqueue(app, "import", 1)
    assert broker.backlog("memory://") == Backlog(1, None)


def test_a_broker_that_is_gone_has_no_backlog() -> None:
    assert broker.backlog("redis://127.0.0.1:1/0") is None
