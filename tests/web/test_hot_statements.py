"""No page and no API request reads a large part of the subscribers, memberships, deliveries or events.

An account with thousands of each is enough to see what a statement would read of a million. Every page is
loaded twice: what is counted once for a version of the recipients may read all of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from mailganer.audience import fields, subscriber_search
from mailganer.audience.search_index import ensure_search_index
from mailganer.db import make_engine
from tests.conftest import SECRET
from tests.support.large_account import Filled, fill, pages

PEOPLE = 6_000
MOST_ROWS = 2_600  # of one statement: a page of 500 subscribers with their lists is fewer
MOST_STEPS = 40_000  # of SQLite's virtual machine, for one statement
STEP = 1_000
READ_ALL_KEYS = {"search: two letters"}
"""PostgreSQL's index has groups of three letters. SQLite has no such index: see docs/speed.md."""


@pytest.fixture
def large(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Filled:
    monkeypatch.setattr(fields, "_SAMPLE", 100)  # newest subscribers, however many there are
    monkeypatch.setattr(subscriber_search, "NEWEST", 500)
    filled = fill(database_url, PEOPLE, SECRET)
    engine = make_engine(database_url)
    ensure_search_index(engine, start_at=1)
    engine.dispose()
    return filled


def scanned(plan: dict[str, Any]) -> float:
    """Return how many rows the scans of a plan have read."""
    own = 0.0
    if "Scan" in plan["Node Type"] and plan["Node Type"] not in ("Subquery Scan", "CTE Scan"):
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return own + sum(scanned(each) for each in plan.get("Plans", ()))


def statements_of(engine: Engine, work: Callable[[], object]) -> list[tuple[str, Any]]:
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    work()
    event.remove(engine, "before_cursor_execute", note)
    return seen


def rows_read(engine: Engine, work: Callable[[], object]) -> Iterator[tuple[float, str]]:
    """Yield how many rows each statement of PostgreSQL read, and the statement."""
    found = statements_of(engine, work)
    with engine.connect() as connection:
        # The table is small enough to read all of it; with a million rows an index would be used.
        connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in found:
            explained = connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
            ).scalar_one()
            (plan,) = explained if isinstance(explained, list) else json.loads(explained)
            yield scanned(plan["Plan"]), statement
        connection.rollback()


def steps_made(engine: Engine, work: Callable[[], object]) -> Iterator[tuple[float, str]]:
    """Yield how many steps of its virtual machine SQLite made for each statement, and the statement."""
    steps: Counter[str] = Counter()
    connections = set()

    def note(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        raw = connection.connection.dbapi_connection
        connections.add(raw)

        def count() -> None:
            steps[statement] += STEP

        raw.set_progress_handler(count, STEP)

    event.listen(engine, "before_cursor_execute", note)
    work()
    event.remove(engine, "before_cursor_execute", note)
    for raw in connections:
        raw.set_progress_handler(None, 0)
    yield from ((number, statement) for statement, number in steps.items())


def test_no_page_reads_a_large_part_of_a_table(large: Filled, app: Any) -> None:
    engine: Engine = app.app.registry["engine"]
    sqlite = engine.dialect.name == "sqlite"
    look, most = (steps_made, MOST_STEPS) if sqlite else (rows_read, MOST_ROWS)
    wrong = []
    for name, (path, headers) in pages(large).items():
        if name in READ_ALL_KEYS or (sqlite and name.startswith("search")):
            continue
        app.reset()
        app.get(path, headers=headers)
        for number, statement in look(
            engine, lambda path=path, headers=headers: app.get(path, headers=headers)
        ):
            if number > most:
                wrong.append(f"{name}: {number:.0f} of {' '.join(statement.split())[:700]}")
    assert wrong == [], "\n".join(wrong)
