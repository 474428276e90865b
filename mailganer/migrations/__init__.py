"""The way of the database to its newest schema.

Alembic, from day one: tests build their databases through these revisions too. It is loaded by who migrates;
workers only compare two numbers, and a tenth of their memory would be its.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever only wants to know the newest revision has no use for SQLAlchemy
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

ONE_AT_A_TIME = 0x6D61696C  # "mail": any number that nobody else locks in this database


def migrate(engine: "Engine", to: str = "head") -> None:
    """Brings the database to the newest revision. Running it again does nothing.

    All of it is one transaction, on SQLite too: whoever is killed in the middle has changed nothing.
    """
    from alembic import command

    with _alone(engine) as config:
        command.upgrade(config, to)


def migrate_within(connection: "Connection", to: str = "head") -> None:
    """Do the same inside a transaction that somebody else began and commits."""
    from alembic import command

    command.upgrade(_within(connection), to)


def downgrade(engine: "Engine", to: str) -> None:
    """Take the database back to an earlier revision, in one transaction. What later ones brought is lost."""
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
        # Of several machines that start at once one migrates. (SQLite: whoever writes is alone.)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
    config = _config()
    config.attributes["connection"] = connection
    return config


@cache
def revisions() -> tuple[str, ...]:
    """All revisions, oldest first: their files begin with their numbers."""
    names = [file.name for file in files("mailganer.migrations").joinpath("versions").iterdir()]
    return tuple(sorted(name[:4] for name in names if name[:4].isdigit()))


def newest() -> str:
    """The revision this code was written for."""
    return revisions()[-1]


def current(engine: "Engine") -> str | None:
    """The revision the database is at; None when it is empty."""
    from sqlalchemy import inspect, text

    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("mailganer.migrations")))
    return config
