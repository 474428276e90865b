"""A POST with an Idempotency-Key is executed once."""

import hashlib
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.models import Account, IdempotentResponse
from tests.support.factories import Factory
from tests.support.smtp import SMTPServer

from ..fixtures.api import Client, client_of

CSV = b"email,name\nboris@example.org,Boris\n"


def upload(client: Client, path: str, boundary: str, content: bytes, key: str, **options: Any) -> Any:
    """A file as an API client sends it: each time with another boundary."""
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="people.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    ).encode()
    body += content + f"\r\n--{boundary}--\r\n".encode()
    headers = client.headers | {
        "Idempotency-Key": key,
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    return client.app.post(f"/api/v1/{path}", body, headers=headers, **options)


@pytest.fixture
def imports(client: Client) -> str:
    return f"lists/{client.post('lists', {'name': 'Readers'}).json['id']}/imports"


def test_a_file_sent_again_is_imported_once(client: Client, imports: str) -> None:
    first = upload(client, imports, "one", CSV, "k", status=202).json
    assert upload(client, imports, "two", CSV, "k", status=202).json == first
    other = upload(client, imports, "three", CSV + b"vera@example.org,Vera\n", "k", status=422)
    assert other.json["errors"][0]["field"] == "Idempotency-Key"


def test_a_key_that_is_too_long_is_a_wrong_field(client: Client, imports: str) -> None:
    for answer in (
        upload(client, imports, "one", CSV, "k" * 201, status=422),
        client.post("lists", {"name": "x"}, key="k" * 201, status=422),
    ):
        assert [each["field"] for each in answer.json["errors"]] == ["Idempotency-Key"]
    client.post("lists", {"name": "x"}, key="k" * 200, status=201)


def at_once(*requests: Any) -> list[Any]:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_two_at_once_with_one_key_are_done_once(client: Client) -> None:
    def ask() -> Any:
        return client.post("lists", {"name": "Once"}, key="k", status="*")

    answers = at_once(*[ask] * 4)
    assert [answer.status_int for answer in answers] == [201] * 4
    assert len({answer.json["id"] for answer in answers}) == 1


def test_two_test_emails_at_once_with_one_key_are_one(
    app: Any, session: Session, make: Factory, smtp_server: SMTPServer
) -> None:
    account = make.account()
    lst = make.list(account)
    make.subscribers(account, 1, lst)
    campaign = make.campaign(account, (lst,), (make.sender(account, smtp_server),))
    make.commit()
    anna = client_of(app, session, account, make)

    def ask() -> Any:
        return anna.post(f"campaigns/{campaign.id}/test", {"to": ["me@example.org"]}, key="k", status="*")

    answers = at_once(ask, ask, ask)
    assert {answer.status_int for answer in answers} <= {200, 409}
    assert len(smtp_server.emails) == 1
    assert ask().json["receipts"][0]["outcome"] == "accepted"
    assert len(smtp_server.emails) == 1


def test_a_request_refused_half_way_does_not_use_its_key_up(client: Client, smtp_server: SMTPServer) -> None:
    settings = smtp_server.settings
    body = {"email": "anna@example.com", "backend": "smtp", "settings": settings | {"password": "wrong"}}
    client.post("senders", body, key="k", status=401)
    client.post("senders", body | {"settings": settings}, key="k", status=201)


def test_what_broke_off_is_not_done_again_by_itself(
    client: Client, session: Session, account: Account
) -> None:
    digest = hashlib.sha256(b"POST /api/v1/lists\n" + b'{"name": "x"}').digest()
    now = datetime.now(UTC)
    session.add(
        IdempotentResponse(account_id=account.id, key="k", fingerprint=digest, status=0, created_at=now)
    )
    session.commit()
    headers = client.headers | {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = client.app.post("/api/v1/lists", b'{"name": "x"}', headers=headers, status=409)
    assert answer.content_type == "application/problem+json"


def test_no_token_is_kept(client: Client, session: Session, smtp_server: SMTPServer) -> None:
    body = {"email": "anna@example.com", "backend": "smtp", **smtp_server.settings}
    first = client.post("login", body, key="k").json["token"]
    assert client.post("login", body, key="k").json["token"] != first
    assert session.scalars(select(IdempotentResponse)).all() == []
