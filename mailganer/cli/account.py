"""``mailganer account``: list, show, plan, close."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ..errors import Conflict, InputError, NotFound
from .common import database, read_settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ..models import Account
    from ..settings import Settings

LONGEST_GRANT = 3660  # days


@click.group()
@click.option("--ini", type=click.Path(dir_okay=False), default=None, help="The settings file.")
@click.pass_context
def account(context: click.Context, ini: str | None) -> None:
    """List, show and close accounts, and change their plans. ACCOUNT is a number or an address."""
    context.obj = ini


@account.command("list")
@click.option("--closed", is_flag=True, help="Include closed accounts.")
@click.pass_obj
def list_accounts(ini: str | None, closed: bool) -> None:
    """List the accounts of this installation, a line each."""
    from sqlalchemy import select

    from ..models import Account

    settings = read_settings(ini)
    query = select(Account).order_by(Account.id)
    if not closed:
        query = query.where(Account.closed_at.is_(None))
    with database(settings) as session:
        rows = [_line(session, settings, each) for each in session.scalars(query)]
    _print_table(("number", "address", "plan", "until", "subscribers", "emails in 24 h", "since"), rows)


@account.command()
@click.argument("account")
@click.pass_obj
def show(ini: str | None, account: str) -> None:
    """Show one account: its plan, what it has used, its senders."""
    settings = read_settings(ini)
    with database(settings) as session:
        found = _find(session, account)
        for name, value in _facts(session, settings, found):
            click.echo(f"{name:<16} {value}")


@account.command()
@click.argument("account")
@click.argument("plan")
@click.option(
    "--days",
    type=click.IntRange(1, LONGEST_GRANT),
    default=None,
    help="Number of days. Without it, no end date.",
)
@click.pass_obj
def plan(ini: str | None, account: str, plan: str, days: int | None) -> None:
    """Give an account a plan."""
    from ..db import utcnow

    settings = read_settings(ini)
    known = [each.name for each in settings.plans]
    if plan not in known:
        raise InputError({"plan": f"The plan {plan!r} does not exist. Available plans: {', '.join(known)}."})
    with database(settings) as session:
        found = _find(session, account)
        found.plan = plan
        found.plan_until = utcnow() + timedelta(days=days) if days else None
        until = f"until {_day(found.plan_until)}" if days else "for good"
        click.echo(f"{found.email} is on the plan {plan} {until}.")


@account.command()
@click.argument("account")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def close(ini: str | None, account: str, yes: bool) -> None:
    """Close an account for good: nothing more is sent, sign-in ends, stored passwords are deleted."""
    from ..accounts import close_account
    from ..db import utcnow

    with database(read_settings(ini)) as session:
        found = _find(session, account)
        if found.closed_at is not None:
            raise Conflict(f"{found.email} was closed on {_day(found.closed_at)}.")
        if not yes:
            _confirm(f"Close the account {found.id}, {found.email}, for good?")
        close_account(session, found, now=utcnow())
        click.echo(f"{found.email} is closed. Its subscribers and reports were kept, its passwords deleted.")


def _confirm(question: str) -> None:
    """Ask for confirmation at a terminal; elsewhere ``--yes`` is required."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask for confirmation. Use --yes.")
    click.confirm(question, abort=True)


def _find(session: "Session", name: str) -> "Account":
    """Return the account with this number or address; several logins may show the same address."""
    from sqlalchemy import select

    from ..models import Account

    wanted = Account.id == int(name) if name.isdecimal() else Account.email == name
    found = session.scalars(select(Account).where(wanted).order_by(Account.id)).all()
    if not found:
        raise NotFound(f"Account {name} does not exist. See: mailganer account list")
    if len(found) > 1:
        numbers = ", ".join(str(each.id) for each in found)
        raise Conflict(f"{len(found)} accounts have the address {name}. Name one by its number: {numbers}.")
    return found[0]


def _facts(session: "Session", settings: "Settings", found: "Account") -> Iterable[tuple[str, object]]:
    from ..accounts import account_senders
    from ..billing import plan_of, usage
    from ..db import utcnow
    from ..i18n.translator import translate_sentence

    now = utcnow()
    used, held = usage(session, found, now), plan_of(found, settings, now)
    yield "number", found.id
    yield "address", found.email
    yield "since", _day(found.created_at)
    if found.closed_at:
        yield "closed", _day(found.closed_at)
    yield (
        "plan",
        f"{held.title} ({held.name})" + (f", until {_day(found.plan_until)}" if found.plan_until else ""),
    )
    yield "emails in 24 h", f"{used.last_24h} of {_limit(held.per_day)}"
    yield "subscribers", f"{used.subscribers} of {_limit(held.max_subscribers)}"
    for identity in found.identities:
        yield "signs in with", f"{identity.login} at {identity.server} ({identity.backend})"
    for sender in account_senders(session, found.id):
        trouble = f": {translate_sentence(sender.error)}" if sender.error else ""
        yield "sends from", f"{sender.from_email} ({sender.backend}), {sender.status}{trouble}"


def _line(session: "Session", settings: "Settings", each: "Account") -> Sequence[str]:
    from ..billing import plan_of, usage
    from ..db import utcnow

    now = utcnow()
    used = usage(session, each, now)
    address = each.email if each.closed_at is None else f"{each.email} (closed)"
    return (
        str(each.id),
        address,
        plan_of(each, settings, now).name,
        _day(each.plan_until),
        str(used.subscribers),
        str(used.last_24h),
        _day(each.created_at),
    )


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _day(at: datetime | None) -> str:
    return at.date().isoformat() if at else "-"


def _limit(number: int | None) -> str:
    return "any number" if number is None else str(number)
