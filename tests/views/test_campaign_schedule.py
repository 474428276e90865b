"""Check, schedule and start of a campaign through its pages, without JavaScript."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from mailganer.db import utcnow
from mailganer.models import Campaign, CampaignStatus
from tests.support.forms import submit
from tests.support.statements import recipient_scans, statements


def test_before_sending_the_subject_is_shown_as_recipients_get_it(anna, draft, session):
    draft.subject = "{{ today|date('y') }} for {{ first_name }}"
    draft.name = ""
    session.commit()
    year = utcnow().year
    assert f"{year} for Ольга" in anna.get(f"/campaigns/{draft.id}/send")
    assert f"{year} for [first_name]" in anna.get("/campaigns")


def test_the_check_names_what_blocks_and_where_it_is_solved(anna, make, owner):
    empty = make.campaign(owner, subject="", html="")
    make.commit()
    page = anna.get(f"/campaigns/{empty.id}/check")
    for sentence in (
        "No list is selected",
        "The email has no subject",
        "The email is empty",
        "No sender is selected",
    ):
        assert sentence in page
    assert f"/campaigns/{empty.id}/target" in page


def test_a_time_in_the_past_is_refused(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/when")
    page = submit(
        page, f"/campaigns/{draft.id}/when", when="later", day="2020-01-01", time="10:00", status=422
    )
    assert "This time has passed" in page
    assert again(draft).send_at is None


@pytest.mark.parametrize(("day", "time"), [("", "10:00"), ("tomorrow", "10:00"), ("2027-01-01", "")])
def test_an_incomplete_time_is_refused(anna, draft, day, time):
    page = anna.get(f"/campaigns/{draft.id}/when")
    answer = submit(page, f"/campaigns/{draft.id}/when", when="later", day=day, time=time, status=422)
    assert "Choose a date and time." in answer


def test_times_are_in_the_time_zone_of_the_user(anna, owner, session, draft, again):
    owner.timezone = "Asia/Vladivostok"
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/when")
    assert "Vladivostok" in page
    day = (utcnow() + timedelta(days=3)).date().isoformat()
    submit(page, f"/campaigns/{draft.id}/when", when="later", day=day, time="10:00")
    assert again(draft).send_at.isoformat() == f"{day}T00:00:00+00:00"


def test_a_changed_number_of_recipients_is_shown_first(anna, make, owner, newsletter, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/send")
    make.subscriber(owner, "late@example.org", (newsletter,))
    make.commit()
    page = submit(page, f"/campaigns/{draft.id}/send").follow()
    assert "number of recipients has changed" in page
    assert "Send to 3 recipients" in page
    assert again(draft).status is CampaignStatus.draft


def test_a_second_click_on_send_leads_to_the_progress(anna, draft):
    page = anna.get(f"/campaigns/{draft.id}/send")
    submit(page, f"/campaigns/{draft.id}/send")
    assert submit(page, f"/campaigns/{draft.id}/send").location.endswith("/progress")


def test_a_campaign_that_is_not_ready_is_not_sent(anna, draft, session, again):
    page = anna.get(f"/campaigns/{draft.id}/send")
    draft.subject = ""
    session.commit()
    answer = submit(page, f"/campaigns/{draft.id}/send")
    assert answer.location.endswith("/check")
    assert again(draft).status is CampaignStatus.draft


def test_the_number_of_findings_is_the_same_on_every_page(anna, draft, session):
    """Notes are not counted as findings: this email lacks a preheader, which is a note."""
    draft.html = "<a href='www.shop.test'>x</a> <a href='{{ unsubscribe_url }}'>leave</a>"
    draft.preheader, draft.subject = "", "*|FNAME|*, news"
    draft.senders[0].from_name = "Anna"
    session.commit()
    check = anna.get(f"/campaigns/{draft.id}/check")
    number = len(check.html.select(".findings:not(.findings-notes, .findings-passed) .finding"))
    assert number >= 2
    assert check.html.select(".findings-notes .finding")
    send = anna.get(f"/campaigns/{draft.id}/send")
    assert f"Ready to send, with {number} warnings" in check.html.find(class_="verdict").text
    assert f"{number} warnings" in send.html.find("details", class_="fold").text
    pages = [
        check,
        send,
        *(anna.get(f"/campaigns/{draft.id}/{step}") for step in ("target", "email", "when")),
    ]
    assert len({" ".join(page.html.find(id="step-check").text.split()) for page in pages}) == 1


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "3 CheckNo problems can be sent"), ("ru", "3 ПроверкаОшибок нет можно отправлять")],
)
def test_no_check_is_marked_as_done_beside_its_warnings(anna, draft, session, language, words):
    draft.subject = "*|FNAME|*, news"
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/check", {"lang": language})
    assert page.html.select(".verdict-wait")
    step = page.html.find(id="step-check")
    assert "step-ready" in step["class"]
    assert " ".join(step.text.split()) == words
    assert step.svg is None


def test_a_scheduled_campaign_can_become_a_draft_again(anna, draft, session, again):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow() + timedelta(days=1)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}").follow()
    assert "Scheduled" in page
    submit(page, f"/campaigns/{draft.id}/unschedule")
    assert again(draft).status is CampaignStatus.draft


def test_a_scheduled_campaign_has_its_place_among_the_steps_and_no_start_in_the_past(anna, draft, session):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow() - timedelta(seconds=1)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress")
    assert page.html.find(attrs={"aria-current": "step"}).find(class_="step-title").text == "Progress"
    assert "Sending is about to start." in page
    assert "ago" not in page.html.find(id="progress").text
    steps = [link["href"].rpartition("/")[2] for link in page.html.find(class_="stepper").find_all("a")]
    assert steps == ["progress", "target", "email"]


def test_a_campaign_cancelled_before_its_start_offers_a_new_beginning(anna, draft, session, read):
    draft.status = CampaignStatus.cancelled
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress")
    assert "Cancelled before it started" in page
    submit(page, f"/campaigns/{draft.id}/duplicate")
    assert [each.status.value for each in read(select(Campaign).order_by(Campaign.id))] == [
        "cancelled",
        "draft",
    ]


def test_send_now_can_be_undone_before_the_first_email(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/send")
    page = submit(page, f"/campaigns/{draft.id}/send").follow()
    assert "Sending starts in 10 seconds" in page or "Sending starts in 9 seconds" in page
    sent = again(draft)
    assert sent.send_at - sent.pressed_at == timedelta(seconds=10)
    page = submit(page, f"/campaigns/{draft.id}/unschedule").follow()
    assert "No emails were sent" in page
    assert (again(draft).status, again(draft).send_at) == (CampaignStatus.draft, None)


def test_a_countdown_asks_for_the_whole_page_when_the_campaign_has_begun(anna, draft, session):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow()
    draft.pressed_at = draft.send_at - timedelta(seconds=10)
    session.commit()
    countdown = {"HX-Request": "true", "HX-Target": "countdown"}
    assert "HX-Refresh" not in anna.get(f"/campaigns/{draft.id}/progress", headers=countdown).headers
    draft.status = CampaignStatus.sending
    session.commit()
    answer = anna.get(f"/campaigns/{draft.id}/progress", headers=countdown)
    assert answer.headers["HX-Refresh"] == "true"


def test_a_long_countdown_counts_minutes(anna, draft, session):
    draft.status, draft.pressed_at = CampaignStatus.scheduled, utcnow()
    draft.send_at = draft.pressed_at + timedelta(seconds=275)
    session.commit()
    assert "Sending starts in 5 minutes" in anna.get(f"/campaigns/{draft.id}/progress")


def test_a_time_in_the_past_is_reported_at_its_field_without_a_forecast(anna, draft):
    here = f"/campaigns/{draft.id}/when"
    page = submit(anna.get(here), here, 422, when="later", day="2020-01-01", time="10:00")
    field = page.html.find(id="day").find_parent(class_="moment")
    assert "field-wrong" in field["class"]
    assert field.find(class_="wrong").text.strip()
    assert "once you choose a time" in page.html.find(id="forecast").text
    assert "Now" not in page.html.find(class_="step-here").text


def test_a_latest_start_is_kept_and_checked_against_the_forecast(anna, draft, again):
    here = f"/campaigns/{draft.id}/when"
    soon = (utcnow() + timedelta(days=5)).date().isoformat()
    submit(anna.get(here), here, latest_day=soon, latest_time="")
    assert again(draft).not_after.isoformat() == f"{soon}T23:59:00+00:00"
    later = (utcnow() + timedelta(days=6)).date().isoformat()
    page = submit(anna.get(here), here, when="later", day=later, time="10:00").follow()
    assert "after your start deadline" in page
    submit(page, here, when="later", day=later, time="10:00", latest_day="", latest_time="")
    assert again(draft).not_after is None


def test_sending_hours_are_chosen_and_taken_back(anna, draft, again):
    here = f"/campaigns/{draft.id}/when"
    page = anna.get(here)
    form = next(form for form in page.forms.values() if form.action == here)
    for place in range(5):
        form.set("weekday", True, place)
    form["to"] = "17:30"
    page = form.submit().follow()
    assert again(draft).hours["days"] == [1, 2, 3, 4, 5]
    assert "Only Mon–Fri, 09:00–17:30" in page
    form = next(form for form in page.forms.values() if form.action == here)
    form["from"] = ""
    assert "Enter times such as 09:00 and 18:00." in form.submit(status=422)
    for place in range(5):
        form.set("weekday", False, place)
    form.submit()
    assert again(draft).hours is None


def test_a_scheduled_campaign_can_be_unscheduled_where_its_page_asks_for_it(anna, draft, session, again):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow() + timedelta(days=1)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/target")
    assert "2 subscribers in 1 list" in page
    submit(anna.get(f"/campaigns/{draft.id}/email"), f"/campaigns/{draft.id}/unschedule")
    assert again(draft).status is CampaignStatus.draft


def test_links_of_the_check_have_the_quotes_of_the_language(anna, draft, session):
    draft.html = "<a href='www.a.test'>a</a> <a href='https://www.example.com/x'>b</a>"
    session.commit()
    here = f"/campaigns/{draft.id}/check"
    assert "“www.a.test”." in anna.get(here)
    assert "“https://www.example.com/x”." in anna.get(here)
    page = anna.get(here, {"lang": "ru"})
    assert "«www.a.test»." in page
    assert "«https://www.example.com/x»." in page


def test_pressing_send_checks_the_campaign_once(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/send")
    with statements(anna.app.registry["engine"]) as seen:
        submit(page, f"/campaigns/{draft.id}/send")
    assert recipient_scans(seen) == []  # the page has counted them
    assert again(draft).status is CampaignStatus.scheduled


def test_a_countdown_without_scripts_shows_when_sending_starts_and_keeps_its_button(anna, draft, session):
    draft.status, draft.pressed_at = CampaignStatus.scheduled, utcnow() - timedelta(seconds=1)
    draft.send_at = utcnow() + timedelta(seconds=9.5)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress").html
    assert int(page.select_one("noscript meta")["content"]) >= 9
    told = next(
        each.get_text() for each in page.find_all("noscript") if "Sending starts at" in each.get_text()
    )
    assert f"{draft.send_at.astimezone(ZoneInfo(draft.account.timezone or 'UTC')):%M:%S}" in told
