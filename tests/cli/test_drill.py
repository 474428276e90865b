"""The drill passes if the pledge holds, and finds violations."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailganer.db import make_engine
from mailganer.drill.record import read_record
from mailganer.drill.verdict import Allowed, DrillRow, judge
from mailganer.migrations import migrate

RECIPIENTS = ("anna@example.org", "boris@example.org", "clara@example.org")
ALL_SENT = tuple(DrillRow(email, "sent") for email in RECIPIENTS)


def test_nothing_is_found_where_everyone_got_one_email() -> None:
    found = judge(RECIPIENTS, ALL_SENT, RECIPIENTS, Allowed())
    assert found.held
    assert (found.sent, found.lost, found.twice, found.in_doubt) == (3, (), (), 0)


def test_a_planted_double_is_found() -> None:
    found = judge(RECIPIENTS, ALL_SENT, (*RECIPIENTS, "boris@example.org"), Allowed())
    assert found.twice == ("boris@example.org",)
    assert not found.held


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        pytest.param(ALL_SENT[:2], RECIPIENTS[:2], id="no row"),
        pytest.param(
            (*ALL_SENT[:2], DrillRow(RECIPIENTS[2], "pending")), RECIPIENTS[:2], id="a row that says nothing"
        ),
        pytest.param(
            (*ALL_SENT[:2], DrillRow(RECIPIENTS[2], "sending")), RECIPIENTS[:2], id="a row left on its way"
        ),
        pytest.param(ALL_SENT, RECIPIENTS[:2], id="sent, and the server has nothing"),
    ],
)
def test_a_planted_loss_is_found(rows: tuple[DrillRow, ...], taken: tuple[str, ...]) -> None:
    found = judge(RECIPIENTS, rows, taken, Allowed())
    assert found.lost == ("clara@example.org",)
    assert not found.held


def test_an_email_that_failed_and_arrived_is_found() -> None:
    rows = (*ALL_SENT[:2], DrillRow(RECIPIENTS[2], "failed", "refused", "550 5.1.1 No such user"))
    assert judge(RECIPIENTS, rows, RECIPIENTS[:2], Allowed()).held
    found = judge(RECIPIENTS, rows, RECIPIENTS, Allowed())
    assert (found.denied, found.failed) == (("clara@example.org",), {"refused 550 5.1.1": 1})
    assert not found.held


@pytest.mark.parametrize(
    ("reason", "allowed", "held"),
    [
        ("interrupted", Allowed(at_kills=1), True),
        ("interrupted", Allowed(at_drops=8), False),
        ("disconnected", Allowed(at_drops=8), True),
        ("disconnected", Allowed(at_kills=8), False),
    ],
)
def test_only_what_was_on_the_wire_may_be_in_doubt(reason: str, allowed: Allowed, held: bool) -> None:
    found = judge(
        RECIPIENTS, (*ALL_SENT[:2], DrillRow(RECIPIENTS[2], "in_doubt", reason)), RECIPIENTS, allowed
    )
    assert (found.in_doubt, found.in_doubt_had) == (1, 1)
    assert found.held is held


def test_the_record_counts_emails_and_broken_connections(tmp_path: Path) -> None:
    (tmp_path / "record").write_text(
        "taken\t1.0\ta@b.c\ndropped\t1.1\tdot\nreplied\t1.2\tmail\t550 5.4.5 Enough\n"
    )
    record = read_record(tmp_path)
    assert (record.taken, record.dropped, record.refusals) == (("a@b.c",), 1, {"550 5.4.5": 1})


def test_a_database_that_holds_something_is_refused(run: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kept.sqlite'}"
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    seen = run("drill", "--database", url)
    assert seen.returncode == 1
    assert "wants an empty one" in seen.stderr


def test_a_small_drill_holds_the_pledge() -> None:
    seen = subprocess.run(
        [sys.executable, "-m", "mailganer", "drill", *("--recipients", "200", "--kills", "3", "--seed", "1")],
        capture_output=True,
        text=True,
        timeout=400,
        env=dict(os.environ),
        check=False,
    )
    assert seen.returncode == 0, f"{seen.stdout}\n{seen.stderr}"
    lines = dict(re.findall(r"^(\w+(?: \w+)?) {2,}(.+)$", seen.stdout, re.MULTILINE))
    assert (lines["recipients"], lines["lost"], lines["twice"]) == ("200", "0", "0")
    assert lines["killed"].startswith("3 ")
    assert lines["seed"] == "1"
