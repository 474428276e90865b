"""The image of the Dockerfile contains all of Mailganer."""

import os
import re
import shutil
import subprocess
import sys

import pytest

# pip builds in the given folder, keeps ``build`` there and considers newer files in it up to date.
# This does the same without a package index.
# Packages from the lock are installed already.
PIP = """#!/bin/sh
set -e
case "$*" in *--require-hashes*) exit 0;; esac
{python} setup.py -q build
mkdir -p {site}
cp -R build/lib/. {site}
"""


@pytest.fixture
def built(root, tmp_path):
    """Run the first stage of the Dockerfile in a folder; return what it installed."""
    venv, source, site = tmp_path / "venv", tmp_path / "src", tmp_path / "site"
    (venv / "bin").mkdir(parents=True)
    source.mkdir()
    pip = venv / "bin" / "pip"
    pip.write_text(PIP.format(python=sys.executable, site=site))
    pip.chmod(0o755)
    for instruction, words in first_stage((root / "Dockerfile").read_text()):
        if instruction == "COPY":
            *names, target = words.split()
            for name in names:
                copy(root / name, source / target / (name if target == "./" else "."))
        elif instruction == "RUN" and "-m venv" not in words:
            subprocess.run(
                ["sh", "-e", "-c", words.replace("/venv/", f"{venv}/")],
                cwd=source,
                check=True,
                capture_output=True,
            )
    return site


def first_stage(text):
    stage = text.split("\nFROM ")[1].replace("\\\n", " ")
    return re.findall(r"^(COPY|RUN) (.+)$", stage, re.MULTILINE)


def copy(path, target):
    """Copy with file times, as docker does."""
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy2(path, target)


def test_the_image_holds_the_whole_package_as_it_is_in_the_checkout(root, built):
    package = root / "mailganer"
    wanted = {
        path.relative_to(root)
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert [str(name) for name in sorted(wanted) if not (built / name).is_file()] == []
    changed = [str(name) for name in wanted if (built / name).read_bytes() != (root / name).read_bytes()]
    assert changed == []


def test_what_the_image_starts_can_be_imported(built, tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", "import mailganer; print(mailganer.main.__module__, mailganer.__file__)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(built)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["mailganer", str(built / "mailganer" / "__init__.py")]


def test_the_image_is_made_of_the_locked_packages(root):
    runs = [
        words for instruction, words in first_stage((root / "Dockerfile").read_text()) if instruction == "RUN"
    ]
    installs = [words for words in runs if "pip install" in words]
    assert any("--require-hashes" in each and "requirements/run.txt" in each for each in installs)
    assert all("--no-deps" in each for each in installs)
