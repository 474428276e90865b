"""``mailganer serve``: run everything on one machine as one process tree."""

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MailganerError
from .common import check_free, ini_argument, make_data_folder, read_settings, split_address
from .forked import CAN_FORK, preload
from .parent import die_with_parent
from .processes import Part, ProcessTree, python
from .shared_modules import SENDING_MODULES, WEB_MODULES
from .web_status import web_status

if TYPE_CHECKING:
    from ..settings import Settings

ENOUGH_DEATHS = 3  # a web part that dies so often before its first response will not recover by itself
FIRST_ANSWER = 60.0  # seconds the web part may take to its first response
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@click.command()
@ini_argument
@click.option("--demo", is_flag=True, help="Add a demo account and a local mail catcher.")
@click.option("--with-parent", is_flag=True, hidden=True, help="Stop when the calling process ends.")
def serve(ini: str | None, demo: bool, with_parent: bool) -> int:
    """Run everything that INI describes: migrations, a broker if none is set, web, worker, beat."""
    if with_parent:
        die_with_parent()
    if demo:
        os.environ["MAILGANER_DEMO"] = "true"
    settings = read_settings(ini)
    with _alone(settings):
        return _Installation(settings).run()


class _Installation:
    """The parts of one installation, and the order in which they start."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings
        # The terminal of a demo shows the address, not the log.
        self.tree = ProcessTree(_say, settings.data_dir / "log" if settings.demo else None)

    def run(self) -> int:
        check_free(self.settings.listen, "mailganer.listen")
        if self.settings.demo:
            check_free(self.settings.catcher, "mailganer.catcher")
        self.tree.listen()
        try:
            return self._run()
        finally:
            self.tree.stop()

    def _run(self) -> int:
        _say("Starting Mailganer...")
        if self.settings.embedded:
            self.tree.start(self._broker())
        if CAN_FORK:
            preload(WEB_MODULES)
        is_checked = not (self.settings.demo and _has_newest_schema(self.settings))
        if is_checked and (code := self._check()):
            return code
        # Pages first, with the whole machine to themselves: a user waits for them.
        self.tree.start(_own("web", "web"))
        if CAN_FORK:
            preload(SENDING_MODULES)
        answers = self.tree.wait(self._answers, self._hopeless if is_checked else self._died, FIRST_ANSWER)
        if not answers and not is_checked and not self.tree.stopping:
            if code := self._check():  # shows what the web part has written only to its log
                return code
            answers = self.tree.wait(self._answers, self._hopeless, FIRST_ANSWER)
        if answers:
            for part in self._others():
                self.tree.start(part)
            self._greet()
        elif not self.tree.stopping:
            raise MailganerError(
                f"The web server cannot start on {self.settings.listen}.{self._last_words()}"
            )
        self.tree.look_after()
        _say("Stopping...")
        return 0

    def _check(self) -> int:
        """Migrate, and check the configured plugins; return an exit code."""
        code = self.tree.run(_own("migration", "migrate", "--check"))
        return 0 if self.tree.stopping else code

    def _broker(self) -> Part:
        from ..broker import command

        return Part("broker", command(self.settings), last=True)

    def _others(self) -> Iterator[Part]:
        if self.settings.demo:
            yield self._catcher()
        yield _own("worker", "worker")
        yield _own("beat", "beat")

    def _catcher(self) -> Part:
        host, port = split_address(self.settings.catcher)
        where = ("--host", host, "--port", str(port), "--dir", str(self.settings.outbox))
        return _own("catcher", "catch", *where)

    def _answers(self) -> bool:
        return web_status(self.settings) is not None

    def _died(self) -> bool:
        return self.tree.deaths("web") > 0

    def _hopeless(self) -> bool:
        return self.tree.deaths("web") >= ENOUGH_DEATHS

    def _greet(self) -> None:
        _say(f"Mailganer is ready: {self._address()}")
        if self.settings.demo:
            _say(f"Emails of the demo account are not delivered. Read them at {self._address()}/outbox")
        _say(f"Press Ctrl-C to stop. Your data is kept in {self.settings.data_dir}.")

    def _address(self) -> str:
        host, port = split_address(self.settings.listen)
        return f"http://localhost:{port}" if host in LOOPBACK else self.settings.public_url

    def _last_words(self) -> str:
        """Return the last line of the web part's log, if it does not write to the terminal."""
        log = self.settings.data_dir / "log" / "web.log"
        if not self.settings.demo or not log.is_file():
            return ""
        lines = log.read_text(errors="replace").strip().splitlines() or [""]
        return f" It said: {lines[-1]} See {log}."


def _own(name: str, command: str, *arguments: str) -> Part:
    """Return a part that runs one of our commands, in a fork of this process where that is possible."""
    run = partial(_run_command, command, *arguments) if CAN_FORK else None
    return Part(name, python(command, *arguments), run)


def _run_command(*arguments: str) -> int:
    from . import run

    sys.argv[1:] = arguments  # on SIGHUP a worker runs its command again
    return run(arguments)


@contextmanager
def _alone(settings: "Settings") -> Iterator[None]:
    """Lock the data folder: one installation per folder. The lock ends with this process, however it ends."""
    make_data_folder(settings)
    path = settings.data_dir / "serve.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MailganerError(_already(settings, path)) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _has_newest_schema(settings: "Settings") -> bool:
    """Return whether an SQLite database needs no migration, without starting a process to check.

    This saves a second until a restarted demo shows its pages.
    """
    from ..migrations import newest

    prefix = "sqlite:///"
    path = Path(settings.database_url.removeprefix(prefix))
    if not settings.database_url.startswith(prefix) or not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=1)) as connection:
            row: object = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return row == (newest(),)
    except sqlite3.Error:
        return False  # the migration will report what is wrong with it


def _already(settings: "Settings", path: Path) -> str:
    pid = path.read_text().strip()
    return f"Mailganer is already running on {settings.data_dir} (process {pid}). Stop it first."


def _say(sentence: str) -> None:
    click.echo(sentence)
