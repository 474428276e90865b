"""``mailganer doctor``: check every part and report in one sentence each what to do."""

import ipaddress
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import click
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .. import broker
from ..accounts import network_of
from ..backends import load_backends
from ..backends.hosts import is_public
from ..billing import load_providers
from ..data_folder import NO_ROOM, disks, why_not_creatable
from ..db import database_now, make_sessions, utcnow
from ..errors import MailganerError, SecretUnreadable, SettingsError
from ..migrations import current, newest
from ..models import BEAT_ID, Heartbeat, Sender
from ..sending.process_reports import config_mismatches
from ..settings import Settings
from ..vault import Vault
from .common import (
    cannot_be_created,
    existing_engine,
    find_ini,
    ini_argument,
    read_settings,
    sentence,
)

QUIET_AFTER = timedelta(minutes=2)  # a process not seen for so long counts as dead
BEAT_TIMEOUT = timedelta(seconds=20)  # ten ticks; a stopped beat is no longer counted after that
SAME_TIME = timedelta(seconds=6)  # three ticks: beats seen within them run side by side; a restart is over
# Leases and quotas use the database's clock, logs and pages that of the machine.
CLOCKS_DIFFER = timedelta(seconds=10)
NO_DATABASE = (SQLAlchemyError, SettingsError)  # it does not answer, or its file does not exist
LEAST_ROOM = 1024**3  # bytes on the data folder's disk: uploads, journals, an SQLite file


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report: a part, whether it is well, and the sentence."""

    part: str
    well: bool
    sentence: str


@click.command()
@ini_argument
def doctor(ini: str | None) -> int:
    """Check settings, database, broker, workers, backends and the public address."""
    findings = list(examine(ini))
    for finding in findings:
        mark = click.style("ok  ", fg="green") if finding.well else click.style("FAIL", fg="red", bold=True)
        click.echo(f"{mark} {finding.part:<10} {finding.sentence}")
    ill = sum(not finding.well for finding in findings)
    if ill:
        click.echo(f"{ill} of {len(findings)} checks {'needs' if ill == 1 else 'need'} attention.", err=True)
    return 1 if ill else 0


def examine(ini: str | None) -> Iterator[Finding]:
    """Yield every finding, the settings first; without readable settings nothing else can be checked."""
    try:
        settings = read_settings(ini, create=False)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("settings", False, sentence(problem))
        return
    yield Finding("settings", True, f"Read from {find_ini(ini)}.")
    yield from (Finding("settings", True, warning) for warning in settings.warnings)
    for part, look in CHECKS:
        try:
            yield from (Finding(part, well, sentence) for well, sentence in look(settings))
        except SettingsError as error:
            yield from (Finding(part, False, sentence(problem)) for problem in error.problems)
        except MailganerError as error:
            yield Finding(part, False, str(error))


Findings = Iterator[tuple[bool, str]]


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    """Yield an engine of the database. Raise ``SettingsError`` for an SQLite file that does not exist.

    The doctor creates nothing: what a misspelt path would create hides the mistake.
    """
    engine = existing_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def _database(settings: Settings) -> Findings:
    with _engine(settings) as engine:
        kind = engine.dialect.name
        try:
            found = current(engine.execution_options(reading=True))
        except SQLAlchemyError as error:
            yield False, f"{kind} does not respond: {_reason(error)} Check sqlalchemy.url (DATABASE_URI)."
            return
    if found is None:
        yield False, f"{kind} responds, but the database is empty. Run: mailganer migrate"
    elif found != newest():
        yield False, f"{kind} has schema {found}, this version needs {newest()}. Run: mailganer migrate"
    else:
        yield True, f"{kind} responds and has the newest schema ({found})."


def _broker(settings: Settings) -> Findings:
    trouble = broker.trouble(broker.broker_url(settings))
    if settings.embedded:
        program = broker.find_program(settings)
        if trouble.startswith((broker.REFUSES_WRITES, broker.REFUSES_SIGN_IN)):
            yield False, f"The embedded broker cannot be used: {trouble}."
        elif trouble:
            yield (
                False,
                f"The embedded broker is not running. Start all parts with: mailganer serve ({trouble})",
            )
        else:
            yield True, f"The embedded broker responds ({program})."
    elif trouble.startswith(broker.REFUSES_WRITES):
        yield False, f"{trouble[:1].upper()}{trouble[1:]}. It may be a replica, or its memory may be full."
    elif trouble.startswith(broker.REFUSES_SIGN_IN):
        yield (
            False,
            f"{trouble[:1].upper()}{trouble[1:]}. Check the user name and the password in celery.broker_url "
            "(CELERY_BROKER_URL).",
        )
    elif trouble:
        yield (
            False,
            f"It does not respond: {trouble.rstrip('.')}. Check celery.broker_url (CELERY_BROKER_URL).",
        )
    else:
        yield True, f"It responds ({urlsplit(settings.broker_url).scheme})."


def _queue(settings: Settings) -> Findings:
    backlog = broker.backlog(broker.broker_url(settings))
    if backlog is None:
        return  # the broker's check reports it
    if backlog.grows:
        yield False, f"{backlog}. Workers cannot keep up. Start more workers, or restart those that hang."
    else:
        yield True, f"{backlog}."


def _workers(settings: Settings) -> Findings:
    try:
        with _engine(settings) as engine, make_sessions(engine)() as session:
            yield _seen(session, "worker", "No email is sent without a worker. Start one: mailganer worker")
            yield _seen(session, "beat", "Scheduled work does not start without it. Start it: mailganer beat")
            yield from _beats(session)
            yield from _misfitting_parts(session, settings)
    except NO_DATABASE:
        yield False, "The processes cannot be listed because the database does not respond."


def _clock(settings: Settings) -> Findings:
    try:
        with _engine(settings) as engine, make_sessions(engine)() as session:
            ahead = utcnow() - database_now(session)
    except NO_DATABASE:
        return  # the database's check reports it
    if abs(ahead) > CLOCKS_DIFFER:
        which = "ahead of" if ahead > timedelta(0) else "behind"
        seconds = abs(ahead).total_seconds()
        yield (
            False,
            f"This machine's clock is {seconds:.0f} s {which} the database's. Synchronize both with NTP.",
        )
    else:
        yield True, "This machine's clock and the database's agree."


def _seen(session: Session, name: str, otherwise: str) -> tuple[bool, str]:
    since = database_now(session) - QUIET_AFTER
    rows = session.scalars(select(Heartbeat).where(Heartbeat.name.startswith(name))).all()
    alive = [row for row in rows if row.seen_at >= since]
    if alive:
        return True, f"{len(alive)} {name}{'s' if len(alive) > 1 else ''} alive."
    last = max((row.seen_at for row in rows), default=None)
    seen = f"last seen {last:%Y-%m-%d %H:%M} UTC" if last else "never seen"
    return False, f"No {name} is alive ({seen}). {otherwise}"


def _beats(session: Session) -> Findings:
    """Find beats that run side by side. A restarted one has another id, and the old one falls silent."""
    is_beat = Heartbeat.name.startswith(BEAT_ID)
    newest = session.scalar(select(func.max(Heartbeat.seen_at)).where(is_beat))
    if newest is None or newest < database_now(session) - BEAT_TIMEOUT:
        return
    lately = is_beat & (Heartbeat.seen_at >= newest - SAME_TIME)
    number = session.scalar(select(func.count()).select_from(Heartbeat).where(lately)) or 0
    if number > 1:
        yield (
            False,
            f"{number} processes of beat run. One is enough: stop the others.",
        )


def _misfitting_parts(session: Session, settings: Settings) -> Findings:
    """Yield a sentence for each web process and worker with another data folder or other secret keys."""
    for misfit in config_mismatches(session, settings, database_now(session), create=False):
        if misfit.what == "data folder":
            yield (
                False,
                f"{misfit.process} uses another data folder than {settings.data_dir} here: files uploaded to "
                "one cannot be imported from the other. Share one folder (mailganer.data_dir) among all "
                "machines, and restart what had the wrong one.",
            )
        else:
            yield (
                False,
                f"{misfit.process} uses another secret key: mail passwords stored by one part cannot be read "
                "by the other. Set the same mailganer.secret_key (SECRET_KEY) on all machines, and restart "
                "what had the wrong one.",
            )


def _passwords(settings: Settings) -> Findings:
    """Check whether stored mail passwords can be decrypted with the present secret keys."""
    vault = Vault(settings.secret_keys)
    try:
        with _engine(settings) as engine, make_sessions(engine)() as session:
            stored = select(Sender.account_id, Sender.secrets).where(Sender.secrets.is_not(None))
            readable = [_opens(vault, *row) for row in session.execute(stored)]
    except NO_DATABASE:
        return  # the database's check reports it
    if unreadable := readable.count(False):
        yield (
            False,
            f"{unreadable} of {len(readable)} stored mail passwords cannot be read with this secret key, "
            "and their senders cannot send. Add the earlier key behind the new one in "
            "mailganer.secret_key (SECRET_KEY).",
        )
    else:
        yield True, _readable(len(readable))


def _readable(passwords: int) -> str:
    if passwords == 0:
        return "No mail password is stored."
    whole = "The stored mail password" if passwords == 1 else f"All {passwords} stored mail passwords"
    return f"{whole} can be read."


def _opens(vault: Vault, account_id: int, ciphertext: bytes | None) -> bool:
    try:
        vault.decrypt(account_id, ciphertext or b"")
    except SecretUnreadable:
        return False
    return True


def _backends(settings: Settings) -> Findings:
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    for problem in registry.problems:
        yield False, sentence(problem)
    yield True, f"Enabled backends: {', '.join(registry.names)}."


def _payments(settings: Settings) -> Findings:
    yield True, f"Payment providers: {', '.join(load_providers(settings.payments)) or 'none'}."


def _address(settings: Settings) -> Findings:
    url = settings.public_url
    if settings.development:
        yield True, f"Links in emails point to {url}, which works on this machine only."
    elif not settings.secure:
        yield False, f"{url} does not use HTTPS, which one-click unsubscribe requires. Set PUBLIC_URL."
    elif not _is_public(settings.host):
        yield False, f"Recipients cannot reach {url}. Set PUBLIC_URL to a public address."
    else:
        yield True, f"Links in emails point to {url}."


def _is_public(host: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return "." in host and not host.endswith((".local", ".localhost", ".internal", ".test"))


def _safety(settings: Settings) -> Findings:
    if settings.allow_private_smtp_hosts and not settings.development:
        yield False, "Users can connect to private mail servers. Remove mailganer.allow_private_smtp_hosts."
    if settings.demo and not settings.development:
        yield False, "Anyone can use the demo account. Remove mailganer.demo (MAILGANER_DEMO)."


def _disk(settings: Settings) -> Findings:
    if problem := _folder_problem(settings.data_dir):
        yield False, problem
        return
    for place in disks(settings):
        free = shutil.disk_usage(place).free
        if free < NO_ROOM:
            yield (
                False,
                f"{place} is full. Emails cannot be sent and files cannot be uploaded. Free up space.",
            )
        else:
            yield free >= LEAST_ROOM, f"{free / 1024**3:.1f} GB are free in {place}."


def _folder_problem(folder: Path) -> str:
    if folder.is_dir():
        return ""
    if folder.exists():
        return f"{folder} is not a folder. Correct mailganer.data_dir (MAILGANER_DATA_DIR)."
    if reason := why_not_creatable(folder):
        return cannot_be_created(folder, reason)
    return (
        "" if folder.parent.exists() else f"There is no folder {folder}. Make it, or set mailganer.data_dir."
    )


CHECKS: tuple[tuple[str, Callable[[Settings], Findings]], ...] = (
    ("database", _database),
    ("broker", _broker),
    ("queue", _queue),
    ("workers", _workers),
    ("clock", _clock),
    ("passwords", _passwords),
    ("backends", _backends),
    ("payments", _payments),
    ("address", _address),
    ("safety", _safety),
    ("disk", _disk),
)


def _reason(error: SQLAlchemyError) -> str:
    return (str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"])[0].rstrip(
        "."
    ) + "."
