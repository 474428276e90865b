"""Pages with a million subscribers, beside `SELECT 1`, and the plans of slow statements.

    python benchmarks/pages.py [--people 1000000] [--database postgresql|sqlite] [--rounds 20] [--slow 20]

The database itself writes the subscribers, ten lists, a sent campaign and its events. The web part is started
with its own command. Each page is loaded twice, the second time after a change of a subscriber, and then
``--rounds`` times; the table has the second time, the median and the 95th percentile of the others in
milliseconds, the ratio of the median to that of `SELECT 1`, and the CPU time of the database for a page. Then
every page is loaded once more within this process, and the plan of each statement that took longer than
``--slow`` milliseconds is printed.
"""

import argparse
import http.client
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session
from waitress.server import create_server
from webtest import TestApp

from benchmarks.support.measure import cpu_of_family
from benchmarks.support.web_part import SAFE, SECRET, web_part
from mailganer.audience.search_index import ensure_search_index
from mailganer.db import make_engine
from mailganer.subscriber_counts import note_new_values
from tests.support.large_account import Asked, Filled, fill, pages
from tests.support.ports import free_port
from tests.support.postgresql import PostgreSQL


def load(port: int, asked: Asked) -> float:
    """Return the milliseconds until a page has arrived."""
    path, headers = asked
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    began = time.perf_counter()
    connection.request("GET", path, headers={**headers, "Host": f"localhost:{port}"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1e3
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
    return took


@contextmanager
def select_1(url: str) -> Iterator[int]:
    """Serve `SELECT 1` with the same web server; return its port."""
    engine, port = make_engine(url).execution_options(reading=True), free_port()

    def application(_environ: Any, start_response: Any) -> list[bytes]:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT 1")).scalar_one()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(found).encode()]

    server = create_server(application, host="127.0.0.1", port=port, threads=4)
    Thread(target=server.run, daemon=True).start()
    yield port
    engine.dispose()  # the server ends with this process: its thread would report that it was closed


def change_something(url: str, account_id: int) -> None:
    """Make all that is kept about the account's subscribers old."""
    engine = make_engine(url)
    with Session(engine) as session:
        note_new_values(session, account_id)
        session.commit()
    engine.dispose()


def row(name: str, first: float, took: Sequence[float], base: float, cpu: float) -> str:
    slow = quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    ratio = median(took) / base
    return f"| {name} | {first:,.0f} | {median(took):,.0f} / {slow:,.0f} | {ratio:.1f} | {cpu * 1e3:,.1f} |"


def print_table(url: str, filled: Filled, rounds: int, database_pid: int | None, only: str) -> None:
    print("| page | first after a change, ms | then p50 / p95, ms | of SELECT 1 | CPU of the database, ms |")
    print("|---|---|---|---|---|")
    with select_1(url) as port:
        first, *took = [load(port, ("/", {})) for _each in range(rounds + 1)]
        base = median(took)
        print(row("SELECT 1", first, took, base, 0.0))
    port = free_port()
    with web_part(url, port):
        for name, asked in pages(filled).items():
            if only in name:
                load(port, asked)  # templates and emails are compiled once
                change_something(url, filled.account_id)
                first = load(port, asked)
                before = cpu_of_family(database_pid) if database_pid else 0.0
                took = [load(port, asked) for _each in range(rounds)]
                cpu = ((cpu_of_family(database_pid) - before) / rounds) if database_pid else 0.0
                print(row(name, first, took, base, cpu), flush=True)


def print_plans(url: str, filled: Filled, slow: float, only: str) -> None:
    """Load each page in this process and explain its slow statements."""
    from mailganer import main as application  # loads the whole web part

    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        app = application(
            {},
            **{
                "sqlalchemy.url": url,
                "celery.broker_url": "redis://127.0.0.1:1/0",
                "mailganer.secret_key": SECRET,
                "mailganer.public_url": "http://localhost",
                "mailganer.backends": "smtp",
                "mailganer.data_dir": folder,
                "mailganer.plans": "free",
                "mailganer.plan.free.title": "Free",
            },
        )
        engine: Engine = app.registry["engine"]
        browser = TestApp(app)
        for name, (path, headers) in pages(filled).items():
            if only in name:
                browser.get(path, headers=headers)
                for took, statement, parameters in slow_statements(
                    engine, lambda path=path, headers=headers: browser.get(path, headers=headers), slow
                ):
                    print(f"\n{name}: {took:.0f} ms\n{' '.join(statement.split())[:600]}")
                    print(plan(engine, statement, parameters))


def slow_statements(engine: Engine, work: Any, slow: float) -> list[tuple[float, str, Any]]:
    """Run ``work`` and return its statements that took longer than ``slow`` milliseconds."""
    found: list[tuple[float, str, Any]] = []
    begun: list[float] = []

    def before(*_: Any) -> None:
        begun.append(time.perf_counter())

    def after(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        took = (time.perf_counter() - begun.pop()) * 1e3
        if took > slow:
            found.append((took, statement, parameters))

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)
    return found


def plan(engine: Engine, statement: str, parameters: Any) -> str:
    postgresql = engine.dialect.name == "postgresql"
    explain = "EXPLAIN (ANALYZE, BUFFERS)" if postgresql else "EXPLAIN QUERY PLAN"
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
        connection.rollback()
    return "\n".join(f"    {found[0] if postgresql else found[3]}" for found in rows)


def build_search_index(url: str) -> str:
    """Build the index that the daily task builds from 100,000 subscribers on."""
    engine, began = make_engine(url), time.perf_counter()
    built = ensure_search_index(engine)
    engine.dispose()
    return f"search index built in {time.perf_counter() - began:.0f} s" if built else "no search index"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--slow", type=float, default=20.0, help="milliseconds of a statement to be explained"
    )
    parser.add_argument("--only", default="", help="pages whose name contains this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        server = PostgreSQL(SAFE) if options.database == "postgresql" else None
        try:
            url = f"sqlite:///{folder}/bench.sqlite"
            if server:
                server.create("bench")
                url = server.url("bench")
            filled = fill(url, options.people, SECRET)
            indexed = build_search_index(url)
            print(f"{options.people:,} subscribers, filled in {filled.seconds:.0f} s, {indexed}\n")
            print_table(url, filled, options.rounds, server.pid if server else None, options.only)
            print_plans(url, filled, options.slow, options.only)
        finally:
            if server:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
