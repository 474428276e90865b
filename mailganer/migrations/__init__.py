"""Database migrations: bring the schema to its newest revision.

Alembic, from day one: tests build their databases through these revisions too. Only commands that migrate
load it; workers just compare two revision numbers, and loading it would add a tenth to their memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading the newest revision needs no SQLAlchemy
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

ONE_AT_A_TIME = 0x6D61696C  # "mail": any number that nothing else locks in this database


def migrate(engine: "Engine", to: str = "head") -> None:
    """Migrate the database to the newest revision. Running it again does nothing.

    All of it is one transaction, on SQLite too: a process killed in the middle has changed nothing.
    """
    from alembic import command

    with _alone(engine) as config:
        command.upgrade(config, to)


def migrate_within(connection: "Connection", to: str = "head") -> None:
    """Migrate inside a transaction that the caller began and commits."""
    from alembic import command

    command.upgrade(_within(connection), to)


def downgrade(engine: "Engine", to: str) -> None:
    """Downgrade the database to an earlier revision, in one transaction.

    Data added by later revisions is lost.
    """
    from alembic import command

    with _alone(engine) as config:
        command.downgrade(config, to)


@contextmanager
def _alone(engine: "Engine") -> Iterator["Config"]:
    with engine.begin() as connection:
        yield _within(connection)


def _within(connection: "Connection") -> "Config":
    from sqlalchemy import text

    if connection.dialect.name == "postgresql":
        # Of several machines that start at once, only one migrates. (SQLite has one writer anyway.)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
    config = _config()
    config.attributes["connection"] = connection
    return config


@cache
def revisions() -> tuple[str, ...]:
    """Return all revisions, oldest first; their file names begin with their numbers."""
    names = [file.name for file in files("mailganer.migrations").joinpath("versions").iterdir()]
    return tuple(sorted(name[:4] for name in names if name[:4].isdigit()))


def newest() -> str:
    """Return the revision this code was written for."""
    return revisions()[-1]


def current(engine: "Engine") -> str | None:
    """Return the database's revision; None when it is empty."""
    from sqlalchemy import inspect, text

    with engine.execution_options(reading=True).connect() as connection:  # waits for no writer
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("mailganer.migrations")))
    return config
