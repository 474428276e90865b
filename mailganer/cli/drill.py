"""``mailganer drill``: inject failures on purpose, and count who got what."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .common import counted

if TYPE_CHECKING:
    from ..drill.run import DrillOptions, DrillOutcome, DrillSnapshot

SHOWN = 10  # number of addresses that are listed of those lost, or sent to twice


@click.command()
@click.option("--recipients", type=click.IntRange(1, 1_000_000), default=2000, show_default=True)
@click.option("--kills", type=click.IntRange(0, 1000), default=10, show_default=True)
@click.option("--seed", default=None, help="Seed of an earlier drill, to repeat its failures.")
@click.option(
    "--database",
    "database_url",
    default="",
    metavar="URL",
    help="An empty database. Default: SQLite in a folder.",
)
def drill(recipients: int, kills: int, seed: str | None, database_url: str) -> int:
    """Inject failures into a test installation, and count who was lost and who got it twice.

    A local server drops connections and refuses emails, while workers, broker and beat are killed. The drill
    starts an installation of its own and touches no other. Exit code 0: the pledge held; 1: it did not.
    """
    import secrets

    from ..drill.run import DrillOptions, temporary_folder
    from ..drill.run import drill as run

    options = DrillOptions(recipients, kills, seed or secrets.token_hex(4), database_url)
    click.echo(f"Drill: {counted(recipients, 'recipient')}, {counted(kills, 'kill')}, seed {options.seed}.")
    held = True
    with temporary_folder(lambda: not held) as folder:
        with _bar(options) as watch:
            outcome = run(options, folder, watch, lambda sentence: click.echo(sentence, err=True))
        held = outcome.findings.held
        _report(outcome, options)
        if not held:
            click.echo(f"Database, logs and the server's record are kept in {folder}.", err=True)
    return 0 if held else 1


def _report(outcome: "DrillOutcome", options: "DrillOptions") -> None:
    found = outcome.findings
    for name, value in (
        ("recipients", str(found.recipients)),
        ("sent", f"{found.sent}{_in_brackets(found.late, 'late, not at the first attempt')}"),
        ("failed", f"{sum(found.failed.values())}{_list(found.failed)}"),
        ("skipped", str(found.skipped)),
        ("lost", f"{len(found.lost)}{_names(found.lost)}"),
        ("twice", f"{len(found.twice)}{_names(found.twice)}"),
        ("denied", f"{len(found.denied)}{_names(found.denied)}"),
        ("in doubt", _doubts(outcome)),
        ("killed", f"{_sum_of_kills(outcome)}{_list(outcome.kills)}"),
        ("dropped", counted(outcome.drops, "connection")),
        ("refusals", f"{outcome.refusals.total()}{_list(outcome.refusals)}"),
        ("took", f"{outcome.seconds:.0f} s"),
        ("seed", options.seed),
    ):
        click.echo(f"{name:<11} {value}")
    click.echo("All guarantees held." if found.held else "A guarantee was violated.")


def _doubts(outcome: "DrillOutcome") -> str:
    found = outcome.findings
    allowed = found.allowed
    return (
        f"{found.in_doubt}; the server had {found.in_doubt_had} of them "
        f"({found.interrupted} by kills, {allowed.at_kills} emails were on the wire then; "
        f"{found.in_doubt - found.interrupted} by drops, at most {allowed.at_drops} were)"
    )


def _sum_of_kills(outcome: "DrillOutcome") -> int:
    return sum(number for part, number in outcome.kills.items() if "," not in part)


def _in_brackets(number: int, words: str) -> str:
    return f" ({number} {words})" if number else ""


def _list(counts: Mapping[str, int]) -> str:
    items = ", ".join(f"{number} {word}" for word, number in counts.items())
    return f" ({items})" if items else ""


def _names(addresses: tuple[str, ...]) -> str:
    more = ", ..." if len(addresses) > SHOWN else ""
    return f" ({', '.join(addresses[:SHOWN])}{more})" if addresses else ""


@contextmanager
def _bar(options: "DrillOptions") -> Iterator[Callable[["DrillSnapshot"], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda look: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Starting", total=options.recipients)

        def show(look: "DrillSnapshot") -> None:
            doing = f"{look.kills} of {options.kills} kills, the sender is {look.doing}"
            bar.update(task, description=doing, completed=look.settled)

        yield show
