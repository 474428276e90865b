"""``mailganer rotate-key``."""

import click

from .common import database, ini_argument, read_settings


@click.command(name="rotate-key")
@ini_argument
def rotate_key(ini: str | None) -> None:
    """Encrypt stored passwords with the first secret key of INI; print whether others are needed.

    Web and workers may keep running. Running it again does nothing.
    """
    from sqlalchemy import select, update

    from ..errors import SecretUnreadable, SettingsError
    from ..models import Sender
    from ..vault import Vault

    settings = read_settings(ini)
    if len(settings.secret_keys) < 2:
        raise SettingsError(
            ['Name the new secret key first and the old one behind it: SECRET_KEY="NEW OLD".']
        )
    newest, every = Vault(settings.secret_keys[:1]), Vault(settings.secret_keys)
    written, lost = 0, []
    with database(settings) as session:
        found = select(Sender.id, Sender.account_id, Sender.from_email, Sender.secrets)
        for row in session.execute(found.where(Sender.secrets.is_not(None)).order_by(Sender.id)).all():
            if newest.opens(row.account_id, row.secrets):
                continue
            try:
                secrets = every.rotate(row.secrets)
            except SecretUnreadable:
                lost.append(row.from_email)
                continue
            # Unless a user has entered another password in the meantime.
            unchanged = (Sender.id == row.id, Sender.secrets == row.secrets)
            session.execute(update(Sender).where(*unchanged).values(secrets=secrets))
            session.commit()
            written += 1
    click.echo(f"Stored passwords encrypted with the first secret key: {written}.")
    for email in lost:
        click.echo(f"The password of {email} cannot be decrypted with any of the keys. Enter it again.")
    if not lost:
        click.echo("Stored passwords no longer need the other keys. Browser sessions need them for 14 days.")
