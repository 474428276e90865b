"""A broker that goes away and comes back is two lines in the log of each part, however often it is tried."""

import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from threading import Thread
from typing import Any

import pytest
import redis
from celery import Celery
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from mailganer import queue
from mailganer.broker import REFUSES_SIGN_IN, REFUSES_WRITES, trouble
from mailganer.broker_monitor import BrokerMonitor
from mailganer.logs import Outage
from mailganer.models import Heartbeat
from mailganer.queue import BROKER, ImpatientAMQP, celery_config, enqueue, is_empty, note_received
from mailganer.settings import ENVIRONMENT, Settings
from mailganer.web.health import BrokerWatch
from tests.support.installation import Installation
from tests.support.ports import die_with_parent, free_port, wait_until
from tests.support.redis import Redis

TRIES = 4  # without success, before the broker is started
UNREACHABLE = re.compile(r"(?:worker|beat|web): The broker is unreachable \(.+\); retrying$")
BACK = re.compile(r"(?:worker|beat|web): The broker is back after \d+ s$")
CELERY = ("celery", "-A", "mailganer.worker", "worker")


class Door:
    """A listener in the broker's place that closes every connection, and counts them."""

    def __init__(self, port: int) -> None:
        self.knocks = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.knocks += 1


class Part:
    """A process of the installation, and what it logs."""

    def __init__(self, command: Sequence[str], ini: Path) -> None:
        self._log = ini.with_suffix(".log")
        environment = {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment | {"MAILGANER_INI": str(ini)},
                preexec_fn=die_with_parent,
            )

    def said(self) -> str:
        return self._log.read_text()

    def warnings(self) -> list[str]:
        """The events of level warning and above, in JSON and in plain lines."""
        lines = self.said().splitlines()
        plain = [line.partition("] ")[2] for line in lines if re.match(r"\[.*: (WARN|ERR|CRIT)", line)]
        read = [json.loads(line) for line in lines if line.startswith("{")]
        loud = [line for line in read if line["level"] not in ("debug", "info")]
        return plain + [line["event"] for line in loud if "SecurityWarning" not in line["event"]]  # as root

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture
def start(ini_values: dict[str, str], broker: Redis, tmp_path: Path) -> Iterator[Callable[..., Part]]:
    running: list[Part] = []

    def begin(command: Sequence[str], development: bool) -> Part:
        values = ini_values | {
            "celery.broker_url": broker.url,
            "mailganer.development": str(development).lower(),
        }
        ini = tmp_path / f"{len(running)}.ini"
        lines = [f"{key} = {value.replace('%', '%%')}" for key, value in values.items()]
        ini.write_text("\n".join(["[app:main]", "use = egg:mailganer", *lines]))
        running.append(Part(command, ini))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


def found(lines: list[str], wanted: list[re.Pattern[str]]) -> bool:
    """Whether these are all lines, in this order."""
    return len(lines) == len(wanted) and all(map(re.match, wanted, lines))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("command", "development"),
    [
        pytest.param(("mailganer", "worker"), False, id="worker"),
        pytest.param((*CELERY, "--concurrency=1"), True, id="celery worker, plain lines"),
        pytest.param((*CELERY, "--pool=threads"), False, id="celery worker of threads"),
        pytest.param(("mailganer", "beat"), True, id="beat, plain lines"),
    ],
)
def test_an_outage_of_the_broker_is_one_line_of_each_part_and_its_end_another(
    start: Any, broker: Redis, command: tuple[str, ...], development: bool, engine: Any
) -> None:
    broker.kill()
    door = Door(broker.port)  # away from the start
    part = start(command, development)
    be_away(part, door)
    assert found(part.warnings(), [UNREACHABLE]), part.said()
    be_back(part, broker, 1)
    broker.kill()  # while it is connected
    be_away(part, Door(broker.port))
    assert found(part.warnings(), [UNREACHABLE, BACK, UNREACHABLE]), part.said()
    be_back(part, broker, 2)
    assert "Traceback" not in part.said()


def be_away(part: Part, door: Door) -> None:
    try:
        wait_until(lambda: door.knocks >= TRIES, 60, what="the tries")
    except AssertionError as error:
        pytest.fail(f"{error}\n{part.said()}")
    finally:
        door.close()


def be_back(part: Part, broker: Redis, outages: int) -> None:
    broker.start()
    try:
        wait_until(lambda: len(part.warnings()) >= 2 * outages, 30, what="the recovery")
    except AssertionError as error:
        pytest.fail(f"{error}\n{part.said()}")
    assert found(part.warnings(), [UNREACHABLE, BACK] * outages), part.said()


READ_ONLY = ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")
FULL = ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")


def ask(broker: Redis, *command: str) -> None:
    with redis.Redis(port=broker.port) as client:
        client.execute_command(*command)


def worker_has_ticked(engine: Engine) -> bool:
    with Session(engine) as session:
        return session.scalar(select(func.count()).where(Heartbeat.name.like("worker %"))) != 0


def own(part: Part) -> list[str]:
    return [line for line in part.warnings() if "The broker" in line]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_broker_that_answers_but_cannot_be_used_is_an_outage_of_each_part(
    start: Any, broker: Redis, engine: Engine, ini_values: dict[str, str]
) -> None:
    """It became a replica, its memory is full, and it is frozen; the duration is that of the outage."""
    ini_values["mailganer.listen"] = f"127.0.0.1:{free_port()}"
    commands = ("mailganer", "worker"), ("mailganer", "beat"), ("mailganer", "web")
    parts = dict(zip(("worker", "beat", "web"), (start(each, False) for each in commands), strict=True))
    wait_until(lambda: worker_has_ticked(engine), 60, what="the worker")
    kinds = [(partial(ask, broker, *begin), partial(ask, broker, *end)) for begin, end in (READ_ONLY, FULL)]
    kinds.append((partial(broker.signal, SIGSTOP), partial(broker.signal, SIGCONT)))
    for number, (begin, end) in enumerate(kinds, 1):
        began = time.monotonic()
        begin()
        wait_until(
            lambda n=number: all(len(own(each)) == 2 * n - 1 for each in parts.values()), 40, what="it"
        )
        end()
        wait_until(
            lambda n=number: all(len(own(each)) == 2 * n for each in parts.values()), 40, what="its end"
        )
        longest = time.monotonic() - began + 1
        for name, part in parts.items():
            assert found(own(part), [UNREACHABLE, BACK] * number), part.said()
            *_, unreachable, back = own(part)
            assert unreachable.startswith(f"{name}: "), part.said()
            assert int(re.findall(r"\d+", back)[-1]) <= longest
    for part in parts.values():
        assert "Traceback" not in part.said()


@pytest.mark.parametrize("begin_and_end", [READ_ONLY, FULL], ids=["read-only", "full"])
def test_a_broker_that_refuses_writes_is_not_usable(
    broker: Redis, begin_and_end: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    begin, end = begin_and_end
    assert trouble(broker.url) == ""
    ask(broker, *begin)
    try:
        assert trouble(broker.url).startswith(REFUSES_WRITES)
        assert BrokerWatch(broker.url).state() == "down: it refuses writes"
    finally:
        ask(broker, *end)
    assert BrokerWatch(broker.url).state() == "ok"


def test_one_failed_check_is_no_outage(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    answers = ["away", "", "away", "away", "away", ""]
    monkeypatch.setattr("mailganer.broker.trouble", lambda _url: answers.pop(0))
    monitor = BrokerMonitor("redis://", Outage("The broker"))
    for _check in range(6):
        monitor.check()
    first, last = [each.getMessage() for each in caplog.records]
    assert first == "The broker is unreachable (away); retrying"
    assert last.startswith("The broker is back after 0 s")


def test_a_password_set_meanwhile_is_one_outage_although_old_connections_still_work(
    broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis asks for a new password at a new sign-in only."""
    app = producer(broker.url)
    monitor = BrokerMonitor(broker.url, BROKER)
    assert enqueue(app, "tick")
    ask(broker, "CONFIG", "SET", "requirepass", "s3cret")
    for number in range(4):
        monitor.check()
        assert enqueue(app, "plan", number)
    assert BrokerWatch(broker.url).state() == "down: it refuses the sign-in"
    wrong = broker.url.replace("//", "//:another@")
    assert BrokerWatch(wrong).state() == "down: it refuses the sign-in"
    assert trouble(wrong).startswith(REFUSES_SIGN_IN)
    assert "another" not in trouble(wrong)
    with redis.Redis(port=broker.port, password="s3cret") as client:
        client.config_set("requirepass", "")
    for number in range(4):
        monitor.check()
        assert enqueue(app, "plan", number)
    first, last = [each.getMessage() for each in caplog.records if "broker" in each.getMessage()]
    assert first == "The broker is unreachable (it refuses the sign-in: Authentication required); retrying"
    assert last.startswith("The broker is back after ")


def test_a_broker_is_back_when_the_process_itself_is_connected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outage, connected = Outage("The broker"), False
    monkeypatch.setattr("mailganer.broker.trouble", lambda _url: "")
    monitor = BrokerMonitor("redis://", outage, lambda: connected)
    outage.began(logging.getLogger(), "away")
    outage.ended(logging.getLogger())
    monitor.check()
    assert len(caplog.records) == 1
    connected = True
    monitor.check()
    assert "is back" in caplog.records[-1].getMessage()


def test_a_frozen_broker_is_waited_for_once(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a tick, a plan and a lane want to queue: the rest is skipped until the broker is usable."""
    monkeypatch.setattr(queue, "PUBLISHES", 0.6)
    app = producer(broker.url)
    assert enqueue(app, "tick")
    tries = []
    acquire = app.producer_pool.acquire
    monkeypatch.setattr(app.producer_pool, "acquire", lambda **more: tries.append(1) or acquire(**more))
    broker.signal(SIGSTOP)
    try:
        began = time.monotonic()
        for number in range(20):
            assert is_empty(app)
            assert not enqueue(app, "plan", number)
            note_received(app, "mailganer.plan", (number,), "id")
        assert time.monotonic() - began < 5  # the timeout of the connections that read
        assert len(tries) == 1
    finally:
        broker.signal(SIGCONT)
    BrokerMonitor(broker.url, Outage("The broker")).check()
    assert enqueue(app, "plan", 1)


def test_a_refused_connection_is_tried_again_each_time(broker: Redis) -> None:
    app = producer(broker.url)
    broker.kill()
    assert not enqueue(app, "plan", 1)
    broker.start()
    assert enqueue(app, "plan", 1)


def producer(url: str) -> Celery:
    """A part that queues tasks, as the web part makes it."""
    app = Celery("producer", set_as_current=False, amqp=ImpatientAMQP)
    app.config_from_object(
        celery_config(Settings("sqlite://", "http://localhost", ("",), Path(), broker_url=url))
    )
    return app


def has_ticked(installation: Installation) -> bool:
    """Whether a worker has run a tick, so that it was connected to the broker."""
    path = installation.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT count(*) FROM heartbeat WHERE name LIKE 'worker %'"
        return bool(database.execute(query).fetchone()[0])


def pairs(lines: list[str], outages: int | None = None) -> bool:
    """Whether these are so many outages with their ends; two at most when no number is given."""
    number = min(len(lines) // 2, 2) if outages is None else outages
    return found(lines, [UNREACHABLE, BACK] * number)


def test_an_embedded_broker_that_is_killed_is_two_lines_of_each_part_that_uses_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "here")
    installation.start()

    def lines(part: str) -> list[str]:
        read = [json.loads(line) for line in installation.output().splitlines() if line.startswith("{")]
        return [line["event"] for line in read if line["event"].startswith(f"{part}: The broker")]

    try:
        wait_until(lambda: has_ticked(installation), 60, what="the worker")
        for outage in (1, 2):
            wait_until(lambda: "broker" in installation.parts(), 30, what="the broker")
            installation.part("broker").kill()
            wait_until(lambda outage=outage: pairs(lines("worker"), outage), 60, what="the worker's lines")
        # Beat looks every two seconds, and the broker is back after one: it need not have noticed.
        wait_until(lambda: pairs(lines("beat")), 60, what="pairs of lines of beat")
        wait_until(lambda: pairs(lines("web")), 60, what="pairs of lines of the web part")
        assert "celery.worker.consumer.consumer" not in installation.output()
        assert "Traceback" not in installation.output()
    except AssertionError as error:
        pytest.fail(f"{error}\n{installation.output()}")
    finally:
        installation.stop()
