"""A disk that is soon full: a small one of its own where we may mount one, else a limit on our own files."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 20 * 1024**2  # bytes


class SmallDisk:
    """Mounted at a folder of the test's. ``fill`` leaves nothing, ``empty`` gives all of it back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        self._filler.unlink()


class LimitedFiles:
    """Where nothing can be mounted: no file of this process may grow, whatever disk it is on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._before[1]))

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


@contextmanager
def small_disk(folder: Path, mounted: bool = True) -> Iterator[SmallDisk | LimitedFiles]:
    """A disk at ``folder``, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if mounted and _mount(folder):
        try:
            yield SmallDisk(folder)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    limited = LimitedFiles(folder)
    try:
        yield limited
    finally:
        limited.empty()


def _mount(folder: Path) -> bool:
    """Only root may, and not in every container."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "mailganer-tests", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
