"""Emails per second and CPU time per email, end to end: ledger, rendering, tracking links, SMTP.

    python benchmarks/sending.py [--emails 100000] [--largest 1000000] [--only NAME ...]

On a durable PostgreSQL (fsync on), against a mail server in C that accepts everything. The
email has 23 KB of HTML, ten tracked links, a pixel, five variables, a templated subject and the headers for
unsubscribing; every recipient has other values. Beside it, in the same run: Postfix's load generator with one
constant email of that size, the plain loop of smtplib, Jinja2 and EmailMessage, and a Celery task an email.
"""

import argparse
import csv
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import installation, sinks, usual
from benchmarks.support.measure import Spent, children_cpu
from mailganer.sending.context import SendingContext
from tests.support.embedded_broker import EmbeddedBroker
from tests.support.postgresql import PostgreSQL

SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}
SIZE = 36_000  # of a whole email, both parts encoded
CONNECTIONS = 10
FAR_DEPTH = 16  # set by operators with a distant relay (mailganer.backend.smtp.depth)
DELAYS = (0.0, 0.020, 0.050)


class Table:
    def __init__(self) -> None:
        print(f"{'':<46}{'emails/s':>10}{'CPU each':>11}{'memory':>9}")

    def row(self, what: str, spent: Spent | float, remark: str = "") -> None:
        if isinstance(spent, Spent):
            memory = f"{spent.memory:>6.0f} MB" if spent.memory else ""
            figures = f"{spent.speed:>10,.0f}{spent.each:>8.0f} us{memory:>9}"
        else:
            figures = f"{spent:>10,.0f}{'':>20}"
        print(f"{what:<46}{figures}  {remark}", flush=True)


@contextmanager
def people(number: int) -> Iterator[tuple[SendingContext, Path]]:
    """An installation on PostgreSQL with that many subscribers on its list."""
    server = PostgreSQL(SAFE)
    try:
        server.create("bench")
        with tempfile.TemporaryDirectory() as folder:
            yield installation.make(server.url("bench"), Path(folder), number), Path(folder)
    finally:
        server.stop()


def speed(table: Table, emails: int) -> None:
    with people(emails) as (context, folder):
        with sinks.Sink(chunking=True) as sink:
            best = source(table, "smtp-source, one constant email", sink.port, emails)
            for processes in (1, 2):
                spent = installation.send(context, folder, sink.port, processes=processes)
                table.row(f"worker processes: {processes}", spent, share(spent, best))
            with sinks.Sink() as plain:
                for processes in (1, 2):
                    spent = installation.send(context, folder, plain.port, processes=processes)
                    table.row(f"without CHUNKING, processes: {processes}", spent, share(spent, best))
            table.row("mailganer send, SQLite", by_command(sink.port, emails))
            usual_ways(table, sink)
        if sinks.postfix():
            with sinks.smtp_sink() as port:
                best = source(table, "smtp-source to smtp-sink", port, emails)
                for processes in (1, 2):
                    spent = installation.send(context, folder, port, processes=processes)
                    table.row(f"to smtp-sink, worker processes: {processes}", spent, share(spent, best))


def source(table: Table, what: str, port: int, emails: int) -> float | None:
    if not sinks.postfix():
        print(f"{what:<46}  (neither on PATH nor to be had as Debian's package postfix)")
        return None
    found = sinks.smtp_source(port, emails, SIZE, 8)
    table.row(what, found)
    return found


def share(spent: Spent, best: float | None) -> str:
    return f"{spent.speed / best:.2f} of smtp-source" if best else ""


def by_command(port: int, emails: int) -> Spent:
    """Run the command, including its start and its import."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "email.html").write_text(installation.html())
        with (folder / "people.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["email", "first_name", "last_name", "city", "company", "points"])
            for number in range(emails):
                known = usual.values(number)
                rows.writerow([f"reader{number}@example.org", *list(known.values())[:5]])
        used, begun = children_cpu(), time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "mailganer", "send", "--from", "anna@example.com"),
                *("--subject", installation.SUBJECT, "--html", folder / "email.html"),
                *("--to", folder / "people.csv", "--smtp", f"smtp://127.0.0.1:{port}"),
                *("--state", folder / "news.state"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return Spent(emails, time.perf_counter() - begun, children_cpu() - used, 0)


def usual_ways(table: Table, sink: sinks.Sink) -> None:
    loop = usual.by_loop(sink.port, 3000)
    table.row("smtplib + Jinja2 + EmailMessage, a loop", replace(loop, memory=0))
    broker = EmbeddedBroker()
    try:
        table.row("the same, a Celery task an email", usual.by_tasks(sink.port, 3000, broker.url, sink.taken))
    finally:
        broker.stop()


def sizes(table: Table, largest: int) -> None:
    for number in (size for size in (10_000, 100_000, 1_000_000) if size <= largest):
        with people(number) as (context, folder), sinks.Sink(chunking=True) as sink:
            spent = installation.send(context, folder, sink.port, processes=1)
            table.row(f"recipients: {number:,}", spent, f"planned in {spent.planning:.1f} s")


def distance(table: Table, emails: int) -> None:
    with people(emails) as (context, folder):
        for delay in DELAYS:
            far = f"{delay * 1000:.0f} ms away, {CONNECTIONS} connections: "
            with sinks.Sink(delay=delay) as sink:
                plain = by_smtplib(sink.port, 300 if delay else 10_000)
                table.row(far + "smtplib", plain)
            for name, chunking in (("pipelined", False), ("BDAT", True)):
                with sinks.Sink(delay=delay, chunking=chunking) as sink:
                    spent = installation.send(
                        context, folder, sink.port, processes=2, connections=CONNECTIONS, depth=FAR_DEPTH
                    )
                    table.row(far + name, spent, f"{spent.speed / plain:.1f} times smtplib")


def by_smtplib(port: int, emails: int) -> float:
    """Return emails per second of the standard client: one constant email over persistent connections."""
    content = b"Subject: News\r\n\r\n" + b"A line of an email as it looks when it is encoded.\r\n" * (
        SIZE // 52
    )

    def some(_hand: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            for _each in range(emails // CONNECTIONS):
                client.sendmail("anna@example.com", ["reader@example.org"], content)

    begun = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as hands:
        list(hands.map(some, range(CONNECTIONS)))
    return emails / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emails", type=int, default=100_000)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", choices=("speed", "sizes", "distance"), default=())
    how = parser.parse_args()
    table = Table()
    parts = {
        "speed": lambda: speed(table, how.emails),
        "sizes": lambda: sizes(table, how.largest),
        "distance": lambda: distance(table, min(how.emails, 20_000)),
    }
    for name, part in parts.items():
        if not how.only or name in how.only:
            part()


if __name__ == "__main__":
    main()
