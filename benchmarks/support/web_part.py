"""The web part of an installation, started with its own command, and requests to it by a program in C."""

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import die_with_parent, wait_until

from .sinks import compiled

SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}
SECRET = "0123456789abcdef" * 4
INI = """[app:main]
use = egg:mailganer
sqlalchemy.url = {url}
celery.broker_url = redis://127.0.0.1:1/0
mailganer.secret_key = {secret}
mailganer.public_url = http://localhost:{port}
mailganer.listen = 127.0.0.1:{port}
mailganer.backends = smtp
mailganer.data_dir = {folder}
mailganer.plans = free
mailganer.plan.free.title = Free
"""


@contextmanager
def web_part(url: str, port: int) -> Iterator[int]:
    """Start the web part and return its process id."""
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        ini = Path(folder) / "mailganer.ini"
        ini.write_text(INI.format(url=url.replace("%", "%%"), secret=SECRET, port=port, folder=folder))
        web = subprocess.Popen(
            [sys.executable, "-m", "mailganer", "web", str(ini)],
            env={name: value for name, value in os.environ.items() if name != "DATABASE_URI"},
            preexec_fn=die_with_parent,
        )
        try:
            wait_until(lambda: _answers(port), 60, what="the web part")
            yield web.pid
        finally:
            web.terminate()
            web.wait(20)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/o/x.gif") as answer:  # counts nothing
            return answer.status == 200
    except OSError:
        return False


@dataclass(frozen=True)
class Fetched:
    """Many requests: seconds in all, latencies in milliseconds (median, 99 %, all), and how many got 503."""

    requests: int
    seconds: float
    half: float
    most: float
    longest: float
    refused: float

    @property
    def speed(self) -> float:
        """Return requests per second that were not refused."""
        return (self.requests - self.refused) / self.seconds


class Readers:
    """The program in C that fetches paths over persistent connections."""

    def __init__(self) -> None:
        self._program = compiled("readers")

    def fetch(self, port: int, paths: Sequence[str], requests: int, connections: int) -> Fetched:
        """Fetch the paths in turn until there were so many requests. Each answer must be 200, 302 or 503."""
        done = subprocess.run(
            [self._program, str(port), str(requests), str(connections)],
            input="".join(f"{each}\n" for each in paths),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return Fetched(requests, *(float(each) for each in done.stdout.split()))
