"""Commands as users run them: a process, an ini file, an exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailganer import cli
from mailganer.models import CampaignStatus
from mailganer.settings import ENVIRONMENT
from tests.fixtures.command import run_here
from tests.support.sent import sent_campaign

NASTY = "tab\there, line\nbreak, back\\slash, \\N and «ёлочки» 🎄"


@pytest.fixture
def now():
    """Use the current time, as commands do."""
    return datetime.now(UTC)


@pytest.fixture
def ini(tmp_path, ini_values):
    """An ini file with the settings of the test."""
    path = tmp_path / "test.ini"
    lines = "\n".join(f"{key} = {value}" for key, value in ini_values.items())
    path.write_text(f"[app:main]\nuse = egg:mailganer\n{lines}\n")
    return path


@pytest.fixture
def run(tmp_path):
    """``run("doctor", ini)``: a finished ``mailganer`` command, without a terminal, in this process."""

    def run(*arguments, **variables):
        return run_here([str(each) for each in arguments], variables, tmp_path)

    return run


@pytest.fixture
def run_process(tmp_path):
    """``run_process("serve", ini)``: the same in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}

    def run_process(*arguments, stdin=subprocess.DEVNULL):
        return subprocess.run(
            [sys.executable, "-m", "mailganer", *map(str, arguments)],
            stdin=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=60,
            check=False,
        )

    return run_process


@pytest.fixture
def command(
    ini: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], session: Any
) -> Callable[..., tuple[int, str]]:
    """``command("backup", folder)``: exit code and output."""
    monkeypatch.setenv("MAILGANER_INI", str(ini))

    def run(*arguments: object) -> tuple[int, str]:
        session.commit()
        session.close()
        code = cli.run([str(each) for each in (*arguments, ini)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture
def full(make: Any, session: Any, vault: Any, settings: Any) -> dict[str, int]:
    """An installation with a campaign that is sending."""
    account = make.account()
    sender = make.sender(account)
    sender.secrets = vault.encrypt(account.id, {"password": "secret"})
    subscribers = [make.subscriber(account, f"r{n}@example.org", first_name=NASTY) for n in range(5)]
    on_its_way, due, later, draft = (make.campaign(account, (), (sender,), name=str(n)) for n in range(4))
    sent_campaign(session, on_its_way, subscribers, make.now)
    due.status, due.send_at = CampaignStatus.scheduled, make.now - timedelta(minutes=1)
    later.status, later.send_at = CampaignStatus.scheduled, make.now + timedelta(days=3)
    session.commit()
    settings.uploads.mkdir(parents=True)
    (settings.uploads / "a.csv").write_bytes(b"email\nanna@example.com\n")
    return {"on_its_way": on_its_way.id, "due": due.id, "later": later.id, "draft": draft.id}
