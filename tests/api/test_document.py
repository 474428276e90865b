"""The document, and what does not fit it."""

from typing import Any

from openapi_spec_validator import validate

from ..fixtures.api import Client


def test_the_document_is_valid_and_served(nobody: Client) -> None:
    document = nobody.get("openapi.json").json
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_what_is_not_there_is_a_problem_document(nobody: Client, client: Client) -> None:
    for path in ("nothing", "lists/1/nothing"):
        assert client.get(path, status=404).content_type == "application/problem+json"
    assert (
        client.app.put("/api/v1/lists", headers=client.headers, status=405).content_type
        == "application/problem+json"
    )


def test_a_body_that_is_no_json_is_said_so(app: Any, client: Client) -> None:
    for body, kind, status in (
        (b"{", "application/json", 422),
        (b"name=x", "application/x-www-form-urlencoded", 415),
    ):
        answer = app.post(
            "/api/v1/lists", body, headers=client.headers | {"Content-Type": kind}, status=status
        )
        assert answer.content_type == "application/problem+json"


def test_a_session_cookie_opens_nothing(app: Any) -> None:
    app.get("/api/v1/account", headers={"Cookie": "mailganer=x"}, status=401)


def test_the_account_says_its_limits(client: Client) -> None:
    account = client.get("account").json
    assert account["email"] == "anna@example.com"
    assert account["limits"] == {"per_day": 200, "max_subscribers": 1000}
    assert account["usage"] == {"last_24h": 0, "subscribers": 0}


def test_every_operation_has_a_name_and_says_what_it_does(nobody: Client) -> None:
    paths = nobody.get("openapi.json").json["paths"].values()
    methods = ("get", "post", "patch", "delete")
    operations = [item[method] for item in paths for method in methods if method in item]
    assert all(each["summary"] for each in operations)
    assert len({each["operationId"] for each in operations}) == len(operations)
