"""The data folder: an id to detect whether processes share it, and its free disk space."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from .settings import Settings

NO_ROOM = 4 * 1024**2  # bytes: the journals of a dozen lanes; with less, nothing is begun
ID_FILE = "folder_id"
NO_ID = "none"  # differs from the id of every process


def folder_id(settings: Settings, *, create: bool = True) -> str:
    """Return 16 hex digits that all processes with this data folder share; "" if it cannot be written.

    Created by the first process; without ``create``, a folder that has none yet is ``NO_ID``. Two machines
    with different ids do not see each other's uploads.
    """
    path = settings.data_dir / ID_FILE
    try:
        if not create and not path.exists():
            return NO_ID
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return path.read_text().strip()
    except OSError:
        return ""


def _make(path: Path) -> None:
    """Write the whole file under another name first, so that no process reads an empty one."""
    new = path.with_name(f"{ID_FILE}.{secrets.token_hex(4)}")
    new.write_text(secrets.token_hex(8))
    try:
        os.link(new, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        new.unlink()


def why_not_creatable(folder: Path) -> str:
    """Return why a folder that does not exist cannot be created, as far as can be seen without trying."""
    place = next(each for each in folder.absolute().parents if each.exists())
    if not place.is_dir():
        return f"{place} is not a folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"this system user may not write in {place}"
    return "" if shutil.disk_usage(place).total else f"{place} holds no files"


def full_disks(settings: Settings) -> list[Path]:
    """Return a folder on each full disk that Mailganer writes to."""
    return [place for place in disks(settings) if shutil.disk_usage(place).free < NO_ROOM]


def disks(settings: Settings) -> Iterator[Path]:
    """Yield a folder on each disk that Mailganer writes to."""
    folder = settings.data_dir if settings.data_dir.exists() else settings.data_dir.parent
    url = make_url(settings.database_url)
    file = Path(url.database).parent if url.get_backend_name() == "sqlite" and url.database else folder
    seen = set()
    for place in (folder, settings.journals, settings.uploads, file):
        if place.exists() and (disk := place.stat().st_dev) not in seen:
            seen.add(disk)
            yield place
