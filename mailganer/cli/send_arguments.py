"""Parsing of the arguments of ``mailganer send``. Each function raises ``click.UsageError``."""

from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import click

from ..errors import InputError

PASSWORD = "MAILGANER_SMTP_PASSWORD"  # noqa: S105 - the name of the variable
SCHEMES = {"smtp": ("none", 25), "smtps": ("tls", 465), "smtp+starttls": ("starttls", 587)}


def parsed_sender(text: str) -> tuple[str, str]:
    """Return the name and the address of ``--from``."""
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


def read_text(path: Path | None) -> str:
    """Return the text of a file, or an empty string without one."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8. Save it as UTF-8.") from error


def parsed_variables(settings: tuple[str, ...]) -> dict[str, str]:
    """Return the variables given by ``--set NAME=VALUE``."""
    variables = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name.isidentifier():
            raise click.BadParameter(f"{setting!r} does not look like name=value.", param_hint="--set")
        variables[name] = value
    return variables


def parsed_time(text: str | None) -> datetime | None:
    """Return the time of ``--at``; without an offset it is local."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise click.BadParameter("use a time such as 2026-12-04T10:00.", param_hint="--at") from error


def parsed_url(url: str) -> SplitResult:
    """Return the parts of the URL of ``--smtp``. A password in it is refused."""
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
