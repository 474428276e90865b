"""``mailganer catch``: a local mail server that keeps every email."""

from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=2525, show_default=True)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("outbox"),
    show_default=True,
    help="The Maildir that emails are kept in.",
)
def catch(host: str, port: int, folder: Path) -> None:
    """Run a local mail server that keeps every email and forwards none."""
    from ..mail_catcher import serve_catcher

    serve_catcher(host, port, folder)
