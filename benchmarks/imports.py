"""Speed and memory of importing a file of subscribers, and of exporting them.

    python benchmarks/imports.py [--rows 1000000] [--database sqlite|postgresql] [--again]

Writes a file of subscribers with Cyrillic names and two more columns, imports it into an empty database in a
separate process, and prints rows per second, CPU time per row and peak memory. ``--again``
imports the same file once more with one column changed: all subscribers are updated. Then they are exported.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy.orm import Session, sessionmaker

from mailganer.audience import run_import, start_import, subscribers_csv
from mailganer.db import make_engine, make_sessions
from mailganer.models import Account, Import, SubscriberList
from mailganer.settings import Plan, Settings

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def write_file(path: Path, rows: int, city: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("Почта;Имя;Фамилия;День рождения;Город;Заказ\n")
        for n in range(rows):
            file.write(
                f"reader{n:07}@example{n % 500}.org;Имя{n % 997};Фамилия{n};14.05.1990;{city} {n % 90};{n}\n"
            )


def bring(url: str, folder: Path, file: Path) -> None:
    """Run in a child, so that its peak memory is the import's own."""
    engine = make_engine(url)
    sessions = make_sessions(engine)
    settings = Settings(
        database_url=url,
        public_url="http://localhost",
        secret_keys=("x" * 32,),
        data_dir=folder,
        plans=(Plan("free", "Free", None, None),),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with sessions.begin() as session, file.open("rb") as stream:
        started = time.perf_counter()
        account = session.get_one(Account, 1)
        job = start_import(
            session,
            account,
            session.get_one(SubscriberList, 1),
            filename=file.name,
            stream=stream,
            uploads=settings.uploads,
            now=NOW,
        )
    kept = time.perf_counter() - started
    cpu = time.process_time()
    started = time.perf_counter()
    run_import(sessions, settings, job.id, now=lambda: datetime.now(UTC))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    with sessions() as session:
        job = session.get_one(Import, job.id)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{url.split(':')[0]:22} {job.rows:9,} rows  {job.added:9,} added {job.updated:9,} updated  "
        f"upload {kept:4.1f} s  import {seconds:6.1f} s  {job.rows / seconds:9,.0f} rows/s  "
        f"{1e6 * cpu / max(job.rows, 1):5.1f} us a row  "
        f"peak {peak / 1024:.0f} MB (before {before / 1024:.0f})"
    )
    export(sessions, url)
    engine.dispose()


def export(sessions: sessionmaker[Session], url: str) -> None:
    """Read the export of all subscribers to its end."""
    cpu, started = time.process_time(), time.perf_counter()
    rows = sum(piece.count(b"\r\n") for piece in subscribers_csv(sessions, 1)) - 1
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{url.split(':')[0]:22} {rows:9,} rows exported in {seconds:6.1f} s  {rows / seconds:9,.0f} rows/s  "
        f"{1e6 * cpu / rows:5.1f} us a row  peak {peak / 1024:.0f} MB"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    arguments.add_argument("--again", action="store_true")
    arguments.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        url, folder, file = asked.child
        return bring(url, Path(folder), Path(file))

    from tests.support.databases import Databases

    databases = Databases()
    try:
        for kind in asked.database or ["sqlite", "postgresql"]:
            measure(databases.fresh(kind), asked.rows, asked.again)
    finally:
        databases.stop()


def measure(url: str, rows: int, again: bool) -> None:
    engine = make_engine(url)
    with make_sessions(engine).begin() as session:
        account = Account(email="anna@example.com", plan="free", created_at=NOW)
        session.add(account)
        session.flush()
        session.add(SubscriberList(account_id=account.id, name="Readers", created_at=NOW))
    engine.dispose()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for city in ["Город", "Село"][: 2 if again else 1]:
            write_file(folder / "people.csv", rows, city)
            command = [sys.executable, __file__, "--child", url, name, str(folder / "people.csv")]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": "."})


if __name__ == "__main__":
    main()
