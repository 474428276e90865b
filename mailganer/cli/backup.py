"""``mailganer backup`` and ``mailganer restore``."""

import fcntl
import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from .common import counted, existing_engine, ini_argument, make_data_folder, open_engine, read_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from ..settings import Settings
    from .copies import Manifest

ALIVE = timedelta(seconds=15)  # since the last heartbeat of a part: it counts as running

_LOG = ("-wal", "-shm", "-journal")  # endings of the files in which SQLite keeps changes beside its own

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@folder_argument
@ini_argument
def backup(folder: Path, ini: str | None) -> None:
    """Copy the database and the uploaded files of INI into the new folder DIR, while everything runs.

    The secret key is not copied: store it elsewhere.
    """
    from . import copies

    settings = read_settings(ini)
    engine = existing_engine(settings)
    try:
        made = copies.make(engine, settings.secret_keys, settings.uploads, folder, datetime.now(UTC))
    finally:
        engine.dispose()
    accounts, files = counted(made.accounts, "account"), counted(_uploads(made), "uploaded file")
    click.echo(f"{folder} holds the database ({accounts}) and {files}.")
    lost = made.keys.get(copies.LOST, 0)
    if lost:
        click.echo(f"{counted(lost, 'stored password')} cannot be read with any of the secret keys.")
    click.echo("The backup does not contain the secret key. Keep the key in another place.")


@click.command()
@folder_argument
@ini_argument
@click.option("--replace", is_flag=True, help="Replace a database that contains accounts.")
@click.option(
    "--keep-tokens",
    is_flag=True,
    help="Let the API tokens of the backup work again, those that were revoked since it was made included.",
)
def restore(folder: Path, ini: str | None, replace: bool, keep_tokens: bool) -> None:
    """Restore the backup DIR into the database and data folder of INI. Stop web, workers and beat first.

    Campaigns being sent are paused until their users decide. Sessions and API tokens end.
    """
    from . import copies

    settings = read_settings(ini)
    made = copies.read(folder, datetime.now(UTC))
    copies.check_keys(made, settings.secret_keys)
    engine = open_engine(settings)
    try:
        if engine.dialect.name != made.database:
            raise copies.BackupError(
                f"This is a backup of {made.database}, and this installation has {engine.dialect.name}."
            )
        copies.require_fitting(folder, made, settings.uploads)
        with _alone(settings):
            if (why := _why_keep(engine)) and not replace:
                raise copies.BackupError(f"{why} To replace it, run: mailganer restore --replace")
            put = _put_sqlite if made.database == "sqlite" else _put_postgresql
            done = put(engine, _Restore(folder, made, settings.uploads, keep_tokens))
    finally:
        engine.dispose()
    at = made.created_at.astimezone(UTC)
    click.echo(f"The database is that of {at:%Y-%m-%d %H:%M} UTC, with {counted(made.accounts, 'account')}.")
    click.echo("All sessions were ended. All users must sign in again.")
    click.echo(_of_tokens(done.tokens, keep_tokens))
    if done.held == 1:
        click.echo("1 campaign is paused until you confirm on its page that sending may continue.")
    elif done.held:
        click.echo(
            f"{done.held} campaigns are paused until you confirm on their pages that sending may continue."
        )


def _of_tokens(number: int, kept: bool) -> str:
    if kept:
        work = "works" if number == 1 else "work"
        tokens = counted(number, "API token")
        return f"{tokens} {work} again, those that were revoked since the backup included."
    have = "has" if number == 1 else "have"
    return (
        f"{counted(number, 'API token')} {have} been revoked: some may have been revoked since the backup. "
        "Programs need new ones, from the page Settings."
    )


def _why_keep(engine: "Engine") -> str:
    """Return why the existing database must not be replaced without ``--replace``; empty: no reason.

    Raise ``BackupError`` while parts of the installation run.
    """
    from sqlalchemy.exc import DatabaseError, OperationalError

    from .copies import is_in_use

    try:
        if not is_in_use(engine):
            return ""
        _require_silence(engine)
        return "The database contains accounts."
    except OperationalError:
        raise  # it is locked or may not be read
    except DatabaseError as error:
        if engine.dialect.name != "sqlite":
            raise
        return f"The database is damaged ({error.orig})."


def _uploads(made: "Manifest") -> int:
    from .copies import UPLOADS

    return sum(name.startswith(f"{UPLOADS}/") for name in made.files)


@contextmanager
def _alone(settings: "Settings") -> Iterator[None]:
    """Hold the lock of the data folder, so that no server runs on it. Raise ``BackupError``."""
    from .copies import BackupError

    make_data_folder(settings)
    with (settings.data_dir / "serve.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Mailganer is running on {settings.data_dir}. Stop it first.") from None
        yield


def _require_silence(engine: "Engine") -> None:
    """Raise ``BackupError`` when a part of the installation has sent a heartbeat within ``ALIVE``."""
    from sqlalchemy import inspect, select

    from ..db import make_sessions, utcnow
    from ..models import Heartbeat
    from .copies import BackupError

    if not inspect(engine).has_table(Heartbeat.__tablename__):
        return
    with make_sessions(engine)() as session:
        now = utcnow()
        lately = select(Heartbeat).where(Heartbeat.seen_at > now - ALIVE)
        query = lately.order_by(Heartbeat.seen_at.desc())
        running = session.scalars(query).first()
    if running:
        ago = max(0, round((now - running.seen_at).total_seconds()))
        raise BackupError(
            "Web, workers or beat of this database are running. Stop them first. "
            f"(The last sign of one, “{running.name}”, is {ago} s old. If all are stopped, "
            f"try again when it is {ALIVE.total_seconds():.0f} s old.)"
        )


class _Restore(NamedTuple):
    """Arguments of a restore: backup and manifest, folder for uploads, whether API tokens stay valid."""

    folder: Path
    made: "Manifest"
    uploads: Path
    keep_tokens: bool


class _Done(NamedTuple):
    """What a restore changed in the database it restored."""

    held: int  # campaigns paused until their users decide
    tokens: int  # API tokens deleted, or valid again


def _put_postgresql(engine: "Engine", task: _Restore) -> _Done:
    """Replace the tables in one transaction: a kill, or a row that does not fit, leaves the old database."""
    from ..db import make_sessions
    from ..migrations import migrate_within
    from . import copies

    with make_sessions(engine).begin() as session:
        connection = session.connection()
        copies.empty(connection)
        migrate_within(connection, task.made.revision)
        copies.put_tables(connection, task.folder, task.made.columns)
        migrate_within(connection)
        done = _pause_and_end_access(session, task)
        copies.put_uploads(task.folder, task.uploads)  # first, so that no import lacks its file after a kill
        return done


def _put_sqlite(engine: "Engine", task: _Restore) -> _Done:
    """Prepare the copy under another name, then rename it to the database's.

    A kill at any time leaves either the old or the new database under that name.
    """
    from .copies import put_uploads

    target = Path(str(engine.url.database))
    ready = target.with_name(f"{target.name}.restoring")
    _remove(ready)
    try:
        done = _make_ready(engine, task, ready)
        put_uploads(task.folder, task.uploads)  # first, so that no import lacks its file after a kill
        engine.dispose()
        if target.exists():
            is_whole = _empty_log(target)
            kept = _keep_old(target)
            for end in _LOG if not is_whole else ():  # changes in its log are not in the file
                with suppress(FileNotFoundError):
                    os.replace(f"{target}{end}", f"{kept}{end}")
        os.replace(ready, target)
        _sync(target.parent)
    finally:
        _remove(ready)
    return done


def _make_ready(engine: "Engine", task: _Restore, ready: Path) -> _Done:
    """Write the database to be restored into the file ``ready``."""
    from sqlalchemy.engine import make_url

    from ..db import make_engine, make_sessions
    from ..migrations import migrate
    from .manifest import SQLITE

    shutil.copyfile(task.folder / SQLITE, ready)
    ready.chmod(0o600)
    copy = make_engine(make_url(engine.url).set(database=str(ready)).render_as_string(hide_password=False))
    migrate(copy)
    with make_sessions(copy).begin() as session:
        done = _pause_and_end_access(session, task)
    with copy.connect() as connection:
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.dispose()
    _sync(ready)
    return done


def _empty_log(database: Path) -> bool:
    """Write the log's changes into the file and remove the log, which would corrupt a new file of this name.

    Return False for a damaged file, which stays. Raise ``BackupError`` while another program uses it.
    """
    from .copies import BackupError

    try:
        with closing(sqlite3.connect(database, timeout=1)) as connection:
            # Rolls back what a killed process had begun.
            connection.execute("PRAGMA schema_version").fetchone()
            is_busy, *_rest = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        raise BackupError(f"{database} cannot be read or written: {error}.") from error
    except sqlite3.DatabaseError:
        return False
    if is_busy:
        raise BackupError(f"Another program uses {database}. Stop it first.")
    for end in _LOG:
        database.with_name(database.name + end).unlink(missing_ok=True)
    return True


def _keep_old(target: Path) -> Path:
    """Give the replaced database a second name beside the new one, and return it."""
    name = f"{target.name}.replaced-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    kept = next(
        path
        for number in itertools.count(1)
        if not (path := target.with_name(name if number == 1 else f"{name}-{number}")).exists()
    )
    try:
        kept.hardlink_to(target)
    except OSError:  # a file system without hard links
        shutil.copy2(target, kept)
    return kept


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _remove(path: Path) -> None:
    for end in ("", *_LOG):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _pause_and_end_access(session: "Session", task: _Restore) -> _Done:
    """Pause the campaigns that may have sent emails since the copy, as the first tick would.

    Sessions and tokens are deleted: those ended or revoked after the backup would open the account again.
    Heartbeats of the processes that ran when it was made are deleted too, because they would count as running
    here.
    """
    from sqlalchemy import delete, func, select

    from ..db import utcnow
    from ..models import ApiToken, CampaignPlanning, Heartbeat, PeriodicJobRun, WebSession
    from ..sending.scheduler.restore_detector import pause_forgotten_campaigns

    now = utcnow()
    session.execute(delete(WebSession))
    session.execute(delete(Heartbeat))
    session.execute(delete(PeriodicJobRun))
    session.execute(delete(CampaignPlanning))
    tokens = session.scalar(select(func.count()).select_from(ApiToken)) or 0
    if not task.keep_tokens:
        session.execute(delete(ApiToken))
    return _Done(pause_forgotten_campaigns(session, task.made.created_at.astimezone(UTC), now, now), tokens)
