"""Worker and beat as real processes that tests kill."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from mailganer.settings import ENVIRONMENT
from tests.support.forks import Process, start


class Parts:
    """``parts.start("worker")``, ``parts.kill("worker")``: each in its own process group."""

    def __init__(self, folder: Path, values: Mapping[str, str]) -> None:
        self.folder = folder
        self.ini = folder / "parts.ini"
        lines = "\n".join(f"{key} = {value.replace('%', '%%')}" for key, value in values.items())
        self.ini.write_text(f"[app:main]\nuse = egg:mailganer\n{lines}\n")
        self._running: dict[str, Process] = {}

    def start(self, *names: str, options: Sequence[str] = ()) -> None:
        """Start each; ``options`` are further ones of their commands."""
        for name in names:
            command = name.rstrip("0123456789")
            environment = {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}
            with (self.folder / f"{name}.log").open("ab") as log:
                loud = [] if command == "web" else ["--loglevel", "INFO"]
                arguments = [command, str(self.ini), *loud, *options]
                self._running[name] = start(arguments, log, environment, new_session=True)

    def runs(self, name: str) -> bool:
        """Return whether it still runs."""
        return self._running[name].poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def cut(self) -> None:
        """Kill every part at once, as in a power cut: none of them sees another one end."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        while self._running:
            self._running.popitem()[1].wait()

    def kill(self, name: str, by: int = signal.SIGKILL) -> None:
        """Kill the whole group at once, as in a power cut."""
        process = self._running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, by)
        process.wait()

    def lose(self, name: str) -> list[int]:
        """Send ``kill -9`` to the main process only; return the processes that it had started."""
        process = self._running.pop(name)
        pool = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        process.wait()
        return pool

    def ask(self, name: str, by: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Ask one to stop, and return its exit code."""
        process = self._running.pop(name)
        process.send_signal(by)
        return process.wait(timeout)

    def output(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for name in list(self._running):
            self.kill(name)
