"""A tree of processes that is started, supervised and stopped as one."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from .forked import ForkedProcess
from .parent import die_with_parent

CHECK_EVERY = 0.2  # seconds between two checks of the children during start and stop
LONGEST_WAIT = 30.0  # seconds between two checks otherwise: a signal comes when a child dies
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a dead part is restarted; doubles each time
STEADY = 10.0  # seconds of life after which earlier deaths are forgotten: the part has served for a while
PATIENCE = 4.0  # seconds a part has to end by itself before each stronger signal
LARGEST_LOG = 10 * 1024 * 1024  # bytes; a larger log is renamed at the next start
NOTED = "MAILGANER_PART"  # environment variable that names the part, for those who inspect the process


@dataclass(frozen=True)
class Part:
    """One child: its name, its command line, and its additional environment variables."""

    name: str
    command: Sequence[str]
    run: Callable[[], int] | None = None  # run by a fork of this process, instead of the command
    environment: Mapping[str, str] = field(default_factory=dict)
    last: bool = False  # stopped only when all others are gone


class _Child:
    """A part's process, and what is kept between its restarts."""

    def __init__(self, part: Part, log: Path | None) -> None:
        self.part, self.log = part, log
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.started = self.due = 0.0
        self.pause = FIRST_PAUSE
        self.gone = False  # its death is recorded and its restart is due
        self.deaths = 0

    def start(self) -> None:
        output = self._output()
        try:
            if self.part.run:
                self.process = ForkedProcess(self.part.run, self.part.name, self._environment(), output)
            else:
                self.process = self._execute(output)
        finally:
            if output:
                output.close()
        self.started, self.gone = time.monotonic(), False

    def _execute(self, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own command lines
            list(self.part.command),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            # Ctrl-C in a terminal goes to this process only, which signals the children in order.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tell(self, signum: int) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(signum)

    def kill(self) -> None:
        """Kill the process and all that it started, which is in its own session."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # they have ended by themselves
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def put_off(self, now: float) -> float:
        """Record a death and return how many seconds to wait before the restart."""
        if now - self.started > STEADY:
            self.pause = FIRST_PAUSE
        pause, self.pause = self.pause, min(self.pause * 2, LONGEST_PAUSE)
        self.due, self.gone, self.deaths = now + pause, True, self.deaths + 1
        return pause

    def _environment(self) -> dict[str, str]:
        # A traceback helps in a log file, but not on a terminal.
        traceback = {"MAILGANER_TRACEBACK": "1"} if self.log else {}
        return {**os.environ, **traceback, **self.part.environment, NOTED: self.part.name}

    def _output(self) -> IO[bytes] | None:
        if self.log is None:
            return None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".old.log"))
        return self.log.open("ab")


class ProcessTree:
    """Start parts, restart those that die, and stop all of them on Ctrl-C, SIGTERM or SIGHUP.

    With ``logs`` each part writes to a file there; without, to the output of this process.
    """

    def __init__(self, say: Callable[[str], None], logs: Path | None = None) -> None:
        self._say, self._logs = say, logs
        self._children: list[_Child] = []
        self._asked = 0  # how often a stop was requested
        self.stopping = False

    def listen(self) -> None:
        """From now on, record a signal to stop instead of ending at once."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes ``look_after``
        self._wakes, writes = socket.socketpair()
        self._wakes.setblocking(False)
        writes.setblocking(False)
        signal.set_wakeup_fd(writes.detach(), warn_on_full_buffer=False)

    def start(self, part: Part) -> None:
        child = _Child(part, self._logs / f"{part.name}.log" if self._logs else None)
        self._children.append(child)
        child.start()

    def deaths(self, name: str) -> int:
        """Return how often the part of this name has died."""
        return sum(child.deaths for child in self._children if child.part.name == name)

    def kill(self, name: str) -> None:
        """Send SIGKILL to a part and all that it started.

        The part is restarted by the caller, or after its pause.
        """
        self._named(name).kill()

    def start_again(self, name: str) -> None:
        """Restart a killed part without the pause that follows a crash."""
        self._named(name).start()

    def pid(self, name: str) -> int:
        """Return the process id of a part, which is also the id of its process group."""
        process = self._named(name).process
        return process.pid if process else 0

    def _named(self, name: str) -> _Child:
        return next(child for child in self._children if child.part.name == name)

    def run(self, part: Part) -> int:
        """Run a part to its end and return its exit code; stop it when a stop is requested."""
        child = _Child(part, None)
        child.start()
        self._children.append(child)
        while child.running and not self.stopping:
            time.sleep(CHECK_EVERY / 4)
        self._children.remove(child)
        if self.stopping:
            child.kill()
        code = child.process.returncode if child.process else None
        return 1 if code is None else code

    def wait(self, ready: Callable[[], bool], hopeless: Callable[[], bool], timeout: float) -> bool:
        """Supervise the children until ``ready``; return False when it is hopeless or time is up."""
        deadline = time.monotonic() + timeout
        while not self.stopping and not hopeless() and time.monotonic() < deadline:
            if ready():
                return True
            self.look()
            time.sleep(CHECK_EVERY)
        return False

    def look_after(self) -> None:
        """Supervise the children until a stop is requested."""
        while not self.stopping:
            self.look()
            due = [child.due - time.monotonic() for child in self._children if child.gone]
            self._wait_for_signal(max(0.0, min([*due, LONGEST_WAIT])))

    def _wait_for_signal(self, longest: float) -> None:
        select.select([self._wakes], [], [], longest)
        with suppress(BlockingIOError):
            self._wakes.recv(4096)

    def look(self) -> None:
        """Restart parts that have died, after a pause that grows while they keep dying."""
        now = time.monotonic()
        for child in self._children:
            if child.gone:
                if now >= child.due:
                    child.start()
            elif not child.running:
                self._report_death(child, child.put_off(now))

    def stop(self) -> None:
        """Stop all parts within seconds, the broker last. A second request to stop skips the waits."""
        first = [child for child in self._children if not child.part.last]
        last = [child for child in self._children if child.part.last]
        for children in (first, last):
            self._end(children)

    def _end(self, children: Sequence[_Child]) -> None:
        for signum in (signal.SIGTERM, signal.SIGQUIT):
            for child in children:
                child.tell(signum)
            deadline = time.monotonic() + PATIENCE
            while (
                any(child.running for child in children) and time.monotonic() < deadline and self._asked < 2
            ):
                time.sleep(CHECK_EVERY / 4)
        for child in children:
            child.kill()

    def _report_death(self, child: _Child, pause: float) -> None:
        code = child.process.returncode if child.process else None
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        where = f" Its last words are in {child.log}." if child.log else ""
        self._say(f"The {child.part.name} ended ({how}) and will be restarted in {pause:g} s.{where}")

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._asked += 1
        self.stopping = True


def python(command: str, *arguments: str) -> Sequence[str]:
    """Return the command line of another ``mailganer`` command, run by the same Python."""
    return (sys.executable, "-m", "mailganer", command, *arguments)
