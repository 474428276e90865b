"""Folders for servers that live as long as the run.

In memory where there is room for it: a database for each test is hundreds of files made and taken away a
second, and ext4 looks for a free inode among all that were deleted in the last five seconds. On a disk that
search was a fifth of a second a test.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path

_MEMORY = Path("/dev/shm")
# Two workers' clusters with their logs take less than one; a container's default is 64 MB.
_ROOM = 2 * 1024**3  # bytes


def scratch(prefix: str) -> Path:
    """A new empty folder with a short path: a Unix socket's may have 107 characters."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_place()))


@cache
def _place() -> Path:
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return Path("/tmp")
