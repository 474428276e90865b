"""An installation for one test, and an API client that is signed in to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Databases
from tests.support.installation import Installation
from tests.support.redis import Redis
from tests.support.smtp import SMTPServer

from .api import API
from .installations import KINDS, running


@pytest.fixture
def installation(
    live_kind: str, tmp_path: Path, databases: Databases, shared_redis: Redis, smtp_server: SMTPServer
) -> Iterator[Installation]:
    with running(live_kind, tmp_path, databases, shared_redis, smtp_server) as found:
        yield found


@pytest.fixture(params=KINDS)
def live_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def api(installation: Installation, smtp_server: SMTPServer) -> API:
    """Return a client signed in as anna@example.com, with its mail account on ``smtp_server``."""
    api = API(installation.url)
    api.login("anna@example.com", backend="smtp", **smtp_server.settings)
    return api
