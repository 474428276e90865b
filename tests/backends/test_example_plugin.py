"""The example plugin passes the contract suite, as a separate distribution."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailganer.backends import load_backends

HOUSE = Path(__file__).parents[2]
PLUGIN = HOUSE / "plugins" / "mailganer-example-backend"


@pytest.mark.slow
def test_its_own_tests_pass() -> None:
    path = os.pathsep.join([str(PLUGIN), str(HOUSE)])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=PLUGIN,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_it_is_found_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)],
        cwd=PLUGIN,
        check=True,
        capture_output=True,
        timeout=120,
    )
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = load_backends(["smtp", "example"])
    assert registry.for_email("anna@mail.example").title == "Example"


def test_it_asks_no_index_for_mailganer(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)],
        cwd=PLUGIN,
        check=True,
        capture_output=True,
        timeout=120,
    )
    wanted = next(tmp_path.glob("*.egg-info/requires.txt")).read_text()
    assert "mailganer" not in wanted  # the name there belongs to another project


def test_a_copy_of_its_folder_is_in_order_without_the_checkout(tmp_path: Path) -> None:
    copy = tmp_path / "mine"
    shutil.copytree(PLUGIN, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for command in (["check"], ["format", "--check"]):
        seen = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", str(copy)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert seen.returncode == 0, seen.stdout + seen.stderr
