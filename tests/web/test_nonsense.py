"""Malformed requests get a client error, never a server error."""

from typing import Any

import pytest

from ..fixtures.api import client_of
from ..support.factories import Factory

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "path", ["/%ff", "/sign-in?email=%ff", "/u/%ff", "/?x=%ED%A0%80", "/api/v1/%ff?x=%ff"]
)
def test_an_address_that_is_no_utf8_names_nothing(app: Any, path: str) -> None:
    assert app.get(path, expect_errors=True).status_int < 500


def test_a_form_without_its_boundary_is_no_form(app: Any) -> None:
    for path, status in (("/sign-in", 400), ("/api/v1/login", 415)):
        app.post(path, b"x", headers={"Content-Type": "multipart/form-data"}, status=status)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xff\xfe", 400),
        (b"[" * 5_000, 400),
        (b'{"name":' * 1_200, 400),
        (b'{"name": NaN}', 400),
        (b'{"name": "\\ud800"}', 422),
        (b"null", 422),
    ],
)
def test_a_body_that_is_no_json_is_a_wrong_field(
    app: Any, session: Any, make: Factory, body: bytes, status: int
) -> None:
    headers = client_of(app, session, make.account(), make).headers | {"Content-Type": "application/json"}
    answer = app.post("/api/v1/lists", body, headers=headers, expect_errors=True)
    assert answer.status_int == status
    assert answer.content_type == "application/problem+json"


def test_rows_that_did_not_go_in_come_as_a_file(app: Any, session: Any, make: Factory, of_boris: Any) -> None:
    from mailganer.models import Account, Import

    boris = session.get(Account, session.get(Import, of_boris["ImportContext"]).account_id)
    client = client_of(app, session, boris, make)
    answer = client.get(f"imports/{of_boris['ImportContext']}/rejects.csv")
    assert answer.content_type == "text/csv"
    assert '"Row","Why' in answer
