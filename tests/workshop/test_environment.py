"""The environment is built from wheels only, compiled on all cores, and only once."""

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def environment(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("environment", root / "tools" / "environment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packages_are_installed_from_wheels_and_compiled_by_all_cores(
    environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def note(command: Any, *_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(list(map(str, command)))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environment, "_run", note)
    environment._install("embedded")
    packages, program, compiling = commands
    for pip in (packages, program):
        assert pip[pip.index("--only-binary") + 1] == ":all:"
        assert {"--no-compile", "--no-deps"} < set(pip)
    assert "--require-hashes" in packages
    assert "--no-index" in program
    assert compiling[compiling.index("-j") + 1] == "0"


def test_what_is_installed_is_not_installed_again(
    environment: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "PYTHON", tmp_path / "python")
    (tmp_path / "python").touch()
    (tmp_path / "installed-embedded").write_text(environment._wanted())
    environment.main("embedded")
    assert capsys.readouterr().out == ""


def test_a_new_lock_is_installed(environment: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    (tmp_path / "setup.py").write_text("")
    (tmp_path / "requirements").mkdir()
    (lock := tmp_path / "requirements" / "run.txt").write_text("one==1.0")
    before = environment._wanted()
    lock.write_text("one==1.1")
    assert environment._wanted() != before
