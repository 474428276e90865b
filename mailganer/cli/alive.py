"""``mailganer alive``: the command for container health checks."""

import socket
from datetime import timedelta

import click

from .common import database, ini_argument, read_settings
from .web_status import web_status

QUIET_AFTER = timedelta(minutes=2)


@click.command()
@click.argument("part", type=click.Choice(["web", "worker", "beat"]))
@ini_argument
def alive(part: str, ini: str | None) -> int:
    """Exit 0 when PART lives on this machine and does its work, 1 when not."""
    settings = read_settings(ini)
    if part == "web":
        status = web_status(settings)
        return _answer(status == 200, f"/healthz?part=web answers {status or 'none'}.")
    from sqlalchemy import select

    from ..db import database_now
    from ..models import Heartbeat

    # A worker's name contains its host; there is one beat for all machines.
    prefix = f"worker {socket.gethostname()}:" if part == "worker" else "beat"
    with database(settings) as session:
        seen = session.scalars(select(Heartbeat.seen_at).where(Heartbeat.name.startswith(prefix))).all()
        now = database_now(session)
    last = max(seen, default=None)
    return _answer(
        last is not None and now - last < QUIET_AFTER,
        f"The {part} was last seen {last:%Y-%m-%d %H:%M:%S} UTC." if last else f"The {part} was never seen.",
    )


def _answer(well: bool, sentence: str) -> int:
    click.echo(sentence, err=not well)
    return 0 if well else 1
