"""A disk that fills quickly: a small mounted one where that is allowed, else a limit on file sizes."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 20 * 1024**2  # bytes


class SmallDisk:
    """A disk mounted at a folder. ``fill`` uses all its space, ``empty`` frees it."""

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
    """A limit where nothing can be mounted: no file of this process may grow, on any disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._before[1]))

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


@contextmanager
def small_disk(folder: Path, mounted: bool = True) -> Iterator[SmallDisk | LimitedFiles]:
    """Return a disk at ``folder``, which is created if it is missing."""
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
    """Return whether mounting works: only root may, and not in every container."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "mailganer-tests", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
