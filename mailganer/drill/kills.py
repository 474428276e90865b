"""Kills of the parts of an installation, and how many emails were in flight at each."""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from .. import broker
from ..cli.processes import ProcessTree
from ..sending.worker import journal
from ..settings import Settings

CHECK_EVERY = 0.02  # seconds
DYING = 5.0  # seconds a killed process may take to end
PARTS = ("worker", "child", "broker", "beat")
WEIGHTS = (5, 3, 2, 1)


@dataclass
class KillRecord:
    """What has been broken on purpose."""

    kills: Counter[str] = field(default_factory=Counter)
    handed: int = 0  # emails that were handed over and unanswered at the kills
    journals: set[str] = field(default_factory=set)


class PartKiller:
    """Kills parts of a running installation by SIGKILL."""

    def __init__(self, tree: ProcessTree, settings: Settings, chance: Random) -> None:
        self._tree, self._settings, self._chance = tree, settings, chance
        self.record = KillRecord()

    def kill_one(self) -> None:
        """Kill a part chosen at random, and start it again."""
        time.sleep(self._chance.uniform(0, 0.2))
        # Always kill the worker first: with few kills this is the one that matters most.
        part = self._chance.choices(PARTS, WEIGHTS)[0] if self.record.kills else "worker"
        self.record.kills[part] += 1
        if part == "child":
            self._kill_child()
            return
        self._tree.kill(part)
        if part == "worker":
            # Only the end of the main process was awaited: its children hold their journals until they have
            # ended, too.
            _wait(lambda: all(map(journal.is_abandoned, self._settings.journals.glob("*.journal"))))
            self._count_handed()
        if part == "broker" and self._chance.random() < 0.5:
            self.record.kills["broker, and what it knew"] += 1
            shutil.rmtree(broker.folder(self._settings), ignore_errors=True)
            broker.folder(self._settings).mkdir(parents=True)
        time.sleep(self._chance.uniform(0, 1))
        self._tree.start_again(part)

    def _kill_child(self) -> None:
        """Kill one process of the worker's pool.

        The others are stopped while its journal is read: they would settle its emails at once.
        """
        pid = self._tree.pid("worker")
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGSTOP)
            try:
                children = _children(pid)
                if children:
                    child = self._chance.choice(children)
                    os.kill(child, signal.SIGKILL)
                    _wait(lambda: _is_dead(child))
                    self._count_handed()
            finally:
                os.killpg(pid, signal.SIGCONT)

    def _count_handed(self) -> None:
        """Count emails without an answer in the journals of the processes that were just killed."""
        for path in self._settings.journals.glob("*.journal"):
            remains = journal.read(path)
            if remains is None or not remains.abandoned or path.name in self.record.journals:
                continue
            self.record.journals.add(path.name)
            self.record.handed += sum(note.state == journal.HANDED for note in remains.notes)


def _children(pid: int) -> Sequence[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607 - wherever this system has it
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (line.split() for line in listed.stdout.splitlines())
    return sorted(int(child) for child, parent in pairs if int(parent) == pid)


def _is_dead(pid: int) -> bool:
    """Return whether a process has ended with all its threads: only then its journals are unlocked.

    Its parent is stopped and has not reaped it yet.
    """
    seen = subprocess.run(  # noqa: S603 - a number of our own
        ["ps", "-o", "stat=", "-p", str(pid)],  # noqa: S607 - wherever this system has it
        capture_output=True,
        text=True,
        check=False,
    )
    state = seen.stdout.strip()
    return not state or (state.startswith("Z") and "l" not in state)  # "l": some of its threads are left


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DYING
    while not until() and time.monotonic() < deadline:
        time.sleep(CHECK_EVERY)
