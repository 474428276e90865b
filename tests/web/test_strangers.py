"""Rows of another account are 404 on every route with an id, on pages and in the API."""

import re
from typing import Any

import pytest
from pyramid.interfaces import IRoutesMapper

from mailganer.api import PREFIX
from mailganer.web.routes import FIRST_PAGES, PAGES

from ..fixtures.api import client_of
from ..support.factories import Factory

METHODS = ("GET", "POST", "PATCH", "DELETE")
POSTED = [(name, pattern) for name, pattern, _factory in (*FIRST_PAGES, *PAGES)]


def path_of(pattern: str, factory: Any, ids: dict[str, int]) -> str:
    path = re.sub(r"\{id(:[^}]*)?\}", str(ids[factory.__name__]), pattern)
    return re.sub(r"\{delivery:[^}]*\}", "1", path)


def routes_with_ids(wsgi_app: Any, under_api: bool) -> list[Any]:
    routes = wsgi_app.registry.getUtility(IRoutesMapper).get_routes()
    found = [
        route
        for route in routes
        if "{id" in route.pattern and route.pattern.lstrip("/").startswith("api/") == under_api
    ]
    assert len(found) > (15 if under_api else 40)
    return found


def test_no_page_shows_or_changes_rows_of_another_account(
    wsgi_app: Any, anna: Any, of_boris: dict[str, int]
) -> None:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    for route in routes_with_ids(wsgi_app, under_api=False):
        path = "/" + path_of(route.pattern, route.factory, of_boris).lstrip("/")
        asked = anna.get(path, expect_errors=True)
        assert asked.status_int == 404, path
        assert "secret.reader" not in asked
        posted = anna.post(path, {"csrf_token": token}, expect_errors=True)
        assert posted.status_int == 404, path


def test_no_request_of_the_api_shows_or_changes_rows_of_another_account(
    wsgi_app: Any, app: Any, session: Any, make: Factory, of_boris: dict[str, int]
) -> None:
    headers = client_of(app, session, make.account("anna@example.com"), make).headers
    for route in routes_with_ids(wsgi_app, under_api=True):
        path = "/" + path_of(route.pattern, route.factory, of_boris).lstrip("/")
        for method in METHODS:
            body = b"{}" if method in ("POST", "PATCH") else b""
            answer = app.request(
                path,
                method=method,
                body=body,
                headers=headers | {"Content-Type": "application/json"},
                expect_errors=True,
            )
            assert answer.status_int == 404, (method, path)
            assert answer.content_type == "application/problem+json"


def test_rows_of_another_account_cannot_be_named_in_a_body(
    app: Any, session: Any, make: Factory, of_boris: dict[str, int]
) -> None:
    client = client_of(app, session, make.account("anna@example.com"), make)
    for field, kind in (("lists", "ListContext"), ("senders", "SenderContext")):
        answer = client.post("campaigns", {"name": "Mine", field: [of_boris[kind]]}, expect_errors=True)
        assert answer.status_int in (404, 422), field
    answer = client.post("campaigns", {"template_id": of_boris["TemplateContext"]}, expect_errors=True)
    assert answer.status_int in (404, 422)
    own = client.post("campaigns", {"name": "Mine"}).json["id"]
    client.post(f"campaigns/{own}/preview", {"subscriber_id": of_boris["SubscriberContext"]}, status=404)
    assert client.get("lists").json["items"] == []
    assert client.get("senders").json["items"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_page_of_the_table_takes_a_form_without_its_token(anna: Any, of_anna: dict[str, int]) -> None:
    """Only the recipients' one-click unsubscribe needs no token. The rows are anna's own."""
    refused = set()
    for name, pattern, factory in (*FIRST_PAGES, *PAGES):
        path = path_of(pattern, factory, of_anna) if "{id" in pattern else pattern
        answer = anna.post(re.sub(r"\{[^}]*\}", "welcome", path), {"name": "forged"}, expect_errors=True)
        assert answer.status_int in (400, 404, 405), name
        if answer.status_int == 400:
            assert "This form has expired" in answer, name
            refused.add(name)
    assert {"settings.close", "sender.delete", "list.delete", "subscriber.delete", "campaign.send"} <= refused
    assert {"import.undo", "template.delete", "settings.token_delete", "sign_in", "sign_out"} <= refused
    assert anna.get("/settings").status_int == 200  # nothing signed anna out or closed the account
    anna.post("/u/unknown", {"List-Unsubscribe": "One-Click"}, expect_errors=True).mustcontain(
        no="form has expired"
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_answer_brings_the_headers_that_protect_it(wsgi_app: Any, anna: Any) -> None:
    for name, pattern in (*POSTED, ("api", f"{PREFIX}/account"), ("reader", "/u/x"), ("none", "/none")):
        path = re.sub(r"\{(id|delivery):[^}]*\}", "1", pattern)
        answer = anna.get(re.sub(r"\{[^}]*\}", "welcome", path), expect_errors=True)
        assert answer.status_int < 500, name
        assert answer.headers["X-Content-Type-Options"] == "nosniff", name
        assert "unsafe-inline' 'self" not in answer.headers["Content-Security-Policy"], name
        assert "script-src" not in answer.headers["Content-Security-Policy"], name
        assert answer.headers["Referrer-Policy"] in ("same-origin", "no-referrer"), name
        for cookie in answer.headers.getall("Set-Cookie"):
            assert "httponly" in cookie.lower(), name
            assert "samesite=lax" in cookie.lower(), name


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_pages_of_development_are_not_there_in_production(app: Any) -> None:
    for path in ("/design", "/outbox", "/outbox/x", "/outbox/x/frame", "/_debug_toolbar"):
        app.get(path, status=404)
