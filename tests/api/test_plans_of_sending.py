"""Schedules and sending hours of a campaign, by API."""

from datetime import UTC, datetime, timedelta
from typing import Any

from mailganer.db import utcnow
from mailganer.errors import _
from tests.support.factories import Factory

from ..fixtures.api import client_of

HOURS = {"days": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"}
LATEST = (utcnow() + timedelta(days=60)).isoformat()


def test_hours_and_a_latest_start_are_kept_and_foreseen(app: Any, session: Any, make: Factory) -> None:
    account = make.account(timezone="Europe/Moscow")
    readers = make.list(account)
    make.subscribers(account, 30, readers)
    campaign = make.campaign(account, (readers,), (make.sender(account),))
    make.commit()
    anna, path = client_of(app, session, account, make), f"campaigns/{campaign.id}"
    found = anna.patch(path, {"hours": HOURS, "not_after": LATEST}).json
    assert found["hours"] == {**HOURS, "timezone": "Europe/Moscow"}
    assert found["not_after"] == LATEST
    (day,) = anna.post(f"{path}/check").json["forecast"]["days"]
    assert (day["letters"], day["senders"][0]["letters"]) == (30, 30)
    assert day["senders"][0]["starts_at"] == day["starts_at"]
    anna.patch(path, {"hours": {**HOURS, "days": []}}, status=422)
    assert anna.patch(path, {"hours": None, "not_after": None}).json["hours"] is None


def test_why_it_was_paused_and_why_a_sender_fails_is_said_in_the_accounts_language(
    app: Any, session: Any, make: Factory
) -> None:
    account = make.account(locale="ru", timezone="Europe/Moscow")
    sentence = _(
        "The campaign could not start on ${moment}. Nothing was sent. Start it now or cancel it.",
        mapping={"moment": datetime(2026, 11, 23, 9, tzinfo=UTC)},
    )
    sender = make.sender(
        account, status="failing", error=_("The server is full: ${reply}") % {"reply": "452 4.3.1"}
    )
    campaign = make.campaign(account, (), (sender,), status="paused", paused_reason=sentence)
    make.commit()
    anna = client_of(app, session, account, make)
    assert "23 ноября 2026 г., 12:00" in anna.get(f"campaigns/{campaign.id}").json["paused_reason"]
    assert anna.get(f"senders/{sender.id}").json["error"] == "The server is full: 452 4.3.1"
