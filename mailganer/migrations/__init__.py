"""The way of the database to its newest schema.

Alembic, from day one: tests build their databases through these revisions too.
"""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

ONE_AT_A_TIME = 0x6D61696C  # "mail": any number that nobody else locks in this database


def migrate(engine: Engine, to: str = "head") -> None:
    """Brings the database to the newest revision. Running it again does nothing.

    All of it is one transaction, on SQLite too: whoever is killed in the middle has changed nothing.
    """
    config = _config()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Of several machines that start at once one migrates. (SQLite: whoever writes is alone.)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def newest() -> str:
    """The revision this code was written for."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(engine: Engine) -> str | None:
    """The revision the database is at; None when it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("mailganer.migrations")))
    return config
