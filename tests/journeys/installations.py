"""Whole installations, as users run them, and a mail server to send through."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.databases import Databases
from tests.support.installation import Installation
from tests.support.redis import Redis
from tests.support.smtp import SMTPServer

KINDS = ("embedded", "production")


@contextmanager
def running(
    kind: str, folder: Path, databases: Databases, redis: Redis, smtp_server: SMTPServer
) -> Iterator[Installation]:
    """``mailganer serve`` that may send to ``smtp_server``: embedded, or on PostgreSQL with Redis."""
    options: dict[str, Any] = {"mailganer__smtp_ports": str(smtp_server.port)}
    if kind == "production":
        redis.wipe()
        options["broker_url"] = redis.url
    url = databases.fresh("postgresql" if kind == "production" else "sqlite")
    installation = Installation(folder / "installation", database_url=url, **options)
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
        databases.drop(url)
