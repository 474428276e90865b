"""SQL compiled once per test process. Each test has engines of its own, which would compile all of it again.

SQLAlchemy keeps compiled statements by their structure and their dialect object: in every engine and, for
what a flush writes, in every mapper. Here all engines share one store, and dialects of one kind are equal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from mailganer import db

KEPT = 3000  # statements


@contextmanager
def compiled_once() -> Iterator[None]:
    """Share compiled statements between the engines that ``make_engine`` creates until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
            patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
            patch.setattr(dialect, "__eq__", lambda self, other: _kind(self) == _kind(other))
        patch.setattr(db, "create_engine", _sharing(db.create_engine, LRUCache(KEPT)))
        yield


def _sharing(create_engine: Callable[..., Engine], store: LRUCache[Any, Any]) -> Callable[..., Engine]:
    def create(url: str, **options: Any) -> Engine:
        return create_engine(url, execution_options={"compiled_cache": store}, **options)

    return create


def _kind(dialect: Any) -> tuple[Any, ...]:
    """Return everything that compiled statements can depend on: the rest is the same for all our engines."""
    reader = getattr(dialect, "_json_deserializer", None)
    return type(dialect), getattr(dialect, "server_version_info", None), reader
