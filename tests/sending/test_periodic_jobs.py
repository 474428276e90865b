"""Periodic jobs: one process runs each at its interval."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.periodic_jobs import claim_run

EVERY = timedelta(seconds=20)


@pytest.mark.parametrize(
    ("later", "runs"), [(0, False), (19, False), (20, True), (100, True), (-1, True)], ids=str
)
def test_a_job_runs_again_after_its_interval_and_after_the_clock_was_set_back(
    session: Session, now: Any, later: int, runs: bool
) -> None:
    assert claim_run(session, "look_up", EVERY, now)
    assert claim_run(session, "another", EVERY, now)
    assert claim_run(session, "look_up", EVERY, now + timedelta(seconds=later)) is runs
