"""Results of counting, kept until something that they depend on changes.

Pages of a draft, its check and the start of its sending ask the same question again and again, and counting a
million recipients takes up to seconds. The versions of ``subscriber_counts`` show whether the answer is
still right. Each process keeps its own results.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Pool
from sqlalchemy.orm import Session

from ..subscriber_counts import versions

__all__ = ["kept_at_version", "kept_result"]

MOST_RESULTS: Final = 1_000  # of one database
T = TypeVar("T")


class _Results:
    """Results with the versions they were computed for; the least recently used ones are dropped."""

    def __init__(self) -> None:
        self._lock, self._known = Lock(), OrderedDict[Hashable, tuple[Hashable, Any]]()

    def find(self, question: Hashable, version: Hashable) -> tuple[bool, Any]:
        with self._lock:
            known = self._known.get(question)
            if known is None or known[0] != version:
                return False, None
            self._known.move_to_end(question)
            return True, known[1]

    def keep(self, question: Hashable, version: Hashable, result: Any) -> None:
        with self._lock:
            self._known[question] = (version, result)
            self._known.move_to_end(question)
            while len(self._known) > MOST_RESULTS:
                self._known.popitem(last=False)


# By connection pool, which readers and writers of a database share.
_RESULTS: WeakKeyDictionary[Pool, _Results] = WeakKeyDictionary()


def kept_result(
    session: Session,
    account_id: int,
    list_ids: Sequence[int],
    question: Hashable,
    compute: Callable[[], T],
) -> T:
    """Return ``compute()``, or what it returned before for subscribers and lists that have not changed since.

    ``question`` names the function and its other arguments. The result is shared: do not change it.
    """
    lists = tuple(sorted(set(list_ids)))
    # Read before counting: a change that comes between is in the result, and makes the version old.
    version = versions(session, account_id, lists)
    return kept_at_version(session, (account_id, lists, question), version, compute)


def kept_at_version(session: Session, question: Hashable, version: Hashable, compute: Callable[[], T]) -> T:
    """Return ``compute()``, or what it returned before for the same question at this version.

    The result is shared: do not change it. A version must never come back with another result.
    """
    results = _RESULTS.setdefault(session.connection().engine.pool, _Results())
    found, result = results.find(question, version)
    if not found:
        result = compute()
        results.keep(question, version, result)
    return result  # type: ignore[no-any-return]
