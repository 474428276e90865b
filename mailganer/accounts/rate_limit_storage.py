"""Rate limit storage in the database, shared by all machines, for installations without Redis."""

import hashlib
import time
from typing import Any

from limits.storage import Storage
from sqlalchemy import case, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from ..models import RateLimitCount


class DatabaseRateLimitStorage(Storage):
    """Fixed windows in PostgreSQL, each change in its own transaction: a rejected sign-in still counts.

    Not for SQLite: there is one web process, so memory is as good, and this request may hold the only writer.
    """

    STORAGE_SCHEME = None

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        super().__init__()
        self._sessions = sessions

    @property
    def base_exceptions(self) -> type[Exception]:
        return SQLAlchemyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        over = RateLimitCount.ends_at <= now
        row = insert(RateLimitCount).values(key=_hashed(key), number=amount, ends_at=now + expiry)
        counted = row.on_conflict_do_update(
            index_elements=[RateLimitCount.key],
            set_={
                "number": case((over, amount), else_=RateLimitCount.number + amount),
                "ends_at": case((over, now + expiry), else_=RateLimitCount.ends_at),
            },
        ).returning(RateLimitCount.number)
        with self._sessions.begin() as session:
            return int(session.execute(counted).scalar_one())

    def get(self, key: str) -> int:
        return int(self._read(RateLimitCount.number, key) or 0)

    def get_expiry(self, key: str) -> float:
        return float(self._read(RateLimitCount.ends_at, key) or time.time())

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return None

    def clear(self, key: str) -> None:
        with self._sessions.begin() as session:
            session.execute(delete(RateLimitCount).where(RateLimitCount.key == _hashed(key)))

    def _read(self, column: Any, key: str) -> Any:
        with self._sessions() as session:
            return session.scalar(
                select(column).where(RateLimitCount.key == _hashed(key), RateLimitCount.ends_at > time.time())
            )


def _hashed(key: str) -> bytes:
    """Hash the key: login and address should not be readable afterwards."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
