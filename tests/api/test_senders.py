"""Signing in and senders by API, against a real mail server."""

import json

from tests.support.smtp import SMTPServer

from ..fixtures.api import Client


def login(server: SMTPServer, **changes: object) -> dict[str, object]:
    return {"email": "anna@example.com", "backend": "smtp", **server.settings, **changes}


def test_a_mail_account_that_can_send_opens_an_account_with_a_ready_sender(
    nobody: Client, smtp_server: SMTPServer, ini_values: dict[str, str]
) -> None:
    answer = nobody.post("login", login(smtp_server)).json
    assert answer["sender"]["status"] == "ready"
    anna = Client(nobody.app, answer["token"])
    assert anna.get("account").json == answer["account"]
    again = nobody.post("login", login(smtp_server)).json
    assert again["sender"]["id"] == answer["sender"]["id"]
    assert "secret" not in json.dumps(anna.get("senders").json)


def test_a_wrong_password_and_an_unreachable_server_are_told_apart(
    nobody: Client, smtp_server: SMTPServer
) -> None:
    refused = nobody.post("login", login(smtp_server, password="wrong"), status=401).json
    assert refused["reply"].startswith("535")
    smtp_server.stop()
    unreachable = nobody.post("login", login(smtp_server), status=502).json
    assert unreachable["status"] == 502
    nobody.post("login", login(smtp_server, security="magic"), status=422)
    nobody.post("login", {"email": "no address", "backend": "smtp"}, status=422)
    nobody.post("login", login(smtp_server, backend="pigeon"), status=422)


def test_an_address_of_gmail_is_not_proven_by_another_server(nobody: Client, smtp_server: SMTPServer) -> None:
    body = login(smtp_server, email="victim@gmail.com", username="anna@example.com")
    nobody.post("login", body, status=422)


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
