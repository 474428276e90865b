"""Engines and sessions, and what SQLite and PostgreSQL each need.

There are two kinds of sessions. A request's session (``request.dbsession``) joins ``request.tm`` and ends
with the request. Workers, tasks and commands use ``sessions`` and commit themselves, in short transactions.
"""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import CursorResult, Delete, Engine, Update, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session, sessionmaker

from .logs import Outage

if TYPE_CHECKING:  # sending processes do not need Pyramid
    from pyramid.config import Configurator
    from pyramid.request import Request

T = TypeVar("T")

OUT_OF_REACH = (OperationalError, InterfaceError, InternalError, NoConnectionFree)
"""Errors that pass by themselves.

The database is gone, starting, full, busy for too long or temporarily read-only, all connections are taken,
or it chose this transaction as the one to retry. The transaction was rolled back, unless the error came from
its COMMIT: then the outcome is unknown.
"""

log = logging.getLogger(__name__)
DATABASE = Outage("The database")
"""Outage state of the database in this process, whichever of its threads noticed."""

# A planner's longest write is well under this; a waiting request is slow, but does not fail.
SQLITE_BUSY_MS = 30_000
READS = {"GET", "HEAD"}


def utcnow() -> datetime:
    return datetime.now(UTC)


def database_now(session: Session) -> datetime:
    """Return the time that all machines of an installation share.

    SQLite has no clock other than the machine's.
    """
    if session.get_bind().dialect.name == "sqlite":
        return utcnow()
    at: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    return at.astimezone(UTC)


def make_engine(url: str) -> Engine:
    """Create an engine for ``sqlite:///FILE`` or ``postgresql+psycopg://...``; connects lazily."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            hide_parameters=True,
            connect_args={"timeout": SQLITE_BUSY_MS / 1000, "check_same_thread": False},
        )
        _prepare_sqlite(engine)
    else:
        engine = create_engine(
            url,
            hide_parameters=True,  # errors are logged, and values are names and addresses
            pool_size=5,
            max_overflow=10,
            pool_pre_ping=True,
            pool_recycle=1800,
            json_deserializer=_from_json,
        )
        _prepare_postgresql(engine)
    _watch(engine)  # after SQLite's BEGIN: a BEGIN that fails has opened nothing
    return engine


def _from_json(value: bytes | str) -> object:
    # It is UTF-8; otherwise the json module would detect the encoding of each value.
    return json.loads(value if isinstance(value, str) else str(value, "utf-8"))


UNTRACKED: Any = {"synchronize_session": False}
"""Execution options for bulk statements: no session holds objects of these rows to update."""


def upsert(session: Session, table: Any) -> Any:
    """Return an INSERT into a model or table that supports ``on_conflict_do_...`` of the database."""
    return _INSERTS[session.get_bind().dialect.name](table)


_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def trouble_of(error: Exception) -> str:
    """Return the database's own message, without our statement and its values."""
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0]


def is_serialization_failure(error: Exception) -> bool:
    """Return whether the transaction was rolled back for a deadlock or serialisation failure.

    A retry may work.
    """
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "").startswith("40")


def changed_rows(session: Session, statement: Update | Delete) -> int:
    """Execute a statement and return the number of rows it changed or deleted."""
    result = cast(CursorResult[Any], session.execute(statement))
    return result.rowcount


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Create sessions for everything that is not a web request. Objects stay readable after commit."""
    return sessionmaker(engine, expire_on_commit=False)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # "BEGIN" is issued by us, below
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # a settled email must survive a power cut
            f"busy_timeout={SQLITE_BUSY_MS}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that turns from reading to writing cannot wait for its turn (SQLITE_BUSY_SNAPSHOT):
        # writers queue up at the start, and only transactions known to read start as readers.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # Compiling a statement takes longer than our largest ones do: 1.85 instead of 1.37 s of CPU for the
        # counts of ten lists.
        connection.execute("SET jit = off")
        connection.commit()


# --- what may not be done within a transaction

_open: dict[Any, int] = {}  # connections with an open transaction, and the thread that began it
os.register_at_fork(after_in_child=_open.clear)


def in_transaction() -> bool:
    """Return whether this thread has a transaction open, in whichever session."""
    return threading.get_ident() in list(_open.values())


def _watch(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        _open[connection.connection.dbapi_connection] = threading.get_ident()

    def ended(connection: Connection) -> None:
        if not connection.invalidated:
            _open.pop(connection.connection.dbapi_connection, None)

    def gone(dbapi_connection: Any, *_more: Any) -> None:
        _open.pop(dbapi_connection, None)

    event.listen(engine, "commit", ended)
    event.listen(engine, "rollback", ended)
    for what in ("checkin", "invalidate", "close", "detach"):
        event.listen(engine.pool, what, gone)


def without_transaction(session: Session | None, work: Callable[[], T]) -> T:
    """Run ``work`` while ``session`` has no transaction, and return its result.

    For everything slow or foreign, templates above all: on SQLite a writer blocks all others, on PostgreSQL
    locks are held. Changes are committed first. The session begins anew afterwards, and a request's objects
    are loaded again when next used, so they may have changed or be gone. Within ``sessions.begin()`` the
    transaction cannot be left, and SQLAlchemy raises.
    """
    if session is None:
        return work()
    request = session.info.get("request")
    if request is None:
        session.commit()
        return work()
    kept = _give_back(session, request)
    try:
        return work()
    finally:
        request.tm.begin()
        session.add_all(kept)
        for again in session.info.get("again", ()):
            again()


def _give_back(session: Session, request: "Request") -> list[Any]:
    """End a request's transaction and return its objects, which are detached until they are added again."""
    session.flush()
    wrote = session.info.pop("wrote", False)
    if wrote and session.info.get("again"):
        raise RuntimeError("what has to be done whole was begun before something foreign")
    kept = list(session.identity_map.values())
    session.expire_all()
    session.expunge_all()
    request.tm.commit() if wrote else request.tm.abort()
    return kept


def _note_writing(maker: sessionmaker[Session]) -> None:
    @event.listens_for(maker, "after_flush")
    def flushed(session: Session, _context: object) -> None:
        session.info["wrote"] = True

    @event.listens_for(maker, "do_orm_execute")
    def executed(state: Any) -> None:
        if not state.is_select:
            state.session.info["wrote"] = True


def includeme(config: "Configurator") -> None:
    import zope.sqlalchemy  # like Pyramid, for pages only: a worker would carry ten megabytes for nothing

    engine = make_engine(config.registry["settings"].database_url)
    config.registry["engine"] = engine
    config.registry["sessions"] = make_sessions(engine)
    # For slow reads: on SQLite it blocks no writer.
    config.registry["readers"] = make_sessions(engine.execution_options(reading=True))
    readers = sessionmaker(engine.execution_options(reading=True))
    writers = sessionmaker(engine)
    _note_writing(readers)
    _note_writing(writers)
    # Reading transactions do not show whether a full disk or a locked file is usable again.
    event.listen(writers, "after_commit", lambda _session: DATABASE.ended(log))

    def dbsession(request: "Request") -> Session:
        reading = request.method in READS  # opens and clicks are written by threads of their own
        session = (readers if reading else writers)(info={"request": request})
        # Core statements do not mark a session as changed and would be rolled back silently.
        zope.sqlalchemy.register(session, transaction_manager=request.tm, initial_state="changed")
        return session

    config.add_request_method(dbsession, reify=True)
