"""Whole installations, as a person would run them, and a mail server for them to send through."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.installation import Installation
from tests.support.smtp import SMTPServer

from .api import API


@pytest.fixture
def installation(
    live_kind: str,
    request: pytest.FixtureRequest,
    databases: Databases,
    start_installation: Callable[..., Installation],
    smtp_server: SMTPServer,
) -> Iterator[Installation]:
    """``mailganer serve`` that may send to ``smtp_server``: embedded, or on PostgreSQL with Redis."""
    options: dict[str, Any] = {"mailganer__smtp_ports": str(smtp_server.port)}
    if live_kind == "production":
        options["broker_url"] = request.getfixturevalue("redis_server").url
    url = databases.fresh("postgresql" if live_kind == "production" else "sqlite")
    installation = start_installation(database_url=url, **options)
    yield installation
    installation.stop()
    databases.drop(url)


@pytest.fixture(params=["embedded", "production"])
def live_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def api(installation: Installation, smtp_server: SMTPServer) -> API:
    """Signed in as anna@example.com, whose mail account is on ``smtp_server``."""
    api = API(installation.url)
    api.login("anna@example.com", backend="smtp", **smtp_server.settings)
    return api
