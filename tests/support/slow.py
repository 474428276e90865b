"""Which tests are slow: ``make quick`` leaves them out, ``make test`` runs them all.

A test is slow if it starts processes or a browser, kills or breaks parts, repeats on PostgreSQL what it tests
on SQLite, or is marked ``@pytest.mark.slow``.
"""

from collections.abc import Sequence

import pytest

_FOLDERS = frozenset({"cli", "faults", "journeys"})
_FIXTURES = frozenset({"broker_url", "browser", "live", "mailing", "start_installation", "tree"})


def mark(items: Sequence[pytest.Item]) -> None:
    names = {item.nodeid for item in items}
    for item in items:
        if _is_slow(item) or _is_repeated(item.nodeid, names):
            item.add_marker(pytest.mark.slow)


def _is_slow(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return item.path.parent.name in _FOLDERS or not _FIXTURES.isdisjoint(fixtures)


def _is_repeated(name: str, names: set[str]) -> bool:
    return "postgresql" in name and name.replace("postgresql", "sqlite") in names
