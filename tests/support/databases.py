"""Fresh, migrated databases: one per run and kind is migrated, and every test gets a copy.

On PostgreSQL a copy costs much more than what most tests do with it. So a database that a test has left with
the schema as it was is emptied, renamed, and given to a later test.
"""

import shutil
import sqlite3
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

import psycopg

from mailganer.db import make_engine
from mailganer.migrations import migrate

from .postgresql import PostgreSQL
from .scratch import scratch

KINDS = ("sqlite", "postgresql")
_TEMPLATE = "mailganer_template"


class Databases:
    """Starts PostgreSQL and migrates only when a test asks for that kind. ``options`` are its own."""

    def __init__(self, **options: str) -> None:
        self._options = options
        self._folder = scratch("mg-sqlite-")
        self._numbers = count(1)
        self._postgresql: PostgreSQL | None = None
        self._sqlite: Path | None = None
        self.pristine = ""  # the fingerprint of the template's schema
        self._used: deque[str] = deque()  # databases that their tests no longer need

    @property
    def postgresql(self) -> PostgreSQL:
        if self._postgresql is None:
            self._postgresql = PostgreSQL(self._options)
            self._postgresql.create(_TEMPLATE)
            _upgrade(self._postgresql.url(_TEMPLATE))
            self.pristine = self._postgresql.fingerprint(_TEMPLATE)
        return self._postgresql

    @property
    def sqlite(self) -> Path:
        """A migrated file with nothing in it."""
        if self._sqlite is None:
            self._sqlite = self._folder / "template.sqlite"
            _upgrade(f"sqlite:///{self._sqlite}")
        return self._sqlite

    def fresh(self, kind: str, empty: bool = False) -> str:
        """Return the URL of a new database of this kind; with ``empty`` it is not migrated."""
        name = f"test_{next(self._numbers)}"
        if kind == "postgresql":
            server = self.postgresql
            if empty:
                server.create(name)
            elif not self._recycled(name):
                server.create(name, _TEMPLATE)
            return server.url(name)
        path = self._folder / f"{name}.sqlite"
        if not empty:
            shutil.copy(self.sqlite, path)
        return f"sqlite:///{path}"

    def copy(self, url: str) -> str:
        """Return a copy of the current database, for ``put_back``."""
        name = f"copy_{next(self._numbers)}"
        if not url.startswith("sqlite"):
            self.postgresql.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{_name(url)}' AND pid <> pg_backend_pid()"
            )
            self.postgresql.create(name, _name(url))
            return name
        with sqlite3.connect(_path(url)) as now, sqlite3.connect(self._folder / name) as then:
            now.backup(then)
        now.close()
        then.close()
        return name

    def put_back(self, url: str, copy: str) -> None:
        """Restore the database from a copy. PostgreSQL closes all its connections;
        users of SQLite have to close the file themselves."""
        if not url.startswith("sqlite"):
            self.postgresql.drop(_name(url))
            self.postgresql.run(f'ALTER DATABASE "{copy}" RENAME TO "{_name(url)}"')
            return
        for end in ("-wal", "-shm"):
            _path(url).with_name(_path(url).name + end).unlink(missing_ok=True)
        shutil.copy(self._folder / copy, _path(url))

    def drop(self, url: str) -> None:
        if url.startswith("sqlite"):
            for path in self._folder.glob(_path(url).name + "*"):
                path.unlink()
        else:
            self._used.append(_name(url))

    def _recycled(self, name: str) -> bool:
        """Give a database of an earlier test this name, as good as new. Return False if there is none."""
        while len(self._used) > 1:  # the last connections of the newest may still be ending
            used = self._used.popleft()
            with suppress(psycopg.Error):  # the test has removed the schema, for example
                if self.postgresql.recycle(used, name, self.pristine):
                    return True
            for each in (used, name):
                self.postgresql.drop(each)
        return False

    def stop(self) -> None:
        if self._postgresql is not None:
            self._postgresql.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _name(url: str) -> str:
    return url.split("@/")[1].split("?")[0]


def _upgrade(url: str) -> None:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()  # PostgreSQL copies no database that has connections
