"""A whole installation, started as a user would: ``mailganer serve`` on a free port."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from mailganer.settings import ENVIRONMENT

from .forks import CAN_FORK, Process, run, start
from .ports import free_port, wait_until

SECRET = "0123456789abcdef" * 4
PARTS = {"web", "worker", "beat"}


class Installation:
    """The ini file, processes and address of one installation.

    Its commands run in forks of a process that has imported the program; with ``forked=False`` each starts a
    Python of its own. Further ini keys are given with ``__`` for the dot: ``mailganer__demo="true"``.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str = "",
        broker_url: str = "",
        demo: bool = False,
        forked: bool = CAN_FORK,
        **keys: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.demo, self.forked = folder, demo, forked
        self.port, self.catcher_port = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.database_url = database_url or f"sqlite:///{folder / 'mailganer.sqlite'}"
        self.broker_url = broker_url
        self.ini = folder / "mailganer.ini"
        self.log = folder / "serve.log"
        self.ini.write_text(self._ini({name.replace("__", "."): value for name, value in keys.items()}))
        self.process: Process | None = None

    def start(self, timeout: float = 60) -> None:
        self.spawn()
        assert self.process
        try:
            wait_until(self.answers, timeout, what=f"{self.url}/healthz", every=0.1)
            wait_until(lambda: set(self.parts()) >= PARTS, timeout, what="every part", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def spawn(self) -> None:
        """Start it without waiting."""
        self.process = self.begin("serve", *self._flags())

    def begin(self, command: str, *flags: str) -> Process:
        """Start one part alone, without waiting: ``begin("web")``."""
        with self.log.open("ab") as log:
            arguments = [command, str(self.ini), *flags]
            return start(arguments, log, self.environment(), folder="/", forked=self.forked)

    def answers_web(self) -> bool:
        """Return whether the web part answers, whatever the state of the others."""
        with urllib.request.urlopen(f"{self.url}/healthz?part=web", timeout=5) as answer:
            return answer.status == 200

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another command of the same installation to its end: ``run("doctor")``."""
        environment = self.environment() | {"MAILGANER_INI": str(self.ini)}
        return run(arguments, environment, timeout, forked=self.forked)

    def answers(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError(f"mailganer serve ended with {self.process.returncode}:\n{self.output()}")
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def children(self) -> list[psutil.Process]:
        assert self.process
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, name: str) -> psutil.Process:
        """Return the main process of one part: "web", "worker", "beat", "broker", "catcher"."""
        found = self.parts()
        assert name in found, f"no {name} is running, only {sorted(found)}"
        return found[name]

    def parts(self) -> dict[str, psutil.Process]:
        """Return the main process of every part, by name."""
        assert self.process
        return {_name(child): child for child in psutil.Process(self.process.pid).children()}

    def output(self) -> str:
        logs = sorted(self.folder.glob("var/log/*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')}" for path in [self.log, *logs])

    def kill(self) -> None:
        """Send ``kill -9`` to the parent only."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, by: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Ask it to stop and return its exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"mailganer serve did not stop in {timeout} s\n{self.output()}"
                ) from None
        return self.process.returncode

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}

    def _flags(self) -> list[str]:
        return ["--demo"] if self.demo else []

    def _ini(self, keys: dict[str, str]) -> str:
        values = {
            "use": "egg:mailganer",
            "sqlalchemy.url": self.database_url,
            "celery.broker_url": self.broker_url,
            "mailganer.secret_key": SECRET,
            "mailganer.public_url": self.url,
            "mailganer.listen": f"127.0.0.1:{self.port}",
            "mailganer.catcher": f"127.0.0.1:{self.catcher_port}",
            "mailganer.backends": "gmail smtp maildir",
            "mailganer.backend.maildir.folder": str(self.folder / "maildir"),
            "mailganer.allow_private_smtp_hosts": "true",
            "mailganer.data_dir": str(self.folder / "var"),
            "mailganer.grace_seconds": "1",
            "mailganer.plans": "free",
            "mailganer.plan.free.title": "Free",
            "mailganer.plan.free.per_day": "100000",
            "mailganer.plan.free.max_subscribers": "1000000",
            **keys,
        }
        lines = "\n".join(f"{key} = {value.replace('%', '%%')}" for key, value in values.items() if value)
        return f"[app:main]\n{lines}\n"


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    if command[:1] == ["mailganer"]:  # a fork of ``mailganer serve``: its title is its part
        return command[1]
    if "serve" in command:
        return ""  # a fork that has no title yet
    # The broker's server overwrites its environment with its title.
    return process.environ().get("MAILGANER_PART") or "broker"
