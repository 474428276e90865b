"""Fresh, migrated databases, quickly: one is migrated per run and kind, every test gets a copy."""

import shutil
import tempfile
from itertools import count
from pathlib import Path

from mailganer.db import make_engine
from mailganer.migrations import migrate

from .postgresql import PostgreSQL

KINDS = ("sqlite", "postgresql")
_TEMPLATE = "mailganer_template"


class Databases:
    """Starts PostgreSQL and migrates only when a test asks for that kind. ``options`` are its own."""

    def __init__(self, **options: str) -> None:
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="mg-sqlite-", dir="/tmp"))
        self._numbers = count(1)
        self._postgresql: PostgreSQL | None = None
        self._sqlite: Path | None = None

    @property
    def postgresql(self) -> PostgreSQL:
        if self._postgresql is None:
            self._postgresql = PostgreSQL(self._options)
            self._postgresql.create(_TEMPLATE)
            _upgrade(self._postgresql.url(_TEMPLATE))
        return self._postgresql

    @property
    def sqlite(self) -> Path:
        """A migrated file with nothing in it."""
        if self._sqlite is None:
            self._sqlite = self._folder / "template.sqlite"
            _upgrade(f"sqlite:///{self._sqlite}")
        return self._sqlite

    def fresh(self, kind: str, empty: bool = False) -> str:
        """The address of a database of this kind that nobody else uses; ``empty``: not even migrated."""
        name = f"test_{next(self._numbers)}"
        if kind == "postgresql":
            server = self.postgresql
            server.create(name, *(() if empty else (_TEMPLATE,)))
            return server.url(name)
        path = self._folder / f"{name}.sqlite"
        if not empty:
            shutil.copy(self.sqlite, path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        if url.startswith("sqlite"):
            for path in self._folder.glob(Path(url.removeprefix("sqlite:///")).name + "*"):
                path.unlink()
        else:
            self.postgresql.drop(url.split("@/")[1].split("?")[0])

    def stop(self) -> None:
        if self._postgresql is not None:
            self._postgresql.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _upgrade(url: str) -> None:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()  # PostgreSQL copies no database that somebody is connected to
