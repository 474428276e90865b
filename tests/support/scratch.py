"""Folders for servers that live as long as the run.

In memory if it is large enough: a database for each test is hundreds of files created and deleted a
second, and ext4 searches all inodes deleted in the last five seconds for a free one. On a disk that
search took a fifth of a second per test.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path

_MEMORY = Path("/dev/shm")
# The clusters of two workers with their logs take less than this; a container's default is 64 MB.
_ROOM = 2 * 1024**3  # bytes


def scratch(prefix: str) -> Path:
    """Create an empty folder with a short path: a Unix socket's path has 107 characters at most."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_place()))


@cache
def _place() -> Path:
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return Path("/tmp")
