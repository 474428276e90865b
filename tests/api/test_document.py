"""The OpenAPI document, and requests that do not match it."""

from collections.abc import Iterator
from typing import Any

from openapi_spec_validator import validate

from ..fixtures.api import Client


def test_the_document_is_valid_and_served(anonymous: Client) -> None:
    document = anonymous.get("openapi.json").json
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_the_document_lists_the_languages_of_the_installation(anonymous: Client, client: Client) -> None:
    schemas = anonymous.get("openapi.json").json["components"]["schemas"]
    assert schemas["CampaignChanges"]["properties"]["locale"]["enum"] == ["en", "ru"]
    created = client.post("campaigns", {"name": "November", "locale": "xx"}, status=422)
    assert "English (en), Русский (ru)" in created.json["errors"][0]["message"]


def test_what_is_not_there_is_a_problem_document(anonymous: Client, client: Client) -> None:
    for path in ("nothing", "lists/1/nothing"):
        assert client.get(path, status=404).content_type == "application/problem+json"
    assert (
        client.app.put("/api/v1/lists", headers=client.headers, status=405).content_type
        == "application/problem+json"
    )


def test_a_body_that_is_no_json_is_said_so(app: Any, client: Client) -> None:
    for body, kind, status in (
        (b"{", "application/json", 400),
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


def test_every_operation_has_a_name_and_says_what_it_does(anonymous: Client) -> None:
    paths = anonymous.get("openapi.json").json["paths"].values()
    methods = ("get", "post", "patch", "delete")
    operations = [item[method] for item in paths for method in methods if method in item]
    assert all(each["summary"] for each in operations)
    assert len({each["operationId"] for each in operations}) == len(operations)


def test_a_query_parameter_that_no_address_takes_is_refused_by_name(
    client: Client, anonymous: Client
) -> None:
    """Without this check a misspelt filter would return everything."""
    for path in ("lists?colour=red", "campaigns?limits=5", "account?x=", "subscribers?emial=a@example.org"):
        answer = client.get(path, status=422)
        name = path.partition("?")[2].partition("=")[0]
        assert [each["field"] for each in answer.json["errors"]] == [name]
    assert "Did you mean “email”?" in client.get("subscribers?emial=x", status=422).json["detail"]
    client.post("lists?dry_run=true", {"name": "Friends"}, status=422)
    assert client.get("lists?lang=ru&limit=&after=").json["items"] == []
    anonymous.get("lists?colour=red", status=401)


def test_a_query_parameter_with_two_values_is_refused(client: Client) -> None:
    """Only one of them would be used, and it is not defined which."""
    for path in ("subscribers?status=active&status=bounced", "lists?limit=1&limit=2"):
        answer = client.get(path, status=422)
        assert [each["field"] for each in answer.json["errors"]] == [path.partition("?")[2].partition("=")[0]]
    client.get("subscribers?q=&lang=ru", status=200)


def test_an_upload_refuses_unknown_parameters_too(client: Client) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    client.app.post(
        f"/api/v1/lists/{lst}/imports?aply=false",
        headers=client.headers,
        upload_files=[("file", "people.csv", b"email\na@example.org\n")],
        status=422,
    )


def test_every_parameter_of_the_document_is_taken(client: Client) -> None:
    document = client.get("openapi.json").json
    shared = document["components"]["parameters"]
    for path, item in document["paths"].items():
        for given in item.get("get", {}).get("parameters", ()):
            each = shared[given["$ref"].rpartition("/")[2]] if "$ref" in given else given
            answer = client.get(f"{path.strip('/').replace('{id}', '999')}?{each['name']}=", status="*")
            assert "Unknown parameter" not in answer.text, (path, each["name"])


def test_files_are_binary_and_descriptions_are_whole(anonymous: Client) -> None:
    """A comma in a description without quotes would begin another, empty key."""
    document = anonymous.get("openapi.json").json
    form = document["paths"]["/lists/{id}/imports"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    assert list(empty_keys(document)) == []


def empty_keys(value: Any) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if inner is None:
            yield str(key)
        elif isinstance(inner, dict | list):
            yield from empty_keys(inner)
