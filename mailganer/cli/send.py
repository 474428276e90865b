"""``mailganer send``: send one campaign from the command line."""

import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import click

from ..errors import LoginRefused, MailganerError, NotReady
from .send_arguments import (
    PASSWORD,
    SCHEMES,
    parsed_sender,
    parsed_time,
    parsed_url,
    parsed_variables,
    read_text,
)
from .send_output import SETTLED, print_once, print_refusal, print_report, progress_bar, show_message, warn

if TYPE_CHECKING:
    from ..backends import Backend, Registry
    from ..sending.standalone import StandaloneCampaign, StandaloneRequest

CHECK_EVERY = 0.5  # seconds between two checks while there is nothing to do
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

    name, email = parsed_sender(sender)
    order = StandaloneRequest(
        from_name=name,
        from_email=email,
        subject=subject,
        html=read_text(html),
        text=read_text(text),
        recipients_file=recipients_file,
        variables=parsed_variables(settings),
        skip_bad_rows=skip_bad_rows,
    )
    if not order.html.strip() and not order.text.strip():
        raise click.UsageError("The email is empty. Give a file with --html or --text.")
    send_at = parsed_time(at)
    try:
        return _dry_run(order, server) if dry_run else _send(order, server, send_at, state)
    except (NotReady, MailganerError) as error:
        return print_refusal(error)


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
    parts = parsed_url(url)
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
    parts = parsed_url(url)
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
        campaign.prepare(None, warn)
        number, first, content = campaign.sample()
    to = f"{number} recipients; the first is {first}" if number > 1 else first
    click.echo(f"To {to}. The email would be:\n")
    show_message(content)
    click.echo("Nothing was sent.")
    return SETTLED


def _send(order: "StandaloneRequest", url: str, send_at: datetime | None, state: Path | None) -> int:
    from ..sending.standalone import open_standalone_campaign, remove_state

    path = state or _default_state(order)
    _usable(path)
    new = not path.exists()
    registry = _registry()
    backend = _proven(registry, order, url)
    try:
        with open_standalone_campaign(path, order, backend, registry) as campaign:
            campaign.prepare(send_at, warn)
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
    with _stopping() as stopped, progress_bar(campaign) as show:
        while True:
            try:
                moved = campaign.step(stopped.is_set, lambda window_result: show(campaign.progress()))
                now = campaign.progress()
            except OUT_OF_REACH as error:  # another process has locked it, or its disk is full
                if stopped.is_set():
                    raise
                printed = print_once(
                    printed, f"{state} cannot be written: {trouble_of(error)}. Trying again."
                )
                time.sleep(CHECK_EVERY)
                continue
            show(now)
            if now.finished or now.stopped or stopped.is_set():
                break
            if not moved:
                printed = print_once(printed, now.trouble)
                time.sleep(CHECK_EVERY)
    return print_report(campaign, now, state)


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
