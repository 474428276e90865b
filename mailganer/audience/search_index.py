"""The index of PostgreSQL that finds a part of a word among a million subscribers.

It is no part of the schema: it needs an extension that the administrator of the database may have to install,
costs an import about a third of its speed, and is worth that only with many subscribers. Without it a search
reads the search keys of all subscribers of the account, once.
"""

from typing import Final

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

__all__ = ["SEARCH_INDEX", "ensure_search_index"]

SEARCH_INDEX: Final = "ix_subscriber_search_key_trigrams"
FROM: Final = 100_000  # subscribers of all accounts; fewer are read within 50 ms
_BUILDING: Final = 7_305_002  # key of the advisory lock
_EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
_log = structlog.get_logger()


def ensure_search_index(engine: Engine, start_at: int = FROM) -> bool:
    """Build the index of words, if there are enough subscribers for it. Return whether it can be used.

    Writers are not kept waiting. An index whose building was interrupted is built again.
    """
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if _is_valid(connection):
            return True
        if _subscribers(connection) < start_at or not _lock(connection):
            return False
        try:
            return _build(connection)
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _BUILDING})


def _build(connection: Connection) -> bool:
    try:
        connection.execute(text(_EXTENSION))
    except DBAPIError as error:
        _log.info("search without an index of words", reason=str(error.orig).splitlines()[0])
        return False
    # What is there now was interrupted; the lock keeps out another process that is building it.
    connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {SEARCH_INDEX}"))
    connection.execute(
        text(f"CREATE INDEX CONCURRENTLY {SEARCH_INDEX} ON subscriber USING gin (search_key gin_trgm_ops)")
    )
    return _is_valid(connection)


def _is_valid(connection: Connection) -> bool:
    found = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(connection.scalar(found, {"name": SEARCH_INDEX}))


def _subscribers(connection: Connection) -> float:
    """Return about how many subscribers there are."""
    known = text("SELECT reltuples FROM pg_class WHERE oid = to_regclass('subscriber')")
    return max(0.0, connection.scalar(known) or 0.0)


def _lock(connection: Connection) -> bool:
    return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _BUILDING}))
