"""Explanations of single deliveries by API."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.audience import erase_subscriber
from mailganer.db import utcnow
from mailganer.models import Account, Campaign, Delivery, DeliveryStatus, Reason, Subscriber
from mailganer.reports import ExplanationCode
from mailganer.tracking import open_buffer
from tests.support.factories import Factory
from tests.support.sent import sent_campaign, token

from ..fixtures.api import Client

S = DeliveryStatus


@pytest.fixture
def people(session: Session, make: Factory, account: Account) -> list[Subscriber]:
    make.now = utcnow() - timedelta(days=1)
    account.timezone, account.locale = "Europe/Moscow", "ru"
    readers = make.list(account, "Друзья")
    return [make.subscriber(account, f"p{n}@example.org", (readers,)) for n in range(4)]


@pytest.fixture
def campaign(session: Session, make: Factory, account: Account, people: list[Subscriber]) -> Campaign:
    campaign = make.campaign(account, tuple(people[0].lists), (make.sender(account),))
    states = [S.sent, S.failed, S.in_doubt]
    deliveries = sent_campaign(session, campaign, people[:3], utcnow(), states)
    deliveries[0].reply = "250 2.0.0 kept"
    deliveries[1].reason, deliveries[1].reply = Reason.refused, "550 5.1.1 no such user"
    deliveries[2].reason = Reason.interrupted
    session.commit()
    return campaign


def ask(client: Client, campaign: Campaign, query: str = "", **options: Any) -> Any:
    return client.get(f"campaigns/{campaign.id}/why?{query}", **options).json


def test_every_step_has_a_code_a_sentence_and_what_is_known(client: Client, campaign: Campaign) -> None:
    found = ask(client, campaign, "email=P0@example.org")
    assert (found["email"], found["status"]) == ("p0@example.org", "sent")
    assert [step["code"] for step in found["steps"]] == ["on_list", "planned", "accepted", "not_opened"]
    on_list, _planned, accepted, _opened = found["steps"]
    assert on_list["sentence"].startswith("В списке «Друзья» с ")
    assert on_list["details"]["lists"] == ["Друзья"]
    assert accepted["details"]["reply"] == "250 2.0.0 kept"
    assert accepted["details"]["sender"] == "anna@example.com"
    assert accepted["at"].endswith("+00:00")


def test_a_failure_and_a_doubt_come_with_their_evidence(client: Client, campaign: Campaign) -> None:
    refused = ask(client, campaign, "email=p1@example.org")["steps"][-1]
    assert (refused["code"], refused["details"]["reply"]) == ("refused", "550 5.1.1 no such user")
    doubt = ask(client, campaign, "email=p2@example.org")["steps"]
    assert [step["code"] for step in doubt[-3:]] == ["interrupted", "in_doubt", "your_word"]
    assert doubt[-2]["details"]["message_id"].startswith("<")


def test_a_subscriber_without_an_email_is_answered_by_id_and_by_address(
    client: Client, campaign: Campaign, people: list[Subscriber]
) -> None:
    found = ask(client, campaign, f"subscriber_id={people[3].id}")
    assert found == ask(client, campaign, "email=p3@example.org")
    assert (found["delivery_id"], found["status"]) == (None, None)
    assert found["steps"][-1]["code"] == "not_planned"


def test_no_one_learns_of_strangers(
    client: Client, stranger: Client, session: Session, make: Factory, campaign: Campaign
) -> None:
    theirs = make.subscriber(make.account(), "theirs@example.org")
    session.commit()
    unknown = [ask(client, campaign, f"email={name}@example.org") for name in ("theirs", "nobody")]
    assert [[step["code"] for step in each["steps"]] for each in unknown] == [["unknown"], ["unknown"]]
    ask(client, campaign, f"subscriber_id={theirs.id}", status=404)
    ask(client, campaign, "subscriber_id=4711", status=404)
    ask(stranger, campaign, "email=p0@example.org", status=404)
    ask(stranger, campaign, "", status=404)


def test_the_erased_are_not_found_by_their_address(
    client: Client, session: Session, campaign: Campaign, people: list[Subscriber]
) -> None:
    erase_subscriber(session, people[0])
    session.commit()
    assert [step["code"] for step in ask(client, campaign, "email=p0@example.org")["steps"]] == ["unknown"]


@pytest.mark.parametrize("query", ["", "email=", "email=anna", "subscriber_id=x", "email=a%00@example.org"])
def test_a_request_for_no_subscriber_is_a_wrong_field(client: Client, campaign: Campaign, query: str) -> None:
    assert ask(client, campaign, query, status=422)["errors"]


def test_the_document_names_every_code(anonymous: Client) -> None:
    document = anonymous.get("openapi.json").json
    assert document["components"]["schemas"]["Step"]["properties"]["code"]["enum"] == [*ExplanationCode]


@pytest.mark.parametrize("path", ["report", "deliveries", "why?email=p0@example.org"])
def test_a_new_open_is_in_the_next_response(
    client: Client, app: Any, campaign: Campaign, session: Session, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(open_buffer, "LONGEST_WAIT", 60)
    email = session.scalars(select(Delivery).where(Delivery.status == S.sent)).one()
    pixel, asked = f"/o/{token(email)}.gif", f"campaigns/{campaign.id}/{path}"
    session.rollback()
    before = client.get(asked).json
    app.get(pixel, headers={"User-Agent": "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"})
    assert client.get(asked).json != before
