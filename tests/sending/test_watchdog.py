"""A worker that is connected and receives no messages ends and is started again."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from mailganer.cli.processes import Part, ProcessTree
from mailganer.models import CampaignStatus
from mailganer.queue import celery_config, enqueue
from mailganer.sending.watchdog import tasks_wait
from mailganer.settings import ENVIRONMENT, from_mapping
from tests.support.ports import free_port, wait_until

# The worker, with a consumer that stops reading from the broker while a certain file exists.
DEAF_WORKER = """
import sys
from pathlib import Path
from kombu.transport.redis import Channel
from mailganer.cli import main
from mailganer.sending import watchdog

watchdog.LOOK_EVERY, watchdog.DEAF_FOR = 0.2, 4.0
deaf, listen = Path(sys.argv.pop(1)), Channel._brpop_start
Channel._brpop_start = lambda self, *given: None if deaf.exists() else listen(self, *given)
main()
"""


@pytest.fixture
def said() -> list[str]:
    """Return the output of the process tree."""
    return []


@pytest.fixture
def tree(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    tree = ProcessTree(said.append, tmp_path / "log")
    yield tree
    tree.stop()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_that_listens_no_more_ends_with_1_and_its_successor_continues(
    due: Any, parts: Any, tree: ProcessTree, said: list[str], tmp_path: Path, smtp_server: Any, reload: Any
) -> None:
    campaign, deaf = due(50), tmp_path / "deaf"
    deaf.touch()
    command = (sys.executable, "-c", DEAF_WORKER, str(deaf), "worker", str(parts.ini))
    tree.start(Part("worker", command))
    parts.start("beat")

    def died() -> bool:
        tree.look()
        return tree.deaths("worker") == 1

    wait_until(died, timeout=60, what="the worker to end")
    assert "The worker ended (exit code 1)" in said[0]
    assert "has heard nothing for" in (tmp_path / "log" / "worker.log").read_text()
    assert not smtp_server.emails
    deaf.unlink()

    def finished() -> bool:
        tree.look()
        return reload(campaign).status is CampaignStatus.finished

    try:
        wait_until(finished, timeout=90, what="the campaign")
    except AssertionError as error:
        log = (tmp_path / "log" / "worker.log").read_text()
        pytest.fail(f"{error}\n{said}\n{log}\n{parts.output()}")
    assert tree.deaths("worker") == 1
    assert set(smtp_server.counts.values()) == {1}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_with_nothing_to_hear_stays(parts: Any, tree: ProcessTree, tmp_path: Path) -> None:
    command = (sys.executable, "-c", DEAF_WORKER, str(tmp_path / "deaf"), "worker", str(parts.ini))
    tree.start(Part("worker", command))
    time.sleep(8)  # without beat there are no ticks
    tree.look()
    assert tree.deaths("worker") == 0


def app_of(ini_values: dict[str, str]) -> Celery:
    app = Celery("test", set_as_current=False)
    app.config_from_object(celery_config(from_mapping(ini_values, environ={})))
    return app


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_waits_is_asked_of_the_broker(ini_values: dict[str, str], broker_url: str) -> None:
    ini_values["celery.broker_url"] = broker_url
    app = app_of(ini_values)
    assert tasks_wait(app) is False
    enqueue(app, "tick")
    assert tasks_wait(app) is True


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_broker_that_is_gone_says_nothing(ini_values: dict[str, str]) -> None:
    ini_values["celery.broker_url"] = f"redis://127.0.0.1:{free_port()}/0"
    assert tasks_wait(app_of(ini_values)) is None
