"""``/metrics`` requires a token or a known private network."""

from collections.abc import Callable
from typing import Any

import pytest
from webtest import TestApp

from mailganer.errors import SettingsError
from mailganer.settings import from_mapping
from mailganer.web.rate_limits import WRONG_TOKENS

from ..support.applications import Applications, close

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def status(applications: Applications, ini_values: dict[str, str]) -> Any:
    """``status("10.0.0.7", token="", trusted_proxy=...)``: the status of ``/metrics`` for that client.

    Each time from an application that has just started.
    """

    def status(address: str, token: str = "", **values: str) -> int:
        app = applications.make(ini_values | {f"mailganer.{name}": value for name, value in values.items()})
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = {"REMOTE_ADDR": address}
        response = TestApp(app).get("/metrics", headers=headers, extra_environ=client, status="*")
        close(app)
        return int(response.status_int)

    return status


Status = Callable[..., int]


def test_a_private_network_may_read_where_no_one_comes_from_elsewhere(status: Status) -> None:
    for address in ("127.0.0.1", "10.0.0.7", "192.168.1.2", "::1", "fd00::1", "::ffff:10.0.0.7"):
        assert status(address) == 200
    for address in ("203.0.113.9", "8.8.8.8", "2001:db8::1", "172.32.0.1", "100.64.0.1", "unix", ""):
        assert status(address) == 401


def test_behind_a_proxy_that_is_not_named_everyone_looks_private_and_no_one_may(
    status: Status, ini_values: dict[str, str]
) -> None:
    ini_values["mailganer.public_url"] = "https://mail.example.com"
    for address in ("127.0.0.1", "10.0.0.7"):
        assert status(address) == 401
        assert status(address, trusted_proxy="*") == 401


def test_behind_a_named_proxy_the_clients_own_address_counts(
    status: Status, ini_values: dict[str, str]
) -> None:
    ini_values["mailganer.public_url"] = "https://mail.example.com"
    assert status("10.0.0.7", trusted_proxy="127.0.0.1") == 200
    assert status("203.0.113.9", trusted_proxy="127.0.0.1") == 401
    assert status("127.0.0.1", trusted_proxy="127.0.0.1") == 401  # a proxy that sends no client address


@pytest.mark.slow
def test_the_token_opens_from_anywhere_and_wrong_ones_are_throttled(status: Status) -> None:
    assert status("203.0.113.9", TOKEN, metrics_token=TOKEN) == 200
    assert status("203.0.113.9", TOKEN) == 401
    for _try in range(WRONG_TOKENS.tries - 1):
        assert status("203.0.113.9", "wrong", metrics_token=TOKEN) == 401
    assert status("203.0.113.9", "wrong", metrics_token=TOKEN) == 429
    assert status("203.0.113.9", TOKEN, metrics_token=TOKEN) == 200


def test_a_short_token_stops_the_start(ini_values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"mailganer\.metrics_token has 5 characters"):
        from_mapping(ini_values | {"mailganer.metrics_token": "short"}, environ={})
