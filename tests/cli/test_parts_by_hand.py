"""A local installation with manually started parts, each by its own server's command."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port, wait_until

FACTORY = "mailganer.wsgi:create_app"
CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def folder(tmp_path: Path, redis_server: Any) -> Path:
    """A folder with the unchanged ``development.ini`` and an ``.env`` of four lines."""
    shutil.copy(CHECKOUT / "development.ini", tmp_path)
    (tmp_path / ".env").write_text(
        f"DATABASE_URI=sqlite:///{tmp_path}/local.sqlite\n"
        f"SECRET_KEY={'0123456789abcdef' * 4}\n"
        f"CELERY_BROKER_URL={redis_server.url}\n"
        "DOCKER_REDIS_NAME=local-redis\n"
    )
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program of the environment in that folder; all end with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*command: str, ini: str = "development.ini") -> subprocess.Popen[str]:
        with (folder / f"{len(running)}.log").open("w") as log:
            program = subprocess.Popen(
                [PROGRAMS / command[0], *command[1:]],
                cwd=folder,
                env=os.environ | {"MAILGANER_INI": ini},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        running.append(program)
        return program

    yield begin
    for each in running:
        each.terminate()
    for each in running:
        each.wait(30)


def health(port: int) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)
    except OSError:
        return {}


def test_the_parts_by_hand_make_an_installation(start: Any, folder: Path) -> None:
    port = free_port()
    assert start("mailganer", "migrate").wait(60) == 0
    start("waitress-serve", f"--listen=127.0.0.1:{port}", "--call", FACTORY)
    start("celery", "-A", "mailganer.worker", "worker", "--concurrency=1")
    start("celery", "-A", "mailganer.worker", "beat")
    try:
        wait_until(lambda: health(port).get("worker") == "ok", 90, what="a worker that is heard")
    except AssertionError as error:
        pytest.fail("\n".join([str(error), *(log.read_text() for log in folder.glob("*.log"))]))
    answer = health(port)
    assert answer["status"] == "ok", answer
    assert (folder / "local.sqlite").is_file()
    assert not (folder / "var" / "mailganer.sqlite").exists()


def test_the_factory_lists_wrong_settings_without_a_traceback(start: Any, folder: Path) -> None:
    ini = folder / "development.ini"
    ini.write_text(ini.read_text().replace("mailganer.grace_seconds = 10", "mailganer.grace_seconds = soon"))
    assert start("waitress-serve", "--listen=127.0.0.1:0", "--call", FACTORY).wait(60) == 1
    said = (folder / "0.log").read_text()
    assert "mailganer.grace_seconds is 'soon'" in said
    assert "Traceback" not in said
