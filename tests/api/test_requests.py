"""Validation of API requests and its errors."""

import gc
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.api.request_parsing import LARGEST_JSON
from mailganer.audience.birthdays import YEARLESS
from mailganer.models import Account
from tests.support.factories import Factory
from tests.support.smtp import SMTPServer

from ..fixtures.api import Client, client_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

TOO_LARGE = 2**63


# WebOb leaves the file of a large body to the garbage collector.
of_large_bodies = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def collected() -> Iterator[None]:
    yield
    gc.collect()


def fields(answer: Any) -> list[str]:
    assert answer.content_type == "application/problem+json"
    return sorted(error["field"] for error in answer.json["errors"])


@pytest.mark.parametrize("number", [0, -1, TOO_LARGE, 10**30, 1.5, "1", True])
def test_an_id_that_is_none_is_a_wrong_field(client: Client, number: Any) -> None:
    for field, value in (("lists", [number]), ("senders", [number]), ("template_id", number)):
        assert fields(client.post("campaigns", {field: value}, status=422))[0].startswith(field)
    campaign = client.post("campaigns", {"name": "x"}).json["id"]
    assert fields(client.post(f"campaigns/{campaign}/preview", {"subscriber_id": number}, status=422)) == [
        "subscriber_id"
    ]
    if not isinstance(number, str):
        client.get(f"campaigns/{campaign}/why?subscriber_id={number}", status=422)
    lst = client.post("lists", {"name": "x"}).json["id"]
    person = client.post(f"lists/{lst}/subscribers", {"email": "a@example.org"}).json["id"]
    assert fields(client.patch(f"subscribers/{person}", {"lists": [number]}, status=422))[0].startswith(
        "lists"
    )


def test_an_unknown_id_is_none_of_ours(client: Client) -> None:
    for field, value in (("lists", [TOO_LARGE - 1]), ("senders", [7]), ("template_id", TOO_LARGE - 1)):
        assert fields(client.post("campaigns", {field: value}, status=422)) == [field]


def test_a_head_is_a_get_without_its_body(client: Client, session: Session, account: Account) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    for path in ("account", "lists", f"lists/{lst}", f"lists/{lst}/subscribers", "campaigns", "openapi.json"):
        answer = client.app.head(f"/api/v1/{path}", headers=client.headers, status=200)
        assert answer.body == b""
        assert answer.content_type == "application/json"
        assert answer.content_length == len(client.get(path).body)
    assert client.app.head("/api/v1/lists/99", headers=client.headers, status=404).body == b""
    client.app.head("/api/v1/account", status=401)


def test_a_method_that_is_not_there_is_said_with_those_that_are(client: Client) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    for method, path, allowed in (
        ("PUT", "lists", "GET, HEAD, POST"),
        ("DELETE", "lists", "GET, HEAD, POST"),
        ("POST", f"lists/{lst}", "GET, HEAD, PATCH, DELETE"),
        ("GET", f"lists/{lst}/imports", "POST"),
        ("GET", "login", "POST"),
        ("HEAD", "login", "POST"),
        ("POST", "openapi.json", "GET, HEAD"),
    ):
        answer = client.app.request(f"/api/v1/{path}", method=method, headers=client.headers, status=405)
        if method != "HEAD":
            assert answer.json["title"] == "Method Not Allowed"
        assert answer.content_type == "application/problem+json"
        assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data",
                                  'multipart/form-data; boundary="a=b"', "", "application/xml"])  # fmt: skip
def test_a_body_of_another_kind_is_not_read(client: Client, kind: str) -> None:
    answer = client.app.request(
        "/api/v1/lists",
        method="POST",
        body=b'{"name": "x"}',
        headers=client.headers,
        environ={"CONTENT_TYPE": kind},
        expect_errors=True,
    )
    assert (answer.status_int, answer.content_type) == (415, "application/problem+json")


def test_json_may_say_its_charset(client: Client) -> None:
    headers = client.headers | {"Content-Type": "application/json; charset=utf-8"}
    client.app.post("/api/v1/lists", b'{"name": "x"}', headers=headers, status=201)


@of_large_bodies
@pytest.mark.usefixtures("collected")
def test_a_body_larger_than_any_email_is_not_read(client: Client) -> None:
    body = json.dumps({"name": "x", "html": "x" * LARGEST_JSON})
    headers = client.headers | {"Content-Type": "application/json"}
    for method in ("POST", "PATCH"):
        path = "/api/v1/templates" if method == "POST" else "/api/v1/templates/1"
        if method == "PATCH":
            client.post("templates", {"name": "x"}, status=201)
        answer = client.app.request(
            path, method=method, body=body.encode(), headers=headers, expect_errors=True
        )
        assert (answer.status_int, answer.content_type) == (413, "application/problem+json")


@of_large_bodies
@pytest.mark.usefixtures("collected")
def test_more_values_than_anyone_has_a_use_for_are_not_looked_at(client: Client) -> None:
    for body in ({"lists": ["a"] * 10_001}, {f"field{number}": 1 for number in range(10_001)}):
        assert fields(client.post("campaigns", body, status=422)) == ["body"]
    assert len(fields(client.post("campaigns", {"lists": ["a"] * 9_000}, status=422))) == 100
    client.post("campaigns", {"html": "<p>" + "ё, " * 100_000 + "</p>"}, status=201)


def test_each_unknown_and_each_missing_field_is_named(client: Client) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    assert fields(client.post("lists", {"name": "x", "colour": "red", "size": 3}, status=422)) == [
        "colour",
        "size",
    ]
    assert fields(client.post("lists", {}, status=422)) == ["name"]
    assert fields(client.post("login", {"backend": 3}, status=422)) == ["backend", "email"]
    assert fields(client.post(f"lists/{lst}/subscribers", {"first_name": 1}, status=422)) == [
        "email",
        "first_name",
    ]
    assert fields(client.post("lists", [], status=422)) == ["body"]
    hours = {"days": [8], "from": "9:00"}
    assert fields(client.post("campaigns", {"hours": hours}, status=422)) == [
        "hours/days/0",
        "hours/from",
        "hours/to",
    ]
    assert fields(client.post("campaigns", {"variables": {"city": []}}, status=422)) == ["variables/city"]
    for path in ("lists?limit=x", "campaigns?status=lost"):
        assert fields(client.get(path, status=422)) == [path.split("?")[1].split("=")[0]]


def test_what_is_wrong_with_a_field_is_said_in_the_callers_language(anonymous: Client) -> None:
    russian = Client(anonymous.app)
    russian.headers = {"Accept-Language": "ru"}
    answer = russian.post("login", {"email": "x" * 321, "port": "x", "security": "y"}, status=422).json
    assert len(answer["errors"]) == 3
    for error in answer["errors"]:
        assert any("а" <= email <= "я" for email in error["message"]), error
        assert len(error["message"]) < 200, "what was sent is not sent back"


def test_a_time_before_all_calendars_is_a_wrong_field(client: Client) -> None:
    for field in ("send_at", "not_after"):
        for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
            assert fields(client.post("campaigns", {field: moment}, status=422)) == [field]


def test_numbers_that_json_does_not_have_are_not_read(client: Client) -> None:
    headers = client.headers | {"Content-Type": "application/json"}
    for number in (b"NaN", b"Infinity", b"-Infinity"):
        body = b'{"variables": {"rate": ' + number + b"}}"
        assert fields(client.app.post("/api/v1/campaigns", body, headers=headers, status=400)) == ["body"]


@of_large_bodies
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("path", ["lists", "campaigns", "login", "senders", "templates"])
def test_json_that_cannot_be_parsed_is_a_request_that_cannot_be_read(client: Client, path: str) -> None:
    headers = client.headers | {"Content-Type": "application/json"}
    for body in (b'{"name": ', b"name=x", b'{"name": "\xff"}', b'{"name": "' + b"x" * 30_000):
        answer = client.app.post(f"/api/v1/{path}", body, headers=headers, status=400)
        assert answer.content_type == "application/problem+json"
        assert answer.json["detail"] == "The value is not valid JSON."


def test_a_parameter_given_twice_is_named_at_every_address(client: Client) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    for path, name in (
        ("campaigns?status=draft&status=sending", "status"),
        ("subscribers?status=active&status=bounced", "status"),
        ("subscribers?list=1&list=3", "list"),
        ("subscribers?q=&q=x", "q"),
        (f"lists/{lst}/subscribers?limit=1&limit=2", "limit"),
        ("account?lang=ru&lang=en", "lang"),
    ):
        answer = client.get(path, status=422)
        assert fields(answer) == [name]
        assert answer.json["detail"] == "This parameter is given more than once. Send one value."


def test_an_empty_address_or_list_does_not_mean_all_subscribers(client: Client) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    client.post(f"lists/{lst}/subscribers", {"email": "a@example.org"})
    for path in ("subscribers?email=", "subscribers?email=%20", f"lists/{lst}/subscribers?email="):
        assert fields(client.get(path, status=422)) == ["email"]
    assert fields(client.get("subscribers?list=", status=422)) == ["list"]
    assert len(client.get("subscribers?q=&status=&after=").json["items"]) == 1, "as a search box asks"


def test_what_a_field_may_hold_is_said_in_full(client: Client) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    body = {"email": "a@example.org", "fields": {"arr": [1]}}
    answer = client.post(f"lists/{lst}/subscribers", body, status=422).json["errors"]
    said = "Enter text, a number, true, false or null."
    assert answer == [{"field": "fields/arr", "message": said}]


def test_a_backend_a_host_and_a_port_that_are_not_to_be_used_are_named(
    anonymous: Client, smtp_server: SMTPServer
) -> None:
    body = {"email": "anna@example.com", "backend": "smtp", **smtp_server.settings}
    assert fields(anonymous.post("login", body | {"backend": "pigeon"}, status=422)) == ["backend"]
    assert fields(anonymous.post("login", body | {"email": "a@b"}, status=422)) == ["email"]
    assert fields(anonymous.post("login", body | {"email": "anna@example.com@x"}, status=422)) == ["email"]
    assert fields(anonymous.post("login", body | {"host": "169.254.169.254"}, status=422)) == ["host"]
    assert fields(anonymous.post("login", body | {"host": "1.1.1.1", "port": 22}, status=422)) == ["port"]


def whole(client: Client, path: str, **changes: Any) -> Any:
    """A client without PATCH gets the whole object, changes a field and puts all of it back."""
    return client.patch(path, client.get(path).json | changes).json


def test_what_get_answers_patch_takes(
    app: Any, session: Session, make: Factory, smtp_server: SMTPServer
) -> None:
    account = make.account()
    lst, sender, template = make.list(account), make.sender(account, smtp_server), make.template(account)
    campaign = make.campaign(account, (lst,), (sender,), variables={"city": {"value": "x", "override": True}})
    person = make.subscriber(account, "a@example.org", (lst,), fields={"city": "Omsk"})
    gone = make.subscriber(
        account, "gone@example.org", (lst,), status="unsubscribed", birthday=date(YEARLESS, 5, 14)
    )
    make.commit()
    smtp_server.stop()  # nothing about the mail account changes, so its server is not called
    anna = client_of(app, session, account, make)
    for path in (
        f"campaigns/{campaign.id}",
        f"lists/{lst.id}",
        f"templates/{template.id}",
        f"senders/{sender.id}",
    ):
        assert whole(anna, path, name="Another")["name"] == "Another", path
        anna.patch(path, {"colour": "red"}, status=422)
    for each in (person, gone):
        path = f"subscribers/{each.id}"
        before = anna.get(path).json
        assert whole(anna, path, first_name="Анна") == before | {"first_name": "Анна"}
    assert anna.patch(f"lists/{lst.id}", {"counts": {"active": 7}, "id": 3}).json["id"] == lst.id


def test_a_campaign_on_its_way_is_renamed_by_a_program_that_sends_all_of_it(
    app: Any, session: Session, make: Factory
) -> None:
    account = make.account()
    lst, sender = make.list(account), make.sender(account)
    values = {"send_at": make.now, "hours": None, "variables": {"city": {"value": "x", "override": True}}}
    campaigns = {
        status: make.campaign(account, (lst,), (sender,), status=status, **values)
        for status in ("scheduled", "sending", "paused", "finished")
    }
    make.commit()
    anna = client_of(app, session, account, make)
    for status, campaign in campaigns.items():
        path = f"campaigns/{campaign.id}"
        assert whole(anna, path, name=status)["name"] == status
        assert anna.patch(path, anna.get(path).json | {"lists": []}, status=409).json["detail"]


def test_only_subscribers_themselves_can_subscribe_again(client: Client) -> None:
    lst = client.post("lists", {"name": "x"}).json["id"]
    person = client.post(f"lists/{lst}/subscribers", {"email": "a@example.org"}).json["id"]
    path = f"subscribers/{person}"
    assert client.patch(path, {"status": "unsubscribed"}).json["status"] == "unsubscribed"
    assert fields(client.patch(path, {"status": "active"}, status=422)) == ["status"]
    assert fields(client.patch(path, {"status": "bounced"}, status=422)) == ["status"]
    assert fields(client.patch(path, {"status": "lost"}, status=422)) == ["status"]
