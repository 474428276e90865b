"""The targets that make help lists work."""

import os
import re
import subprocess


def targets(root):
    text = (root / "Makefile").read_text()
    phony = " ".join(re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE)).split()
    return {name for name in phony if name not in {"embedded", "tools", "python"}}


def test_help_lists_every_public_target(root):
    said = subprocess.run(["make", "-s", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target in targets(root):
        assert re.search(rf"^  {target} +\S", said, re.MULTILINE), f"make help does not mention {target}"


def test_make_without_a_target_explains_itself(root):
    said = subprocess.run(["make", "-s"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert "make WHAT" in said


def test_without_a_good_python_there_is_one_sentence(root):
    seen = subprocess.run(
        ["make", "-s", "demo", "PYTHON="], cwd=root, capture_output=True, text=True, check=False
    )
    assert seen.returncode != 0
    assert seen.stderr.splitlines()[0] == "Mailganer needs Python 3.11 or newer, and there is none on PATH."


def test_ci_can_be_run(root):
    assert os.access(root / ".ci" / "run", os.X_OK)
