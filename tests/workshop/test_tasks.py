"""Packages register their tasks and periodic jobs; ``mailganer.worker`` names the modules that do."""

import subprocess
import sys
from pathlib import Path

from mailganer.queue import EXPIRES

from .test_layers import PACKAGE

REGISTERED = """
from importlib import import_module
from mailganer import periodic_jobs, worker
for module in worker.TASK_MODULES:
    import_module(module)
print(*sorted(name.removeprefix("mailganer.") for name in worker.app.tasks if name.startswith("mailganer.")))
print(*periodic_jobs.registered())
"""


def test_a_worker_knows_every_task_that_is_enqueued_and_every_job_by_its_lasting_name() -> None:
    """Messages and rows of an earlier version carry these names."""
    done = subprocess.run([sys.executable, "-c", REGISTERED], capture_output=True, text=True, check=True)
    tasks, jobs = done.stdout.splitlines()
    assert set(tasks.split()) == set(EXPIRES)
    assert jobs.split() == [
        *("start_campaigns", "wake_senders", "finish_campaigns", "cancel_deliveries", "resume_finished"),
        *("fold_counts", "delete_expired_rows", "look_up", "import", "reconcile_counts"),
    ]


def test_the_scheduler_and_the_worker_know_no_import() -> None:
    alone = PACKAGE / "sending" / "standalone"  # imports the file it sends to
    found = [
        str(path.relative_to(PACKAGE))
        for path in Path(PACKAGE / "sending").rglob("*.py")
        if alone not in path.parents
        and ("audience.imports" in path.read_text() or "run_import" in path.read_text())
    ]
    assert found == []
