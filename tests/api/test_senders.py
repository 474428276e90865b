"""Signing in and senders by API, against a real mail server."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer import accounts
from mailganer.backends.providers import PROVIDERS, Provider
from mailganer.db import utcnow
from mailganer.models import Account, Sender
from tests.support.smtp import SMTPServer

from ..fixtures.api import Client

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def login(server: SMTPServer, **changes: object) -> dict[str, object]:
    return {"email": "anna@example.com", "backend": "smtp", **server.settings, **changes}


def test_a_mail_account_that_can_send_opens_an_account_with_a_ready_sender(
    anonymous: Client, smtp_server: SMTPServer, ini_values: dict[str, str]
) -> None:
    answer = anonymous.post("login", login(smtp_server)).json
    assert answer["sender"]["status"] == "ready"
    anna = Client(anonymous.app, answer["token"])
    assert anna.get("account").json == answer["account"]
    again = anonymous.post("login", login(smtp_server)).json
    assert again["sender"]["id"] == answer["sender"]["id"]
    assert "secret" not in json.dumps(anna.get("senders").json)


def test_a_wrong_password_and_an_unreachable_server_are_distinguished(
    anonymous: Client, smtp_server: SMTPServer
) -> None:
    refused = anonymous.post("login", login(smtp_server, password="wrong"), status=401).json
    assert refused["reply"].startswith("535")
    smtp_server.stop()
    unreachable = anonymous.post("login", login(smtp_server), status=502).json
    assert unreachable["status"] == 502
    anonymous.post("login", login(smtp_server, security="magic"), status=422)
    anonymous.post("login", {"email": "no address", "backend": "smtp"}, status=422)
    anonymous.post("login", login(smtp_server, backend="pigeon"), status=422)


def test_an_address_of_gmail_is_not_proven_by_another_server(
    anonymous: Client, smtp_server: SMTPServer
) -> None:
    body = login(smtp_server, email="victim@gmail.com", username="anna@example.com")
    anonymous.post("login", body, status=422)


def test_a_sender_is_added_limited_changed_and_removed(client: Client, smtp_server: SMTPServer) -> None:
    body = {
        "email": "anna@example.com",
        "backend": "smtp",
        "from_name": "Анна",
        "settings": smtp_server.settings,
        "limits": {"per_day": 10},
    }
    sender = client.post("senders", body, status=201).json
    assert sender["limits"]["per_day"] == 10
    path = f"senders/{sender['id']}"
    assert client.patch(path, {"name": "Office", "limits": {"per_day": 20}}).json["limits"]["per_day"] == 20
    refused = client.patch(path, {"settings": {"password": "wrong"}}, status=401).json
    assert refused["reply"].startswith("535")
    assert client.get(path).json["name"] == "Office"
    client.patch(path, {"from_name": "A\r\nBcc: x@example.org"}, status=422)
    client.delete(path, status=204)
    client.get(path, status=404)


def meanwhile(server: SMTPServer, do: Callable[[], object]) -> None:
    """Run something else while the mail server processes the next login."""
    known = server.passwords

    class Thinking(dict[str, str]):
        def get(self, login: str, default: Any = None) -> Any:
            server.passwords = known
            do()
            return known.get(login, default)

    server.passwords = Thinking(known)


def own_sender(client: Client, server: SMTPServer) -> dict[str, Any]:
    body = {"email": "anna@example.com", "backend": "smtp", "settings": server.settings}
    return client.post("senders", body, status=201).json


def test_a_sender_takes_the_name_its_address_has_in_answers_and_fields_beside_it(
    client: Client, smtp_server: SMTPServer
) -> None:
    body = {"from_email": "anna@example.com", "backend": "smtp", "from_name": "Anna", **smtp_server.settings}
    sender = client.post("senders", body, status=201).json
    assert (sender["from_email"], sender["from_name"]) == ("anna@example.com", "Anna")
    assert sender["settings"]["port"] == smtp_server.port
    assert "secret" not in json.dumps(sender)


@one_database
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": ""}, "email"),
        ({"email": "anna@example"}, "email"),
        ({"email": "anna@example.com@x"}, "email"),
        ({"from_email": "boris@example.com"}, "from_email"),
        ({"hots": "127.0.0.1"}, "hots"),
    ],
)
def test_a_sender_is_not_guessed_at(
    client: Client, smtp_server: SMTPServer, changes: dict[str, str], field: str
) -> None:
    body = {"email": "anna@example.com", "backend": "smtp", **smtp_server.settings, **changes}
    errors = client.post("senders", body, status=422).json["errors"]
    assert [error["field"] for error in errors] == [field]


@one_database
def test_a_password_is_changed_flat_or_among_the_settings(client: Client, smtp_server: SMTPServer) -> None:
    sender = own_sender(client, smtp_server)
    path = f"senders/{sender['id']}"
    smtp_server.passwords["anna@example.com"] = "changed"
    client.patch(path, {"password": "secret"}, status=401)
    client.patch(path, {"password": "changed", "from_email": "anna@EXAMPLE.com"})
    changes = {"from_email": "boris@example.com", "email": "boris@example.com", "backend": "gmail"}
    for field, value in changes.items():
        refused = client.patch(path, {field: value}, status=422).json
        assert [error["field"] for error in refused["errors"]] == [field]
    client.patch(path, {"hots": "127.0.0.1"}, status=422)


@one_database
def test_an_address_and_a_password_are_enough_where_the_server_is_known(
    anonymous: Client, smtp_server: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Provider(smtp_server.host, smtp_server.port, "none")
    monkeypatch.setitem(PROVIDERS, "example.com", found)
    answer = anonymous.post("login", {"email": "anna@example.com", "password": "secret"}).json
    assert answer["sender"]["settings"]["host"] == smtp_server.host
    anna = Client(anonymous.app, answer["token"])
    smtp_server.passwords["news@example.com"] = "secret"
    anna.post("senders", {"email": "news@example.com", "password": "secret"}, status=201)


@one_database
def test_a_program_names_the_server_of_an_address_whose_provider_is_unknown(anonymous: Client) -> None:
    refused = anonymous.post(
        "login", {"backend": "smtp", "email": "anna@firma.example", "password": "x"}, status=422
    ).json
    assert [error["field"] for error in refused["errors"]] == ["host"]


@one_database
def test_another_server_than_the_known_one_keeps_its_own_port(anonymous: Client) -> None:
    registry = anonymous.app.app.registry["backends"]
    filled = registry.completed("smtp", "anna@mail.ru", {"password": "x"})
    assert (filled["host"], filled["port"], filled["security"]) == ("smtp.mail.ru", 465, "tls")
    other = {"host": "mail.firma.example", "password": "x"}
    assert registry.completed("smtp", "anna@mail.ru", other) == other


def test_a_sender_deleted_while_it_is_proven_stays_deleted(
    client: Client, smtp_server: SMTPServer, session: Session
) -> None:
    sender = own_sender(client, smtp_server)
    path = f"senders/{sender['id']}"

    def delete() -> None:
        accounts.delete_sender(session, session.get_one(Sender, sender["id"]), now=utcnow())
        session.commit()

    meanwhile(smtp_server, delete)
    client.patch(path, {"settings": {"password": "secret"}}, status=404)
    session.expire_all()
    assert session.get_one(Sender, sender["id"]).secrets is None


def test_an_account_closed_while_a_sender_is_proven_keeps_no_password(
    client: Client, smtp_server: SMTPServer, session: Session, account: Account
) -> None:
    def close() -> None:
        accounts.close_account(session, account, now=utcnow())
        session.commit()

    meanwhile(smtp_server, close)
    body = {"email": "anna@example.com", "backend": "smtp", "settings": smtp_server.settings}
    client.post("senders", body, status=404)
    session.expire_all()
    assert session.scalars(select(Sender)).all() == []
