"""Output of ``mailganer send``: warnings, the progress bar, the result."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, MailganerError, NotReady

if TYPE_CHECKING:
    from ..sending.standalone import StandaloneCampaign, StandaloneProgress


SETTLED, PARTLY, NOTHING = 0, 1, 2  # exit codes, as in the help of the command


def warn(sentence: str) -> None:
    """Print a warning to standard error."""
    click.echo(f"Warning: {sentence}", err=True)


def show_message(content: bytes) -> None:
    """Print a message as it would be sent: every header, then each part, decoded."""
    message = message_from_bytes(content, policy=policy.default)
    for name, value in message.items():
        click.echo(f"{name}: {value}")
    for part in message.walk():
        if not part.is_multipart():
            click.echo(f"\n--- {part.get_content_type()}\n")
            click.echo(str(part.get_content()).strip())
    click.echo("")


def print_once(printed: str, trouble: str) -> str:
    """Print the reason for waiting once, not at every check."""
    if trouble and trouble != printed:
        click.echo(trouble, err=True)
    return trouble or printed


def print_report(campaign: "StandaloneCampaign", progress: "StandaloneProgress", state: Path) -> int:
    """Print the counts, and each email that failed or is in doubt; return the exit code."""
    counts = progress.counts
    for email, status, why in campaign.unsettled():
        click.echo(f"{status.replace('_', ' ')}: {email}: {why}".rstrip(": "))
    click.echo(
        f"{counts.sent} sent, {counts.failed} failed, {counts.in_doubt} in doubt, "
        f"{counts.skipped} skipped, {counts.waiting} waiting."
    )
    if not progress.finished:
        if progress.stopped:
            click.echo(progress.stopped, err=True)
        click.echo(f"To continue, run the same command again. The progress is kept in {state}.", err=True)
        return PARTLY
    return PARTLY if counts.failed or counts.in_doubt or counts.skipped else SETTLED


def print_refusal(error: MailganerError) -> int:
    """Print why nothing was sent; return the exit code."""
    from ..i18n.sentences import reply_beside
    from ..i18n.translator import translate_sentence
    from ..sending.standalone import BadRows

    if isinstance(error, BadRows):
        for number, sentence in error.rows:
            click.echo(f"row {number}: {sentence}", err=True)
        if error.total > len(error.rows):
            click.echo(f"... and {error.total - len(error.rows)} more", err=True)
    if isinstance(error, InputError):
        for sentence in error.fields.values():
            click.echo(translate_sentence(sentence), err=True)
    elif isinstance(error, NotReady):
        for problem in error.problems:
            click.echo(translate_sentence(getattr(problem, "message", str(problem))), err=True)
    else:
        click.echo(translate_sentence(error.message), err=True)
    if reply := reply_beside(error):
        click.echo(reply, err=True)
    return NOTHING


@contextmanager
def progress_bar(campaign: "StandaloneCampaign") -> Iterator[Callable[["StandaloneProgress"], None]]:
    """Yield a function that updates a progress bar on a terminal, and does nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Sending", total=None)

        def show(progress: "StandaloneProgress") -> None:
            bar.update(
                task,
                description=_doing(progress),
                total=progress.counts.total or None,
                completed=progress.counts.settled,
            )

        yield show


def _doing(progress: "StandaloneProgress") -> str:
    if progress.waits_until is None:
        return "Sending"
    until = progress.waits_until.astimezone().strftime("%d.%m. %H:%M:%S")
    return f"Waiting until {until}" + (f" ({progress.trouble[:80]})" if progress.trouble else "")
