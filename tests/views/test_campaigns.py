"""The list of campaigns and the first step of one, without JavaScript."""

import pytest
from sqlalchemy import select

from mailganer.db import utcnow
from mailganer.models import Campaign, CampaignStatus
from mailganer.views import campaigns
from tests.support.forms import submit


def test_an_empty_account_sees_what_to_do_first(anna):
    page = anna.get("/campaigns")
    assert "Create your first campaign" in page
    assert submit(page, "/campaigns/new").location.endswith("/target")


def test_a_campaign_walks_from_nothing_to_sending(anna, newsletter, read):
    page = submit(anna.get("/campaigns"), "/campaigns/new").follow()
    campaign = read(select(Campaign))[0]
    here = f"/campaigns/{campaign.id}"

    form = page.forms["people-form"]
    form["name"] = "November"
    form["list"] = [str(newsletter.id)]
    page = form.submit("go").follow()
    assert page.request.path == f"{here}/email"

    page = submit(anna.get(f"{here}/email/template"), f"{here}/email/template").follow()
    form = page.forms["email-form"]
    form["subject"] = "News for {{ first_name|default('you') }}"
    form["html"] = "<p>Dear {{ first_name|default('friend') }}</p>"
    page = form.submit("go").follow()
    assert page.request.path == f"{here}/check"
    assert "before sending" not in page

    page = anna.get(f"{here}/when")
    page = submit(page, f"{here}/when", when="now").follow()
    page = anna.get(f"{here}/send")
    assert "Send to 2 recipients" in page
    page = submit(page, f"{here}/send").follow()
    assert page.request.path == f"{here}/progress"
    assert read(select(Campaign))[0].status is CampaignStatus.scheduled


def test_the_recipients_step_shows_who_is_left_out(anna, make, owner, newsletter, draft):
    make.subscriber(owner, "gone@example.org", (newsletter,), status="unsubscribed")
    make.commit()
    page = anna.get(f"/campaigns/{draft.id}/target")
    assert "3 subscribers" in page
    assert "Unsubscribed" in page


def test_lists_of_another_account_are_refused(anna, make, draft, again):
    stranger = make.list(make.account())
    make.commit()
    page = anna.get(f"/campaigns/{draft.id}/target")
    token = page.forms["people-form"]["csrf_token"].value
    answer = anna.post(
        f"/campaigns/{draft.id}/target", {"csrf_token": token, "list": stranger.id}, status=422
    )
    assert "This list does not exist." in answer
    assert [each.name for each in again(draft).lists] == ["Newsletter"]


@pytest.mark.parametrize(
    "step", ["", "/subscribers", "/email", "/check", "/when", "/send", "/progress", "/email/frame"]
)
def test_another_accounts_campaign_is_not_there(anna, make, step):
    stranger = make.campaign(make.account())
    make.commit()
    anna.get(f"/campaigns/{stranger.id}{step}", status=404)


def test_a_finished_campaign_marks_a_tab_on_each_page_and_offers_no_test_email(anna, draft, session):
    draft.status, draft.started_at, draft.finished_at = CampaignStatus.finished, utcnow(), utcnow()
    session.commit()
    for path in ("report", "recipients", "email", "progress", "target", "in-doubt"):
        page = anna.get(f"/campaigns/{draft.id}/{path}")
        assert len(page.html.select(".stepper [aria-current=step]")) == 1, path
    email = anna.get(f"/campaigns/{draft.id}/email")
    assert "Send a test email" not in email
    assert email.html.find(id="email-frame")


def test_continuing_without_recipients_is_not_offered(anna, draft, session, make, owner):
    on = "#go-on:not([disabled])"
    assert anna.get(f"/campaigns/{draft.id}/target").html.select(on)
    empty = make.list(owner, "Empty")
    draft.lists = [empty]
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/target")
    assert not page.html.select(on)
    assert "Select a list with recipients first." in page
    assert "Continue" not in anna.get(f"/campaigns/{draft.id}/check")
    when = anna.get(f"/campaigns/{draft.id}/when").html
    assert when.select("main form button[name=go]")[0].has_attr("disabled")
    # Saving without a script shows the problem and stays on the page.
    form = page.forms["people-form"]
    form["list"] = [str(empty.id)]
    assert form.submit("go", status=303).location.endswith("/target")


def test_campaigns_under_way_come_first_on_each_page(anna, make, owner, monkeypatch):
    monkeypatch.setattr(campaigns, "PER_PAGE", 2)
    for number, status in enumerate(("sending", "draft", "paused", "finished")):
        make.campaign(owner, name=f"{number}-{status}", status=status)
    make.commit()
    first = anna.get("/campaigns")
    names = [each.text for each in first.html.find_all(class_="campaign-link")]
    rest = first.click("Next page")
    names += [each.text for each in rest.html.find_all(class_="campaign-link")]
    assert names == ["2-paused", "0-sending", "3-finished", "1-draft"]


def test_the_list_filters_by_state_and_continues(anna, make, owner):
    for number in range(60):
        make.campaign(owner, name=f"Draft {number}")
    make.campaign(owner, name="Sent one", status=CampaignStatus.finished)
    make.commit()
    assert "Sent one" in anna.get("/campaigns")
    page = anna.get("/campaigns", {"status": "draft"})
    assert "Sent one" not in page
    assert "Draft 59" in page
    assert "Draft 0<" not in page
    assert "Draft 0<" in page.click("Next page")
    assert anna.get("/campaigns", {"status": "nonsense", "after": "x"}).status_int == 200


def test_a_copy_and_a_deleted_draft(anna, draft, read):
    page = anna.get(f"/campaigns/{draft.id}/target")
    submit(page, f"/campaigns/{draft.id}/duplicate")
    assert sorted(read(select(Campaign.name))) == ["November", "November (2)"]
    submit(page, f"/campaigns/{draft.id}/delete")
    assert read(select(Campaign.name)) == ["November (2)"]
