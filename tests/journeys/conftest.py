"""Installations that the tests of a file share, and API clients that are signed in to them."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.databases import Databases
from tests.support.installation import Installation
from tests.support.redis import Redis
from tests.support.smtp import SMTPServer

from .api import API
from .installations import KINDS, running


@pytest.fixture(scope="module")
def smtp_server() -> Iterator[SMTPServer]:
    server = SMTPServer()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=KINDS)
def installation(
    request: pytest.FixtureRequest,
    databases: Databases,
    shared_redis: Redis,
    smtp_server: SMTPServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("shared")
    with running(request.param, folder, databases, shared_redis, smtp_server) as found:
        yield found


@pytest.fixture
def enter(installation: Installation, smtp_server: SMTPServer) -> Callable[[str], API]:
    """Sign in with an address that the mail server knows."""

    def enter(email: str) -> API:
        smtp_server.passwords[email] = "secret"
        api = API(installation.url)
        api.login(email, backend="smtp", **smtp_server.settings)
        return api

    return enter


@pytest.fixture
def api(request: pytest.FixtureRequest, enter: Callable[[str], API], smtp_server: SMTPServer) -> API:
    """Return a client with an account of the test's own."""
    smtp_server.forget()
    return enter(f"{request.function.__name__[5:40]}@example.com")
