"""Changes and deletions while a campaign is sending: it sends the frozen email once to each recipient."""

from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

import pytest

from mailganer.accounts import close_account
from mailganer.backends import Limits
from mailganer.db import utcnow
from mailganer.models import Account, Campaign, CampaignStatus, Reason, Sender
from tests.fixtures.api import Client, client_of
from tests.sending.scripted import Script

DAYS = 4


class Half:
    """A campaign of which half is sent, and its owner's API client."""

    def __init__(
        self, client: Client, campaign: Campaign, template_id: int, go_on: Callable[[], None]
    ) -> None:
        self.client, self.campaign, self.template_id, self.go_on = client, campaign, template_id, go_on

    @property
    def list_id(self) -> int:
        return int(self.campaign.lists[0].id)

    @property
    def sender(self) -> Sender:
        return self.campaign.senders[0]


@pytest.fixture
def half(
    app: Any,
    make: Any,
    session: Any,
    due: Any,
    open_works: Any,
    clock: Any,
    script: Script,
    statuses: Any,
) -> Half:
    account = make.account("anna@example.com", plan="pro")
    template = make.template(account, html="<p>Dear {{ first_name }} of {{ list.name }}</p>")
    script.limits = Limits(per_day=5)
    campaign = due(10, account=account, html=template.html, template_id=template.id)
    assert campaign.lists[0].name  # loaded before another session changes it
    assert campaign.senders[0].name
    client, works = client_of(app, session, account, make), open_works(clock, script)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 5, "pending": 5}

    def go_on() -> None:
        for _day in range(DAYS):
            clock.forward(days=1, minutes=2)
            works.run(3)

    return Half(client, campaign, template.id, go_on)


def all_sent_once(half: Half, script: Script, statuses: Any, reload: Any) -> None:
    half.go_on()
    assert statuses(half.campaign.id) == {"sent": 10}
    assert set(script.got.values()) == {1}
    assert reload(half.campaign).status is CampaignStatus.finished


@pytest.mark.parametrize("change", ["edited", "deleted"])
def test_a_changed_or_deleted_template_changes_no_email(
    half: Half, script: Script, statuses: Any, reload: Any, change: str
) -> None:
    path = f"templates/{half.template_id}"
    if change == "edited":
        half.client.patch(path, {"html": "<p>Something else</p>", "subject": "Other"})
    else:
        half.client.delete(path, status=204)
    all_sent_once(half, script, statuses, reload)
    assert all(b"Something else" not in email.content for email in script.seen)
    emails = [message_from_bytes(email.content, policy=policy.default) for email in script.seen]
    assert all(email["Subject"].startswith("News for Имя") for email in emails)


def test_a_list_a_campaign_goes_to_cannot_be_deleted(
    half: Half, script: Script, statuses: Any, reload: Any
) -> None:
    half.client.delete(f"lists/{half.list_id}", status=409)
    half.client.patch(f"lists/{half.list_id}", {"name": "Others"})
    all_sent_once(half, script, statuses, reload)


def test_subscribers_added_or_removed_meanwhile_change_nothing(
    half: Half, script: Script, statuses: Any, deliveries: Any, reload: Any
) -> None:
    late = half.client.post(f"lists/{half.list_id}/subscribers", {"email": "late@example.org"})
    assert late.json["email"] == "late@example.org"
    waiting = deliveries(half.campaign.id)[8]
    half.client.patch(f"subscribers/{waiting.subscriber_id}", {"lists": []})
    all_sent_once(half, script, statuses, reload)
    assert "late@example.org" not in script.got


def test_a_waiting_recipient_who_changes_address_gets_one_email(
    half: Half, script: Script, statuses: Any, deliveries: Any, reload: Any
) -> None:
    waiting = deliveries(half.campaign.id)[8]
    change = {"email": "moved@example.org", "first_name": "Olga"}
    half.client.patch(f"subscribers/{waiting.subscriber_id}", change)
    all_sent_once(half, script, statuses, reload)
    assert len({"moved@example.org", waiting.email} & set(script.got)) == 1


def test_a_waiting_recipient_who_is_deleted_is_skipped_with_a_reason(
    half: Half, script: Script, statuses: Any, deliveries: Any, reload: Any
) -> None:
    had, waiting = deliveries(half.campaign.id)[0], deliveries(half.campaign.id)[8]
    for row in (had, waiting):
        half.client.delete(f"subscribers/{row.subscriber_id}", status=204)
    half.go_on()
    assert statuses(half.campaign.id) == {"sent": 9, "skipped": 1}
    assert deliveries(half.campaign.id)[8].reason is Reason.erased
    assert waiting.email not in script.got
    assert reload(half.campaign).status is CampaignStatus.finished


def test_a_campaign_on_its_way_is_neither_changed_nor_deleted(
    half: Half, script: Script, statuses: Any, reload: Any
) -> None:
    path = f"campaigns/{half.campaign.id}"
    for change in ({"html": "<p>Other</p>"}, {"lists": []}, {"senders": []}, {"subject": "Other"}):
        half.client.patch(path, change, status=409)
    half.client.delete(path, status=409)
    half.client.post(f"{path}/schedule", {}, status=409)
    all_sent_once(half, script, statuses, reload)


def test_a_sender_at_work_may_be_renamed_and_slowed_and_not_removed(
    half: Half, script: Script, statuses: Any, reload: Any, deliveries: Any
) -> None:
    path = f"senders/{half.sender.id}"
    half.client.delete(path, status=409)
    half.client.patch(path, {"name": "Other", "from_name": "Anna the Second", "limits": {"per_day": 2}})
    half.go_on()
    assert statuses(half.campaign.id) == {"sent": 10}
    assert set(script.got.values()) == {1}
    assert b"Anna the Second" in script.seen[-1].content
    days = {row.settled_at.date() for row in deliveries(half.campaign.id)}
    assert len(days) == 4  # five, two, two and one


def test_a_password_that_is_refused_changes_no_sender(
    half: Half, script: Script, smtp_server: Any, statuses: Any, reload: Any
) -> None:
    before = reload(half.sender).secrets
    half.client.patch(f"senders/{half.sender.id}", {"settings": {"password": "wrong"}}, status="4*")
    assert reload(half.sender).secrets == before
    all_sent_once(half, script, statuses, reload)


def test_a_closed_account_sends_nothing_more(
    half: Half, script: Script, sessions: Any, statuses: Any, deliveries: Any, reload: Any
) -> None:
    with sessions.begin() as session:
        close_account(session, session.get_one(Account, half.campaign.account_id), now=utcnow())
    half.go_on()
    assert len(script.seen) == 5
    assert statuses(half.campaign.id) == {"sent": 5, "skipped": 5}
    assert {row.reason for row in deliveries(half.campaign.id)[5:]} == {Reason.cancelled}
    assert reload(half.campaign).status is CampaignStatus.cancelled


def test_a_smaller_plan_stops_at_its_limit_and_loses_no_recipient(
    half: Half, script: Script, sessions: Any, statuses: Any, reload: Any
) -> None:
    with sessions.begin() as session:
        session.get_one(Account, half.campaign.account_id).plan = "free"
    all_sent_once(half, script, statuses, reload)
