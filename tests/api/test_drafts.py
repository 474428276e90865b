"""Draft campaigns by API: values are returned as they were sent."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.db import utcnow
from mailganer.models import Account, Campaign

from ..fixtures.api import Client
from ..support.factories import Factory

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def ready(make: Factory, session: Session, account: Account) -> Campaign:
    """Create a draft that can be scheduled."""
    readers = make.list(account)
    make.subscriber(account, "olga@example.org", (readers,))
    campaign = make.campaign(account, (readers,), (make.sender(account),))
    session.commit()
    return campaign


def test_variables_come_back_as_they_were_given(client: Client) -> None:
    given = {
        "city": "Omsk",
        "seats": 12,
        "price": 9.5,
        "place": {"value": "Hall 2", "override": True},
        "year": {"value": 2027, "override": True},
    }
    made = client.post("campaigns", {"variables": given}, status=201).json
    assert made["variables"] == given
    assert client.get(f"campaigns/{made['id']}").json["variables"] == given
    again = client.patch(f"campaigns/{made['id']}", {"variables": made["variables"]}).json
    assert again["variables"] == given


@one_database
def test_a_variable_that_does_not_override_is_a_plain_value(client: Client) -> None:
    given = {"city": {"value": "Omsk", "override": False}, "seats": {"value": 12}}
    made = client.post("campaigns", {"variables": given}, status=201).json
    assert made["variables"] == {"city": "Omsk", "seats": 12}


@one_database
def test_a_number_that_nothing_can_hold_is_kept_as_a_text(client: Client) -> None:
    made = client.app.post(
        "/api/v1/campaigns",
        '{"variables": {"much": 1e999}}',
        headers=client.headers | {"Content-Type": "application/json"},
        status=201,
    )
    assert made.json["variables"]["much"] == "inf"


@one_database
def test_numbers_reach_the_email_as_they_were_written(client: Client, ready: Campaign) -> None:
    client.patch(
        f"campaigns/{ready.id}", {"variables": {"seats": 12}, "html": "<p>{{ seats }} seats left</p>"}
    )
    assert "12 seats left" in client.post(f"campaigns/{ready.id}/preview").json["html"]


def test_a_sender_that_is_deleted_leaves_the_drafts_that_named_it(
    client: Client, ready: Campaign, make: Factory, session: Session, account: Account
) -> None:
    other = make.sender(account, from_email="news@example.com")
    session.commit()
    first = client.get(f"campaigns/{ready.id}").json["senders"][0]
    client.patch(f"campaigns/{ready.id}", {"senders": [first, other.id]})
    client.delete(f"senders/{first}", status=204)
    left = client.get(f"campaigns/{ready.id}").json["senders"]
    assert left == [other.id]
    assert client.patch(f"campaigns/{ready.id}", {"senders": left}).json["senders"] == left


def test_a_scheduled_campaign_is_taken_back_and_gets_another_time(client: Client, ready: Campaign) -> None:
    path = f"campaigns/{ready.id}"
    first, second = (utcnow() + timedelta(days=days) for days in (1, 2))
    assert client.post(f"{path}/schedule", {"send_at": first.isoformat()}).json["status"] == "scheduled"
    refused = client.patch(path, {"send_at": second.isoformat()}, status=409).json
    assert f"{path}/unschedule" in refused["detail"]
    assert client.post(f"{path}/unschedule").json["status"] == "draft"
    client.post(f"{path}/unschedule", status=409)
    client.patch(path, {"subject": "Changed meanwhile"})
    again = client.post(f"{path}/schedule", {"send_at": second.isoformat()}).json
    assert (again["status"], again["send_at"]) == ("scheduled", second.isoformat())


@one_database
def test_another_accounts_campaign_cannot_be_taken_back(stranger: Client, ready: Campaign) -> None:
    stranger.post(f"campaigns/{ready.id}/unschedule", status=404)


@one_database
def test_the_same_template_again_keeps_what_was_edited_and_fills_what_is_empty(
    client: Client, make: Factory, account: Account, session: Session
) -> None:
    template = make.template(account, subject="Kept", preheader="Words", html="<p>Kept</p>")
    session.commit()
    made = client.post("campaigns", {"template_id": template.id}, status=201).json
    path = f"campaigns/{made['id']}"
    client.patch(path, {"subject": "My own", "preheader": ""})
    again = client.patch(path, {"template_id": template.id, "name": "Renamed"}).json
    assert (again["subject"], again["preheader"], again["html"]) == ("My own", "Words", "<p>Kept</p>")
    client.patch(path, {"template_id": None})
    anew: Any = client.patch(path, {"template_id": template.id}).json
    assert anew["subject"] == "Kept", "left and chosen again, it begins anew"
