"""Mail servers and a mail client written in C: the upper bound of sending speed.

``Sink`` is compiled from ``sink.c``. ``smtp-sink`` and ``smtp-source`` come from Postfix: they are looked for
on PATH, and on Debian fetched as a package and unpacked into a temporary folder, not installed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.ports import free_port

SENDER, RECIPIENT = "anna@example.com", "reader@example.org"


@cache
def compiled(name: str) -> Path:
    """Compile a program of this folder from its C source."""
    program = Path(tempfile.mkdtemp(prefix=f"mailganer-{name}-")) / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, source], check=True)
    return program


class Sink:
    """One running sink. ``delay`` is the round-trip time to it in seconds."""

    def __init__(self, *, delay: float = 0.0, chunking: bool = False) -> None:
        command = [compiled("sink"), "-d", str(delay * 1000), *(["-c"] if chunking else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()

    def taken(self) -> int:
        """Return how many emails it has accepted so far."""
        self._process.send_signal(signal.SIGUSR1)
        return int(self._process.stdout.readline())


@cache
def postfix() -> tuple[Path, dict[str, str]] | None:
    """Return the folder of smtp-sink and smtp-source and their command prefix; None if unavailable."""
    found = shutil.which("smtp-sink", path=f"{os.environ['PATH']}:/usr/sbin:/usr/lib/postfix")
    if found:
        return Path(found).parent, {}
    if not shutil.which("apt-get"):
        return None
    folder = Path(tempfile.mkdtemp(prefix="mailganer-postfix-"))
    folder.chmod(0o755)  # apt reads as its own user
    try:
        for command in (["apt-get", "update", "-qq"], ["apt-get", "download", "-qq", "postfix"]):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        package = next(folder.glob("postfix_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True, capture_output=True)
    except (subprocess.CalledProcessError, StopIteration, FileNotFoundError):
        return None
    return folder / "root/usr/sbin", {"LD_LIBRARY_PATH": str(folder / "root/usr/lib/postfix")}


@contextmanager
def smtp_sink():
    """Start Postfix's own sink; yield its port."""
    folder, environment = postfix()
    port = free_port()
    process = subprocess.Popen(
        [folder / "smtp-sink", *_user(), f"127.0.0.1:{port}", "100"], env={**os.environ, **environment}
    )
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait()


def _user() -> list[str]:
    return ["-u", "nobody"] if os.geteuid() == 0 else []


def smtp_source(port: int, emails: int, size: int, connections: int) -> float:
    """Return emails per second of Postfix's load generator: one email over persistent connections."""
    folder, environment = postfix()
    begun = time.perf_counter()
    subprocess.run(
        [
            folder / "smtp-source",
            *("-d", "-s", str(connections), "-m", str(emails), "-l", str(size)),
            *("-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{port}"),
        ],
        env={**os.environ, **environment},
        check=True,
    )
    return emails / (time.perf_counter() - begun)
