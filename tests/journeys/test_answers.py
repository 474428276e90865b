"""Responses of the API, on whole installations that several tests share.

Every test has its own account.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.installation import Installation
from tests.support.pace import within
from tests.support.ports import wait_until
from tests.support.smtp import SMTPServer

from .api import API, APIError
from .autumn import bring, write


def test_the_same_key_does_a_thing_once(api: API) -> None:
    first = api.post("lists", {"name": "Once"}, key="k1")
    assert api.post("lists", {"name": "Once"}, key="k1") == first
    assert len(list(api.items("lists"))) == 1
    with pytest.raises(APIError) as refused:
        api.post("lists", {"name": "Another"}, key="k1")
    assert refused.value.status == 422


def test_rows_of_another_account_are_not_there(api: API, enter: Callable[[str], API]) -> None:
    list_id = bring(api, 3)
    campaign = write(api, list_id)
    stranger = enter("boris@example.com")
    subscriber = api.get(f"lists/{list_id}/subscribers")["items"][0]["id"]
    sender = api.get("senders")["items"][0]["id"]
    for path in (
        f"lists/{list_id}",
        f"lists/{list_id}/subscribers",
        f"subscribers/{subscriber}",
        f"senders/{sender}",
        f"campaigns/{campaign}",
        f"campaigns/{campaign}/report",
        f"campaigns/{campaign}/deliveries",
        "campaigns/999999",
    ):
        with pytest.raises(APIError) as refused:
            stranger.get(path)
        assert refused.value.status == 404, path


def test_a_wrong_password_is_said_in_the_servers_words(
    installation: Installation, smtp_server: SMTPServer
) -> None:
    with pytest.raises(APIError) as refused:
        API(installation.url).login(
            "anna@example.com", backend="smtp", **{**smtp_server.settings, "password": "wrong"}
        )
    assert refused.value.status == 401
    assert refused.value.body["reply"].startswith("535")


def test_an_unreachable_server_is_not_the_callers_fault(installation: Installation) -> None:
    with pytest.raises(APIError) as refused:
        API(installation.url).login(
            "anna@example.com", backend="smtp", host="127.0.0.1", port=1, security="none", password="x"
        )
    assert refused.value.status in {422, 502}


def test_without_a_token_nothing_is_answered(installation: Installation) -> None:
    for path in ("account", "lists", "campaigns", "campaigns/1"):
        with pytest.raises(APIError) as refused:
            API(installation.url).get(path)
        assert refused.value.status == 401, path


def test_a_campaign_that_is_not_ready_says_what_is_missing(api: API) -> None:
    campaign = api.post("campaigns", {"name": "Empty"})["id"]
    with pytest.raises(APIError) as refused:
        api.post(f"campaigns/{campaign}/schedule")
    assert refused.value.status == 409
    assert {each["code"] for each in refused.value.body["problems"] if each["blocking"]}
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    list_id = bring(api, 2)
    ready = write(api, list_id)
    with pytest.raises(APIError) as asked:
        api.post(f"campaigns/{ready}/schedule", {"send_at": past})
    assert asked.value.status == 422
    assert asked.value.body["errors"][0]["field"] == "send_at"


def test_the_document_is_served(installation: Installation) -> None:
    document = API(installation.url).get("openapi.json")
    assert document["openapi"].startswith("3.1")
    assert "/campaigns/{id}/schedule" in document["paths"]


def test_an_email_goes_out_within_seconds_of_the_word(api: API, smtp_server: SMTPServer) -> None:
    campaign = write(api, bring(api, 5))
    asked = time.monotonic()
    api.post(f"campaigns/{campaign}/schedule")
    wait_until(lambda: len(smtp_server.emails) == 5, 20, what="five emails")
    assert time.monotonic() - asked < within(10)
