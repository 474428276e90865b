from datetime import timedelta

import pytest

from mailganer.campaigns import create_draft, delete_draft, duplicate, update_draft
from mailganer.campaigns.drafts import copy_name
from mailganer.errors import Conflict, InputError, NotFound
from mailganer.models import Campaign, CampaignStatus, SenderStatus, owned


def test_a_new_draft_has_the_sender_that_can_send_and_the_accounts_language(session, make, now):
    account = make.account(locale="ru")
    make.sender(account, status=SenderStatus.failing)
    ready = make.sender(account)
    draft = create_draft(session, account, now)
    assert draft.senders == [ready]
    assert draft.locale == "ru"
    assert draft.status is CampaignStatus.draft


def test_saving_raises_the_revision_and_saving_the_same_does_not(session, campaign, now):
    update_draft(session, campaign, {"subject": "Hello"}, now)
    assert campaign.revision == 1
    update_draft(session, campaign, {"subject": "Hello"}, now)
    assert campaign.revision == 1


def test_a_second_tab_does_not_overwrite_the_first(session, campaign, now):
    update_draft(session, campaign, {"subject": "First tab"}, now, revision=0)
    with pytest.raises(Conflict):
        update_draft(session, campaign, {"subject": "Second tab"}, now, revision=0)
    assert campaign.subject == "First tab"


def test_everything_wrong_is_said_at_once_and_nothing_is_saved(session, campaign, now):
    changes = {"name": "n" * 201, "locale": "de", "lists": [10**9], "subject": "New"}
    with pytest.raises(InputError) as caught:
        update_draft(session, campaign, changes, now)
    assert set(caught.value.fields) == {"name", "locale", "lists"}
    assert campaign.subject != "New"


def test_a_list_or_sender_of_another_account_is_not_there(session, make, campaign, now):
    other = make.account()
    for name, thing in (("lists", make.list(other)), ("senders", make.sender(other))):
        with pytest.raises(InputError):
            update_draft(session, campaign, {name: [thing.id]}, now)


def test_senders_keep_the_order_they_were_given(session, make, account, campaign, now):
    first, second = make.sender(account), make.sender(account)
    update_draft(session, campaign, {"senders": [second.id, first.id]}, now)
    session.expire(campaign)
    assert campaign.senders == [second, first]


def test_a_template_fills_the_email_but_not_what_is_given_beside_it(session, make, account, campaign, now):
    template = make.template(account, subject="From the template", html="<p>Template</p>")
    update_draft(session, campaign, {"template_id": template.id, "subject": "My own"}, now)
    assert (campaign.subject, campaign.html) == ("My own", "<p>Template</p>")


def test_a_pasted_subject_becomes_one_line(session, campaign, now):
    update_draft(session, campaign, {"subject": "Two\r\n  lines\x00"}, now)
    assert campaign.subject == "Two lines"


@pytest.mark.parametrize("name", ["campaign", "today", "two words", "1st", "", "_x", "if", "a" * 64])
def test_a_variable_needs_a_name_that_emails_can_say(session, campaign, now, name):
    with pytest.raises(InputError):
        update_draft(session, campaign, {"variables": {name: "x"}}, now)


def test_a_plain_text_is_a_variable_that_fills_gaps(session, campaign, now):
    update_draft(
        session, campaign, {"variables": {"city": "Москва", "код": {"value": "1", "override": True}}}, now
    )
    assert campaign.variables == {
        "city": {"value": "Москва", "override": False},
        "код": {"value": "1", "override": True},
    }


def test_a_time_that_has_passed_is_asked_again(session, campaign, now):
    with pytest.raises(InputError) as caught:
        update_draft(session, campaign, {"send_at": now - timedelta(hours=1)}, now)
    assert "send_at" in caught.value.fields


@pytest.mark.parametrize(
    "status", [CampaignStatus.scheduled, CampaignStatus.sending, CampaignStatus.finished]
)
def test_what_is_on_its_way_cannot_be_rewritten_but_can_be_renamed(session, campaign, now, status):
    campaign.status = status
    with pytest.raises(Conflict):
        update_draft(session, campaign, {"subject": "Too late"}, now)
    update_draft(session, campaign, {"name": "Another name"}, now)
    assert campaign.name == "Another name"


def test_while_it_is_paused_the_email_can_be_corrected_and_the_recipients_cannot(
    session, campaign, readers, now
):
    campaign.status = CampaignStatus.paused
    update_draft(session, campaign, {"subject": "Corrected"}, now)
    assert campaign.subject == "Corrected"
    with pytest.raises(Conflict):
        update_draft(session, campaign, {"lists": []}, now)


def test_a_field_is_unknown_is_refused(session, campaign, now):
    with pytest.raises(InputError):
        update_draft(session, campaign, {"status": "sending"}, now)


def test_a_duplicate_is_a_draft_with_the_same_recipients_and_email(session, campaign, now):
    campaign.status = CampaignStatus.finished
    copy = duplicate(session, campaign, now)
    assert copy.status is CampaignStatus.draft
    assert (copy.lists, copy.senders, copy.html) == (campaign.lists, campaign.senders, campaign.html)
    assert copy.name == "November (2)"
    assert copy.send_at is None


def test_copies_are_numbered():
    assert [copy_name(name) for name in ("", "News", "News (2)", "n" * 200)] == [
        "",
        "News (2)",
        "News (3)",
        "n" * 196 + " (2)",
    ]


def test_only_a_draft_can_be_deleted(session, campaign):
    campaign.status = CampaignStatus.sending
    with pytest.raises(Conflict):
        delete_draft(session, campaign)
    campaign.status = CampaignStatus.draft
    campaign_id = campaign.id
    delete_draft(session, campaign)
    assert session.get(Campaign, campaign_id) is None


def test_another_accounts_campaign_is_not_there(session, make, campaign):
    with pytest.raises(NotFound):
        owned(session, Campaign, make.account().id, campaign.id)
