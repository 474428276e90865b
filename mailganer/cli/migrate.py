"""``mailganer migrate``."""

from typing import TYPE_CHECKING

import click

from ..errors import SettingsError
from .common import existing_engine, ini_argument, open_engine, read_settings

if TYPE_CHECKING:
    from ..settings import Settings


@click.command()
@ini_argument
@click.option("--check", is_flag=True, help="First check that all backends and payment providers load.")
@click.option(
    "--down-to",
    metavar="REVISION",
    help="Downgrade the schema for an earlier version of the program. Data of later revisions is lost.",
)
def migrate(ini: str | None, check: bool, down_to: str | None) -> None:
    """Migrate the database of INI to the newest schema. Running it again does nothing."""
    from ..migrations import current, newest
    from ..migrations import migrate as upgrade

    settings = read_settings(ini)
    if down_to is not None:
        _take_back(settings, down_to)
        return
    if check:
        _check_plugins(settings)
    engine = open_engine(settings)
    before = current(engine)
    if before == newest():
        click.echo(f"The database already has the newest schema ({before}).")
    else:
        upgrade(engine)
        click.echo(f"The database was migrated to the newest schema ({newest()}).")
    engine.dispose()


def _take_back(settings: "Settings", to: str) -> None:
    """Downgrade the schema. Raise ``SettingsError`` for a revision that the database has not passed."""
    from ..migrations import current, downgrade, revisions

    engine = existing_engine(settings)
    try:
        before = current(engine)
        if before is None or to not in revisions() or to > before:
            there_are = ", ".join(each for each in revisions() if before and each <= before) or "none"
            raise SettingsError([f"The schema cannot be downgraded to {to}. Choose one of: {there_are}."])
        downgrade(engine, to)
    finally:
        engine.dispose()
    click.echo(f"The database was downgraded from revision {before} to {to}.")


def _check_plugins(settings: "Settings") -> None:
    """Raise ``SettingsError`` with every plugin problem that would keep a part from starting."""
    from ..accounts import network_of
    from ..backends import load_backends
    from ..billing import load_providers

    problems: list[str] = []
    for load in (
        lambda: load_backends(settings.backends, settings.backend_options, network_of(settings)),
        lambda: load_providers(settings.payments),
    ):
        try:
            load()
        except SettingsError as error:
            problems.extend(error.problems)
    if problems:
        raise SettingsError(problems)
