"""The systemd units of docs/operating.md are valid and hardened."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    found = re.search(r"```ini\n(\[Unit\].*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    path = tmp_path / "mailganer@web.service"
    here = found[1].replace("/srv/mailganer/.venv/bin/mailganer", "/bin/true")
    path.write_text(here.replace("User=mailganer", "User=daemon"))
    return path


def test_the_unit_gives_up_what_the_program_does_not_need(unit: Path) -> None:
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
    assert lines["NoNewPrivileges"] == "yes"
    assert lines["CapabilityBoundingSet"] == ""
    assert (lines["ProtectSystem"], lines["ReadWritePaths"]) == ("strict", "/srv/mailganer/var")
    assert lines["SystemCallFilter"] == "@system-service"  # child processes set limits of their own


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_every_line_of_the_unit(unit: Path) -> None:
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ours = [line for line in (said.stdout + said.stderr).splitlines() if unit.name in line]
    assert (said.returncode, ours) == (0, [])
