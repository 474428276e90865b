"""``mailganer serve``: one command starts all parts, one signal ends them, and data persists."""

import signal
import socket
import time
import urllib.request

import psutil
import pytest

from mailganer.db import make_engine, make_sessions
from mailganer.models import Account

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


def parts(installation):
    return set(installation.parts())


def alive(family):
    return [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_every_part_runs_and_the_address_is_said(installation):
    installation.start()
    wait_until(lambda: parts(installation) == {*PARTS, "broker"}, 5, "every part")
    wait_until(
        lambda: f"Mailganer is ready: {installation.url}" in installation.log.read_text(), 5, "the greeting"
    )
    with urllib.request.urlopen(installation.url) as page:
        assert page.status == 200


def test_a_configured_broker_is_used_and_none_is_started(live):
    wanted = PARTS if live.broker_url else {*PARTS, "broker"}
    wait_until(lambda: parts(live) == wanted, 5, "every part")


def test_the_demo_has_a_mail_catcher(tmp_path, start_installation):
    installation = start_installation(demo=True)
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


def test_killing_the_parent_leaves_no_child(installation):
    installation.start()
    family = installation.children()
    assert len(family) >= 4
    installation.kill()
    wait_until(lambda: not alive(family), 20, "the children to end")


def test_it_starts_again_with_yesterdays_data(installation, now):
    installation.start()
    engine = make_engine(installation.database_url)
    with make_sessions(engine)() as session:
        session.add(Account(email="anna@example.com", plan="free", created_at=now))
        session.commit()
    engine.dispose()
    installation.kill()  # not even stopped cleanly
    installation.start()
    assert "anna@example.com" in installation.run("account", "list").stdout


def test_a_second_one_on_the_same_data_is_refused_in_a_sentence(installation):
    installation.start()
    second = installation.run("serve", str(installation.ini))
    assert second.returncode == 1
    assert "already running" in second.stderr
    assert str(installation.process.pid) in second.stderr


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
def test_a_killed_part_comes_back(installation, part):
    installation.start()
    killed = installation.part(part)
    killed.kill()
    wait_until(lambda: f"The {part} ended (SIGKILL)" in installation.log.read_text(), 10, "the notice")
    wait_until(lambda: part in parts(installation), 15, f"a new {part}")
    assert installation.part(part).pid != killed.pid
    wait_until(installation.answers, 20, "the web part")


def test_a_payment_provider_that_is_not_there_stops_the_start(installation):
    installation.ini.write_text(installation.ini.read_text() + "mailganer.payments = gold\n")
    seen = installation.run("serve", str(installation.ini))
    assert seen.returncode == 2
    assert "gold" in seen.stderr
    assert "Traceback" not in seen.stderr


def test_the_doctor_finds_it_well(installation):
    installation.start()
    keys = installation.ini.read_text() + "mailganer.development = true\n"
    installation.ini.write_text(keys)

    def healthy():
        seen = installation.run("doctor")
        return seen.returncode == 0 or None

    wait_until(healthy, 60, "every part to be seen alive", every=1)
    for part in ("worker", "beat"):
        assert installation.run("alive", part).returncode == 0
    assert installation.run("alive", "web").returncode == 0
