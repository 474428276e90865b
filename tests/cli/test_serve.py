"""``mailganer serve``: one command starts all parts, one signal ends them, and data persists."""

import signal
import socket
import time
import urllib.request

import psutil
import pytest

from mailganer.db import make_engine, make_sessions
from mailganer.models import Account

from ..fixtures.command import run_here
from ..support.installation import Installation
from ..support.pace import within
from ..support.ports import wait_until

PARTS = {"web", "worker", "beat"}


@pytest.fixture
def installation(tmp_path):
    """Everything embedded, not started yet."""
    installation = Installation(tmp_path / "here")
    yield installation
    if installation.process is not None:
        installation.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Everything embedded and running, for all tests that leave it so; started as a user starts it."""
    installation = Installation(tmp_path_factory.mktemp("shared") / "here", forked=False)
    installation.start()
    yield installation
    installation.stop()


def parts(installation):
    return set(installation.parts())


def alive(family):
    return [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_every_part_runs_and_the_address_is_said(shared):
    wait_until(lambda: parts(shared) == {*PARTS, "broker"}, 5, "every part")
    wait_until(lambda: f"Mailganer is ready: {shared.url}" in shared.log.read_text(), 5, "the greeting")
    with urllib.request.urlopen(shared.url) as page:
        assert page.status == 200


@pytest.mark.parametrize("live", ["production"], indirect=True)
def test_a_configured_broker_is_used_and_none_is_started(live):
    wait_until(lambda: parts(live) == PARTS, 5, "every part")


def test_the_demo_has_a_mail_catcher(tmp_path, start_installation):
    installation = start_installation(demo=True, forked=False)
    wait_until(lambda: parts(installation) == {*PARTS, "broker", "catcher"}, 5, "every part")
    wait_until(lambda: socket.create_connection(("127.0.0.1", installation.catcher_port)).close() or True, 10)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_within_seconds_and_leaves_no_process(installation, by):
    installation.start()
    family = installation.children()
    began = time.monotonic()
    assert installation.stop(by) == 0
    assert time.monotonic() - began < within(8)
    assert alive(family) == []


def test_killing_the_parent_leaves_no_child_and_it_starts_again_with_yesterdays_data(installation, now):
    installation.start()
    engine = make_engine(installation.database_url)
    with make_sessions(engine)() as session:
        session.add(Account(email="anna@example.com", plan="free", created_at=now))
        session.commit()
    engine.dispose()
    family = installation.children()
    assert len(family) >= 4
    installation.kill()  # not even stopped cleanly
    wait_until(lambda: not alive(family), 20, "the children to end")
    installation.start()
    assert "anna@example.com" in installation.run("account", "list").stdout


def test_a_second_one_on_the_same_data_is_refused_in_a_sentence(shared):
    second = shared.run("serve", str(shared.ini))
    assert second.returncode == 1
    assert "already running" in second.stderr
    assert str(shared.process.pid) in second.stderr


def test_a_taken_port_is_said_in_a_sentence(installation):
    with socket.socket() as other:
        other.bind(("127.0.0.1", installation.port))
        other.listen()
        seen = installation.run("serve", str(installation.ini))
    assert seen.returncode == 1
    (sentence,) = seen.stderr.strip().splitlines()
    assert sentence.startswith(f"Cannot listen on 127.0.0.1:{installation.port} (Address already in use).")
    assert "mailganer.listen" in sentence
    assert "MAILGANER_LISTEN" in sentence


def test_a_listen_address_without_a_host_is_said_in_a_sentence(installation):
    ini = installation.ini
    address = f"mailganer.listen = 127.0.0.1:{installation.port}"
    ini.write_text(ini.read_text().replace(address, "mailganer.listen = 256.1.1.1:6543"))
    seen = installation.run("web", str(ini))
    assert seen.returncode == 1
    assert seen.stderr.startswith("Cannot listen on 256.1.1.1:6543 (")
    assert len(seen.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("part", ["web", "worker", "beat", "broker"])
def test_a_killed_part_comes_back(shared, part):
    killed = shared.part(part)
    killed.kill()
    wait_until(lambda: f"The {part} ended (SIGKILL)" in shared.log.read_text(), 10, "the notice")
    wait_until(lambda: part in parts(shared), 15, f"a new {part}")
    assert shared.part(part).pid != killed.pid
    wait_until(shared.answers, 20, "the web part")


def test_a_payment_provider_that_is_not_there_stops_the_start(installation):
    installation.ini.write_text(installation.ini.read_text() + "mailganer.payments = gold\n")
    seen = installation.run("serve", str(installation.ini))
    assert seen.returncode == 2
    assert "gold" in seen.stderr
    assert "Traceback" not in seen.stderr


def test_the_doctor_finds_it_well(shared):
    shared.ini.write_text(shared.ini.read_text() + "mailganer.development = true\n")
    ini = str(shared.ini)
    # A beat that another test has killed counts as a second one until three ticks of the new one have passed.
    wait_until(lambda: run_here(["doctor", ini]).returncode == 0, 60, "every part to be seen", every=0.5)
    wait_until(lambda: shared.run("doctor").returncode == 0, 20, "the doctor to find it well")
    for part in ("worker", "beat"):
        assert run_here(["alive", part, ini]).returncode == 0
    assert shared.run("alive", "web").returncode == 0
