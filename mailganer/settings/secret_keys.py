"""Settings that are secrets: the keys of the installation and the token of its metrics."""

import os
import secrets
from pathlib import Path

from .reader import SettingReader

SHORTEST_SECRET = 32  # characters; a key shorter than 128 bits of hex could be guessed offline from a cookie


def secret_keys(
    reader: SettingReader, development: bool, data_dir: Path, *, create: bool = False
) -> tuple[str, ...]:
    """Return the keys, newest first.

    In development without one, the key of this checkout is read, and with ``create`` made and kept; else a
    key for this process only.
    """
    keys = reader.words("mailganer.secret_key", ())
    if not keys and development:
        return (_development_secret(reader, data_dir / "secret_key", create),)
    if not keys:
        reader.problems.append(
            "mailganer.secret_key is missing. Set it, or SECRET_KEY, to a random text: openssl rand -hex 32."
        )
    if any(len(key) < SHORTEST_SECRET for key in keys):
        reader.problems.append(
            f"mailganer.secret_key is shorter than {SHORTEST_SECRET} characters: openssl rand -hex 32."
        )
    return keys


def metrics_token(reader: SettingReader) -> str:
    value = reader.values.get("mailganer.metrics_token", "")
    if value and len(value) < SHORTEST_SECRET:
        reader.problems.append(
            f"mailganer.metrics_token has {len(value)} character{'' if len(value) == 1 else 's'}; "
            f"it needs {SHORTEST_SECRET} or more."
        )
    return value


def _development_secret(reader: SettingReader, path: Path, create: bool) -> str:
    try:
        return _stored_secret(path) if create or path.is_file() else secrets.token_hex(32)
    except OSError as error:
        reader.problems.append(
            f"The secret key of this checkout cannot be kept in {path}: {error.strerror}. "
            "Set mailganer.data_dir (MAILGANER_DATA_DIR) to a folder of this system user."
        )
        return ""


def _stored_secret(path: Path) -> str:
    """Return a random key of this checkout, created once.

    A published default key would make the cookies of every demo forgeable.
    """
    if path.is_file():
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_hex(32)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)
    except FileExistsError:  # another process of the same start was faster
        return path.read_text().strip()
    return key
