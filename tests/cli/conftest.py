"""Commands as a person runs them: a process, an ini file, an exit code."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from mailganer.settings import ENVIRONMENT


@pytest.fixture
def now():
    """Commands live in the present."""
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
    """``run("doctor", ini)``: a finished ``mailganer`` command, without a terminal."""
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}

    def run(*arguments, stdin=subprocess.DEVNULL, **variables):
        return subprocess.run(
            [sys.executable, "-m", "mailganer", *map(str, arguments)],
            stdin=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**environment, **variables},
            timeout=60,
            check=False,
        )

    return run
