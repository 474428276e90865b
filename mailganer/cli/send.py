"""``mailganer send``: send one campaign from the command line."""

import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import click

from ..errors import InputError, LoginRefused, MailganerError, NotReady

if TYPE_CHECKING:
    from ..backends import Backend, Registry
    from ..sending.standalone import StandaloneCampaign, StandaloneProgress, StandaloneRequest

PASSWORD = "MAILGANER_SMTP_PASSWORD"  # noqa: S105 - the name of the variable
SCHEMES = {"smtp": ("none", 25), "smtps": ("tls", 465), "smtp+starttls": ("starttls", 587)}
LOOK_EVERY = 0.5  # seconds between two checks while there is nothing to do
SETTLED, PARTLY, NOTHING = 0, 1, 2
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--from", "sender", required=True, metavar="ADDRESS", help='"Anna <anna@example.com>"')
@click.option("--subject", required=True, help="Subject of the email, a template.")
@click.option("--html", type=_FILE, help="File with the HTML of the email.")
@click.option("--text", type=_FILE, help="File with the text part. Generated from the HTML if omitted.")
@click.option(
    "--to", "recipients_file", required=True, type=_FILE, metavar="CSV", help="Subscribers, one per row."
)
@click.option(
    "--smtp", "server", required=True, metavar="URL", help="smtp://, smtps:// or smtp+starttls://[USER@]HOST."
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Value of a variable.")
@click.option(
    "--at",
    "at",
    metavar="ISO",
    help="Start at this time, such as 2026-12-04T10:00 (local time without an offset).",
)
@click.option(
    "--dry-run", is_flag=True, help="Show the number of recipients and the first email. Send nothing."
)
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="File that keeps the progress."
)
@click.option("--skip-bad-rows", is_flag=True, help="Skip rows of the list that cannot be used.")
def send(
    sender: str,
    subject: str,
    html: Path | None,
    text: Path | None,
    recipients_file: Path,
    server: str,
    settings: tuple[str, ...],
    at: str | None,
    dry_run: bool,
    state: Path | None,
    skip_bad_rows: bool,
) -> int:
    """Send one campaign. It needs no web and no settings file.

    The password comes from MAILGANER_SMTP_PASSWORD, or is asked for. Progress is stored in a state file,
    beside the list unless --state names one: run the same command again after a crash, and it continues
    without sending anything twice. To send the same email to the same list once more, remove that file first.

    What the check of a campaign would warn of (links that lead nowhere, tags of other products, gaps) is
    printed to standard error, with --dry-run too.

    Exit code 0: every recipient is settled; 1: some emails failed or are in doubt, and are listed; 2: an
    argument, the list or the email is wrong, and nothing was sent.
    """
    from ..sending.standalone import StandaloneRequest

    name, email = _sender(sender)
    order = StandaloneRequest(
        from_name=name,
        from_email=email,
        subject=subject,
        html=_read(html),
        text=_read(text),
        recipients_file=recipients_file,
        variables=_variables(settings),
        skip_bad_rows=skip_bad_rows,
    )
    if not order.html.strip() and not order.text.strip():
        raise click.UsageError("The email is empty. Give a file with --html or --text.")
    send_at = _parsed_time(at)
    try:
        return _dry_run(order, server) if dry_run else _send(order, server, send_at, state)
    except (NotReady, MailganerError) as error:
        return _refuse(error)


# --- arguments


def _sender(text: str) -> tuple[str, str]:
    from ..audience.addresses import parse_address

    name, email = parseaddr(text)
    try:
        if not text.isprintable():  # parseaddr drops what follows a line break
            raise InputError({"from": text})
        return name, parse_address(email).email
    except InputError as error:
        raise click.BadParameter(
            'use an address such as anna@example.com or "Anna <anna@example.com>".', param_hint="--from"
        ) from error


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8. Save it as UTF-8.") from error


def _variables(settings: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name.isidentifier():
            raise click.BadParameter(f"{setting!r} does not look like name=value.", param_hint="--set")
        variables[name] = value
    return variables


def _parsed_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise click.BadParameter("use a time such as 2026-12-04T10:00.", param_hint="--at") from error


def _address(url: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if parts.scheme not in SCHEMES or not parts.hostname or not port_is_fine:
        raise click.BadParameter(
            "use an address such as smtp+starttls://anna@mail.example.com:587.", param_hint="--smtp"
        )
    if parts.password is not None:
        raise click.BadParameter(
            f"other users of this machine can read a password in a command line. Use {PASSWORD}.",
            param_hint="--smtp",
        )
    return parts


# --- the mail account


def _registry() -> "Registry":
    from ..backends import Network, load_backends

    # The user at this terminal is the operator and may choose any host and port.
    network = Network(
        allow_private=True,
        ports=frozenset(range(1, 65536)),
        ca_file=os.environ.get("MAILGANER_SMTP_CA_FILE") or None,
    )
    return load_backends(("smtp",), {"smtp": {"open_relay": "true"}}, network)


def _backend(registry: "Registry", order: "StandaloneRequest", url: str, password: str) -> "Backend":
    parts = _address(url)
    security, port = SCHEMES[parts.scheme]
    return registry.open(
        "smtp",
        order.from_email,
        {
            "host": parts.hostname,
            "port": parts.port or port,
            "security": security,
            "username": unquote(parts.username or ""),
            "password": password,
        },
    )


def _proven(registry: "Registry", order: "StandaloneRequest", url: str) -> "Backend":
    """Return the mail account after a login: nothing is begun with one that does not work."""
    password = os.environ.get(PASSWORD, "")
    parts = _address(url)
    if not password and parts.username and sys.stdin.isatty():
        password = click.prompt(f"Password of {unquote(parts.username)}", hide_input=True, err=True)
    backend = _backend(registry, order, url, password)
    try:
        backend.verify()
    except LoginRefused:
        if password or not sys.stdin.isatty():
            raise
        password = click.prompt(f"Password of {order.from_email}", hide_input=True, err=True)
        backend = _backend(registry, order, url, password)
        backend.verify()
    return backend


# --- dry run, sending


def _dry_run(order: "StandaloneRequest", url: str) -> int:
    from ..sending.standalone import open_standalone_campaign

    registry = _registry()
    backend = _backend(registry, order, url, "")
    with (
        tempfile.TemporaryDirectory(prefix="mailganer-") as folder,
        open_standalone_campaign(Path(folder) / "state", order, backend, registry) as campaign,
    ):
        campaign.prepare(None, _warn)
        number, first, content = campaign.sample()
    to = f"{number} recipients; the first is {first}" if number > 1 else first
    click.echo(f"To {to}. The email would be:\n")
    _show(content)
    click.echo("Nothing was sent.")
    return SETTLED


def _warn(sentence: str) -> None:
    click.echo(f"Warning: {sentence}", err=True)


def _show(content: bytes) -> None:
    """Print a message as it would be sent: every header, then each part, decoded."""
    message = message_from_bytes(content, policy=policy.default)
    for name, value in message.items():
        click.echo(f"{name}: {value}")
    for part in message.walk():
        if not part.is_multipart():
            click.echo(f"\n--- {part.get_content_type()}\n")
            click.echo(str(part.get_content()).strip())
    click.echo("")


def _send(order: "StandaloneRequest", url: str, send_at: datetime | None, state: Path | None) -> int:
    from ..sending.standalone import open_standalone_campaign, remove_state

    path = state or _default_state(order)
    _usable(path)
    new = not path.exists()
    registry = _registry()
    backend = _proven(registry, order, url)
    try:
        with open_standalone_campaign(path, order, backend, registry) as campaign:
            campaign.prepare(send_at, _warn)
            new = False
            return _run(campaign, path)
    finally:
        if new:  # nothing was begun
            remove_state(path)


def _usable(state: Path) -> None:
    """Raise ``BadParameter`` before anything is sent when progress cannot be stored there."""
    if not state.parent.is_dir() or not os.access(state.parent, os.W_OK):
        raise click.BadParameter(f"there is no folder {state.parent} to write to.", param_hint="--state")
    if state.exists() and state.stat().st_size:
        with state.open("rb") as file:
            if not file.read(16).startswith(b"SQLite format 3"):
                raise click.BadParameter(f"{state} is a file of something else.", param_hint="--state")


def _default_state(order: "StandaloneRequest") -> Path:
    """Return the default state file: beside the list, named after this email.

    The same command finds it again.
    """
    name = hashlib.sha256(order.digest.encode()).hexdigest()[:12]
    return order.recipients_file.with_name(f"{order.recipients_file.name}.{name}.mailganer")


def _run(campaign: "StandaloneCampaign", state: Path) -> int:
    from ..db import OUT_OF_REACH, trouble_of

    printed = ""
    with _stopping() as stopped, _bar(campaign) as show:
        while True:
            try:
                moved = campaign.step(stopped.is_set, lambda window_result: show(campaign.progress()))
                now = campaign.progress()
            except OUT_OF_REACH as error:  # another process has locked it, or its disk is full
                if stopped.is_set():
                    raise
                printed = _print_once(
                    printed, f"{state} cannot be written: {trouble_of(error)}. Trying again."
                )
                time.sleep(LOOK_EVERY)
                continue
            show(now)
            if now.finished or now.stopped or stopped.is_set():
                break
            if not moved:
                printed = _print_once(printed, now.trouble)
                time.sleep(LOOK_EVERY)
    return _report(campaign, now, state)


def _print_once(printed: str, trouble: str) -> str:
    """Print the reason for waiting once, not at every check."""
    if trouble and trouble != printed:
        click.echo(trouble, err=True)
    return trouble or printed


def _report(campaign: "StandaloneCampaign", progress: "StandaloneProgress", state: Path) -> int:
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


def _refuse(error: MailganerError) -> int:
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


class _Flag:
    """Whether a stop was requested."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self, *_: object) -> None:
        self._set = True


@contextmanager
def _stopping() -> Iterator[_Flag]:
    """On Ctrl-C or SIGTERM, stop after the emails in flight are settled."""
    flag = _Flag()
    before = {signum: signal.signal(signum, flag.set) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def _bar(campaign: "StandaloneCampaign") -> Iterator[Callable[["StandaloneProgress"], None]]:
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
    moment = progress.waits_until.astimezone().strftime("%d.%m. %H:%M:%S")
    return f"Waiting until {moment}" + (f" ({progress.trouble[:80]})" if progress.trouble else "")
