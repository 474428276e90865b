"""Version, supported Pythons and checks are stated once, or all places agree."""

import re
import subprocess
import sys

import pytest
import yaml

import mailganer

PYTHONS = ["3.11", "3.12", "3.13"]


@pytest.fixture
def workflow(root):
    return yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text())


def test_the_package_has_the_version_of_the_module_and_the_changelog_has_an_entry_for_it(root):
    said = subprocess.run(
        [sys.executable, str(root / "setup.py"), "--version"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert said[-1] == mailganer.__version__
    headings = re.findall(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert mailganer.__version__ in headings[:2]  # only "Unreleased" may precede it
    assert "0.2.0" not in (root / "setup.py").read_text()


def test_every_supported_python_is_checked(root, workflow):
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    steps = [step for step in job["steps"] if step.get("run") == ".ci/run"]
    assert [step["env"]["PYTHON"] for step in steps] == ["python"]
    assert re.findall(r"Python :: (3\.\d+)", (root / "setup.py").read_text()) == PYTHONS


def test_before_a_commit_the_same_is_run_as_by_make_lint(root):
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    hooks = [
        hook["entry"].removeprefix(".venv/bin/python -m ")
        for repo in config["repos"]
        for hook in repo["hooks"]
    ]
    recipe = (root / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    commands = re.findall(r"python -m (.+?)(?: \.)?$", recipe, re.MULTILINE)
    assert hooks == [command.removesuffix(" .") for command in commands]


def test_types_are_published(root):
    assert (root / "mailganer" / "py.typed").exists()
