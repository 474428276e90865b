"""The manifest of a backup, and the check that a folder holds exactly what it lists.

A backup may come from another machine or from a stranger, so nothing in it is trusted. Names are accepted
only if the schema of its version has them, files only if they are listed, regular and unchanged.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import MailganerError
from ..migrations import newest, revisions

FORMAT = 1
MANIFEST = "manifest.json"
SQLITE = "database.sqlite"
TABLES = "tables"
UPLOADS = "uploads"
LOST = "no key"  # instead of a fingerprint: passwords that no key decrypted when they were backed up

LARGEST = 16 << 20  # bytes of a manifest: about 100,000 uploaded files
EARLIEST = datetime(2024, 1, 1, tzinfo=UTC)  # before the first version
AHEAD = timedelta(days=1)  # by which the clock of the machine that made the backup may have been ahead

_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Key = Annotated[str, StringConstraints(pattern=rf"^(?:[0-9a-f]{{16}}|{LOST})$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
_File = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(?:database\.sqlite|{TABLES}/[a-z_][a-z0-9_]*\.copy\.gz|{UPLOADS}/[^/\\\x00-\x1f]+)$"
    ),
]
_Count = Annotated[int, Field(ge=0)]


class BackupError(MailganerError):
    """A backup that cannot be created or restored."""


class Manifest(BaseModel):
    """The contents of a backup."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    program: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,40}$")]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")] = Field(alias="schema")
    database: Literal["sqlite", "postgresql"]
    created_at: AwareDatetime
    accounts: _Count
    keys: dict[_Key, _Count]  # fingerprint of a secret key -> stored passwords that it decrypts
    columns: dict[_Name, list[_Name]]  # of PostgreSQL's tables
    files: dict[_File, _Digest]  # path in the folder -> SHA-256

    def as_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def read(folder: Path, now: datetime) -> Manifest:
    """Return the manifest of an intact backup. Raise ``BackupError``."""
    path = folder / MANIFEST
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > LARGEST:
            raise BackupError(f"{path} cannot be read.")
        content = path.read_bytes()
        found = json.loads(content)
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(f"{folder} is not a complete backup: it has no {MANIFEST}.") from None
    except (OSError, ValueError, RecursionError):
        raise BackupError(f"{path} cannot be read.") from None
    _require_known_version(path, found)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))[:100] or "the whole"
        raise BackupError(f"{path} is not valid: {place}: {wrong['msg']}.") from None
    _require_sense(path, manifest, now)
    _require_whole(folder, manifest)
    return manifest


def _require_known_version(path: Path, found: object) -> None:
    if not isinstance(found, dict):
        raise BackupError(f"{path} is not valid: it is no JSON object.")
    number, revision = found.get("format"), found.get("schema")
    is_newer = isinstance(number, int) and number > FORMAT
    if is_newer or (isinstance(revision, str) and revision.isdigit() and revision > newest()):
        program = str(found.get("program"))[:40]
        raise BackupError(f"This backup was made by Mailganer {program!r}, which is newer than this program.")


def _require_sense(path: Path, manifest: Manifest, now: datetime) -> None:
    if manifest.revision not in revisions():
        raise BackupError(f"{path} is not valid: there is no schema {manifest.revision}.")
    if not EARLIEST <= manifest.created_at <= now + AHEAD:
        raise BackupError(
            f"{path} is not valid: the backup cannot have been made on {manifest.created_at:%Y-%m-%d}. "
            "Check the clock of this machine."
        )


def require_data(manifest: Manifest) -> None:
    """Raise ``BackupError`` unless the listed files are a complete database, and uploads."""
    data = {name for name in manifest.files if not name.startswith(f"{UPLOADS}/")}
    tables = {f"{TABLES}/{table}.copy.gz" for table in manifest.columns}
    wrong = data ^ ({SQLITE} if manifest.database == "sqlite" else tables)
    if wrong:
        raise BackupError(
            f"{MANIFEST} is not valid: files: {min(wrong)} is missing or does not belong there."
        )


def _require_whole(folder: Path, manifest: Manifest) -> None:
    for name in files_in(folder):
        if name != MANIFEST and name not in manifest.files:
            raise BackupError(f"{folder / name} is not part of this backup. Remove it, or take another copy.")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or digest(path) != expected:
            raise BackupError(f"{path} is missing or damaged.")


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files of a backup. Raise ``BackupError`` for anything else in it: links, devices, folders."""
    with os.scandir(folder) as found:
        for entry in sorted(found, key=lambda each: each.name):
            if entry.name in (TABLES, UPLOADS) and entry.is_dir(follow_symlinks=False):
                yield from _files_of(folder, entry.name)
            else:
                yield _regular(folder, entry, entry.name)


def _files_of(folder: Path, part: str) -> Iterator[str]:
    with os.scandir(folder / part) as found:
        for entry in sorted(found, key=lambda each: each.name):
            yield _regular(folder, entry, f"{part}/{entry.name}")


def _regular(folder: Path, entry: os.DirEntry[str], name: str) -> str:
    if not entry.is_file(follow_symlinks=False):
        raise BackupError(f"{folder / name} is no regular file. A backup has no links or folders there.")
    return name


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
