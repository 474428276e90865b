"""``mailganer voucher``: create codes that grant days of a plan."""

import click

from ..errors import InputError
from .common import database, read_settings


@click.group()
@click.option("--ini", type=click.Path(dir_okay=False), default=None, help="The settings file.")
@click.pass_context
def voucher(context: click.Context, ini: str | None) -> None:
    """Create vouchers for plans."""
    context.obj = ini


@voucher.command()
@click.option("--plan", required=True, help="Name of the plan in the settings.")
@click.option("--days", required=True, type=int, help="Number of days.")
@click.option("--count", default=1, show_default=True, type=int, help="Number of codes.")
@click.pass_obj
def create(ini: str | None, plan: str, days: int, count: int) -> None:
    """Create COUNT codes and print them, one per line."""
    from ..billing import create_vouchers
    from ..db import utcnow

    settings = read_settings(ini)
    known = [each.name for each in settings.plans]
    if plan not in known:
        raise InputError({"plan": f"The plan {plan!r} does not exist. Available plans: {', '.join(known)}."})
    with database(settings) as session:
        codes = [each.code for each in create_vouchers(session, plan, days, count, utcnow())]
    click.echo("\n".join(codes))
