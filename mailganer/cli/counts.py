"""``mailganer counts``."""

from collections.abc import Sequence

import click
from sqlalchemy import select

from .. import subscriber_counts
from ..db import make_sessions
from ..models import Account
from ..subscriber_counts import CountDifference
from .common import counted, existing_engine, ini_argument, read_settings


@click.command()
@ini_argument
@click.option("--correct", is_flag=True, help="Correct the counts that are wrong.")
def counts(ini: str | None, correct: bool) -> int:
    """Compare the kept counts of subscribers by list and status with the subscribers themselves.

    Exits with 1 if a count is wrong and was not corrected.
    """
    engine = existing_engine(read_settings(ini, create=False))
    readers = make_sessions(engine.execution_options(reading=True))
    wrong = 0
    with readers() as session:
        accounts: Sequence[int] = session.scalars(select(Account.id).order_by(Account.id)).all()
    for account_id in accounts:
        if correct:
            found = subscriber_counts.reconcile(make_sessions(engine), account_id)
        else:
            with readers() as session:
                found = subscriber_counts.count_differences(session, account_id)
        wrong += len(found)
        for each in found:
            click.echo(_line(each, correct))
    engine.dispose()
    if not wrong:
        click.echo(f"All kept counts are right ({counted(len(accounts), 'account')}).")
    elif not correct:
        click.echo("Correct them with: mailganer counts --correct", err=True)
    return 1 if wrong and not correct else 0


def _line(difference: CountDifference, corrected: bool) -> str:
    where = "all subscribers" if difference.list_id is None else f"list {difference.list_id}"
    by = f"{abs(difference.missing)} too {'few' if difference.missing > 0 else 'many'}"
    return (
        f"Account {difference.account_id}, {where}, {difference.status.value}: {by}"
        f"{', corrected' if corrected else ''}."
    )
