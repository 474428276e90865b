"""Shared by the commands: the ini file, its settings, its database."""

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MailganerError, SettingsError
from .command_logs import show_plainly

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from ..settings import Settings

DEFAULT = "development.ini"

ini_argument = click.argument("ini", required=False, type=click.Path(dir_okay=False))


def sentence(message: object) -> str:
    """Return a message as printed: in English, with its values interpolated."""
    interpolate = getattr(message, "interpolate", None)
    return interpolate() if interpolate else str(message)


def counted(number: int, thing: str) -> str:
    """Return "1 account" or "2 accounts"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def find_ini(given: str | None) -> Path:
    """Return the named file, else ``MAILGANER_INI``, else ``development.ini`` here or beside the program."""
    if named := given or os.environ.get("MAILGANER_INI"):
        return Path(named).resolve()
    checkout = Path(__file__).resolve().parents[2]
    for folder in (Path.cwd(), checkout):
        if (folder / DEFAULT).is_file():
            return folder / DEFAULT
    raise SettingsError(
        [f"{DEFAULT} was not found here. Give a settings file after the command or set MAILGANER_INI."]
    )


def read_settings(given: str | None, *, create: bool = True) -> "Settings":
    """Load the settings of this installation; processes started by this one will read the same file.

    In development a missing secret key is created, unless ``create`` is false.
    """
    from ..settings import load

    path = find_ini(given)
    settings = load(path, create=create)
    if settings.development:
        show_plainly()
    os.environ["MAILGANER_INI"] = str(path)
    return settings


@contextmanager
def collector_paused() -> Iterator[None]:
    """Load a program with garbage collection paused.

    What is loaded stays in memory, and collecting would take a quarter of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def open_engine(settings: "Settings") -> "Engine":
    """Create an engine, and the folder of an SQLite file; connecting creates the file."""
    from ..db import make_engine

    if file := sqlite_file(settings):
        file.parent.mkdir(parents=True, exist_ok=True)
    return make_engine(settings.database_url)


def existing_engine(settings: "Settings") -> "Engine":
    """Create an engine, and no SQLite file: raise ``SettingsError`` when there is none."""
    from ..db import make_engine

    if missing := missing_database(settings):
        raise SettingsError([missing])
    return make_engine(settings.database_url)


def sqlite_file(settings: "Settings") -> Path | None:
    """Return the absolute path of an SQLite database; None for another one, or for one in memory."""
    from sqlalchemy.engine import make_url

    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).absolute()


def missing_database(settings: "Settings") -> str:
    """Return a sentence about an SQLite file that does not exist; empty when there is none to miss."""
    file = sqlite_file(settings)
    if file is None or file.exists():
        return ""
    nor = "" if file.parent.is_dir() else ", nor its folder"
    return (
        f"There is no database file {file}{nor}. "
        "Correct sqlalchemy.url (DATABASE_URI), or create the database: mailganer migrate"
    )


def make_data_folder(settings: "Settings") -> None:
    """Create the data folder. Raise ``SettingsError`` with the reason when that is impossible."""
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError([cannot_be_created(folder, str(error.strerror))]) from error


def cannot_be_created(folder: Path, reason: str) -> str:
    """Return a sentence about a data folder that the system refuses to create."""
    return (
        f"The data folder {folder} cannot be created: {reason}. "
        "Set mailganer.data_dir (MAILGANER_DATA_DIR) to a folder of this system user."
    )


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``127.0.0.1:6543`` or ``[::1]:6543``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def check_free(address: str, key: str) -> None:
    """Raise ``MailganerError`` unless this machine can listen on an address, the value of setting ``key``."""
    from ..settings import ENVIRONMENT

    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "*" else host, port))
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "this is not a host name"
            variable = next(name for name, setting in ENVIRONMENT.items() if setting == key)
            raise MailganerError(
                f"Cannot listen on {address} ({reason}). Stop the program that uses it, or set "
                f"another address: {key} in the ini file, or {variable}."
            ) from error


@contextmanager
def database(settings: "Settings") -> Iterator["Session"]:
    """Yield a session that is committed when the block succeeds.

    Raise ``SettingsError`` for an old schema.
    """
    from ..db import make_sessions
    from ..migrations import current, newest

    engine = existing_engine(settings)
    try:
        if current(engine) != newest():
            raise SettingsError(["The database schema does not match this version. Run: mailganer migrate"])
        with make_sessions(engine)() as session:
            yield session
            session.commit()
    finally:
        engine.dispose()
