"""A campaign through its pages, without JavaScript."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from mailganer.db import utcnow
from mailganer.errors import LoginRefused, _
from mailganer.i18n.sentences import with_reply
from mailganer.models import (
    Account,
    Batch,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Reason,
    Sender,
    SenderStatus,
    Usage,
    first_delivery_id,
)
from mailganer.quota.usage import minute_of
from mailganer.rendering.render_budget import LONG_TEXTS
from mailganer.views import campaigns, email_files
from tests.support.statements import statements


@pytest.fixture
def owner(anna, read):
    return read(select(Account))[0]


@pytest.fixture
def readers(make, owner):
    readers = make.list(owner, "Readers")
    make.subscriber(owner, "olga@example.org", (readers,), first_name="Ольга")
    make.subscriber(owner, "pyotr@example.org", (readers,))
    make.commit()
    return readers


@pytest.fixture
def draft(make, read, owner, readers):
    draft = make.campaign(owner, (readers,), tuple(read(select(Sender))))
    make.commit()
    return draft


@pytest.fixture
def again(session):
    """``again(campaign)``: the current row of the database."""

    def again(campaign):
        session.commit()
        session.refresh(campaign)
        assert campaign.lists is not None  # loaded while the transaction is open
        session.commit()
        return campaign

    return again


def submit(page, path, status=None, **fields):
    """Return the form of the page that posts to ``path``."""
    form = next(form for form in page.forms.values() if form.action == path)
    for name, value in fields.items():
        form[name] = value
    return form.submit(status=status)


def test_an_empty_account_is_told_what_this_place_is_for(anna):
    page = anna.get("/campaigns")
    assert "Create your first campaign" in page
    assert submit(page, "/campaigns/new").location.endswith("/target")


def test_a_campaign_walks_from_nothing_to_sending(anna, readers, read):
    page = submit(anna.get("/campaigns"), "/campaigns/new").follow()
    campaign = read(select(Campaign))[0]
    here = f"/campaigns/{campaign.id}"

    form = page.forms["people-form"]
    form["name"] = "November"
    form["list"] = [str(readers.id)]
    page = form.submit("go").follow()
    assert page.request.path == f"{here}/email"

    page = submit(anna.get(f"{here}/email/template"), f"{here}/email/template").follow()
    form = page.forms["email-form"]
    form["subject"] = "News for {{ first_name|default('you') }}"
    form["html"] = "<p>Dear {{ first_name|default('reader') }}</p>"
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


def test_the_people_step_says_who_is_left_out(anna, make, owner, readers, draft):
    make.subscriber(owner, "gone@example.org", (readers,), status="unsubscribed")
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
    assert [each.name for each in again(draft).lists] == ["Readers"]


@pytest.mark.parametrize(
    "step", ["", "/subscribers", "/email", "/check", "/when", "/send", "/progress", "/email/frame"]
)
def test_another_accounts_campaign_is_not_there(anna, make, step):
    stranger = make.campaign(make.account())
    make.commit()
    anna.get(f"/campaigns/{stranger.id}{step}", status=404)


def test_the_email_is_shown_as_a_reader_gets_it(anna, draft):
    frame = anna.get(f"/campaigns/{draft.id}/email/frame")
    assert "Dear Ольга" in frame
    policy_header = frame.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy_header
    assert "sandbox" in policy_header
    page = anna.get(f"/campaigns/{draft.id}/email", {"as": "hardest"})
    assert "pyotr@example.org" in page
    assert "News for you" in page


def test_what_cannot_be_shown_is_said_with_its_line(anna, draft):
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = page.forms["email-form"]
    form["html"] = "<p>one</p>\n<p>{{ first_name</p>"
    page = form.submit().follow()
    assert "line 2" in page
    assert "Line 2." in anna.get(f"/campaigns/{draft.id}/email/frame")


def test_a_second_tab_is_told_and_keeps_its_text(anna, draft, again):
    first = anna.get(f"/campaigns/{draft.id}/email").forms["email-form"]
    second = anna.get(f"/campaigns/{draft.id}/email").forms["email-form"]
    first["subject"] = "From the first tab"
    first.submit(status=303)
    second["subject"] = "From the second tab"
    page = second.submit(status=409)
    assert "changed in the meantime" in page
    assert page.forms["email-form"]["subject"].value == "From the second tab"
    page.forms["email-form"].submit(status=409)
    assert again(draft).subject == "From the first tab"


def test_values_of_the_campaign_fill_gaps_and_replace(anna, draft, again):
    form = anna.get(f"/campaigns/{draft.id}/email").forms["email-form"]
    form["html"] = "<p>{{ first_name }} of {{ place }}</p>"
    page = form.submit().follow()
    form = page.forms["email-form"]
    names = [field.value for field in form.fields["variable"]]
    assert names == ["first_name", "place", ""]
    form.fields["value"][0].value = "reader"
    form.fields["value"][1].value = "Moscow"
    form.fields["mode"][1].value = "replace"
    form.submit(status=303)
    assert again(draft).variables == {
        "first_name": {"value": "reader", "override": False},
        "place": {"value": "Moscow", "override": True},
    }
    page = anna.get(f"/campaigns/{draft.id}/email")
    page.forms["email-form"].submit("forget", value="place")
    assert list(again(draft).variables) == ["first_name"]


def test_a_file_becomes_the_email(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = next(form for form in page.forms.values() if form.action.endswith("/upload"))
    form["file"] = ("email.html", "<p>Привет</p>".encode("cp1251"), "text/html")
    form.submit(status=303)
    assert again(draft).html == "<p>Привет</p>"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"<p>\x00</p>", b"x" * 5_001])
def test_a_file_that_is_no_email_changes_nothing(anna, draft, again, content, monkeypatch):
    monkeypatch.setattr(email_files, "LARGEST_FILE", 5_000)
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = next(form for form in page.forms.values() if form.action.endswith("/upload"))
    form["file"] = ("email.html", content, "text/html")
    form.submit(status=422)
    assert again(draft).html == draft.html


def test_a_ready_email_is_where_one_begins(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/email/template")
    form = next(
        form for form in page.forms.values() if "ready" in form.fields and form["ready"].value == "digest"
    )
    form.submit(status=303)
    assert "<table" in again(draft).html


def test_a_test_email_reaches_oneself(anna, draft, smtp_server):
    page = anna.get(f"/campaigns/{draft.id}/email")
    page = submit(page, f"/campaigns/{draft.id}/email/test#test").follow()
    assert "Test email sent." in page.html.find(id="test").find(role="status").text
    email = message_from_bytes(smtp_server.emails[-1].content, policy=policy.default)
    assert email["Subject"] == "News for Ольга"
    assert smtp_server.emails[-1].recipient == "anna@example.com"


def test_a_wrong_address_for_a_test_email_is_said_at_its_field_and_stays_to_be_fixed(anna, draft):
    page = anna.get(f"/campaigns/{draft.id}/email")
    page = submit(page, f"/campaigns/{draft.id}/email/test#test", 422, to="olga at example.org")
    field = page.html.find(id="to")
    assert "Use the format name@example.com" in field.parent.text
    assert (field["value"], field["aria-invalid"]) == ("olga at example.org", "true")
    assert field.has_attr("autofocus")
    assert page.html.find(class_="flash") is None


def test_an_unknown_variable_is_no_step_that_is_done(anna, draft, session):
    draft.html = "<p>{{ favourite_colour }}</p>"
    session.commit()
    for step in ("email", "check"):
        page = anna.get(f"/campaigns/{draft.id}/{step}")
        email = page.html.find("a", href=f"/campaigns/{draft.id}/email").parent
        assert "step-problem" in email["class"]


@pytest.mark.parametrize(
    ("html", "why"),
    [("", "Write the email first."), ("<p>{{ first_name|shout }}</p>", "Fix the email first.")],
)
def test_a_test_email_that_cannot_leave_says_why(anna, draft, session, html, why):
    draft.html = html
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = page.html.find(id="test")
    assert form.find("button").has_attr("disabled")
    assert why in form.text
    assert page.html.find(id="email-note").text


def test_before_sending_the_subject_is_read_as_readers_will_read_it(anna, draft, session):
    draft.subject = "{{ today|date('y') }} for {{ first_name }}"
    draft.name = ""
    session.commit()
    year = utcnow().year
    assert f"{year} for Ольга" in anna.get(f"/campaigns/{draft.id}/send")
    assert f"{year} for [first_name]" in anna.get("/campaigns")


def test_an_email_that_cannot_be_used_is_no_step_that_is_done(anna, draft, session):
    draft.html = "<p>{{ first_name|shout }}</p>"
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/email")
    assert "step-problem" in page.html.find(class_="step-here")["class"]


def test_a_refused_test_email_quotes_the_server(anna, draft, smtp_server):
    smtp_server.refuse["anna@example.com"] = "550 5.7.1 Not today"
    page = anna.get(f"/campaigns/{draft.id}/email")
    page = submit(page, f"/campaigns/{draft.id}/email/test#test").follow()
    assert "5.7.1 Not today" in page


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


def test_a_time_that_has_passed_is_asked_again(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/when")
    page = submit(
        page, f"/campaigns/{draft.id}/when", when="later", day="2020-01-01", time="10:00", status=422
    )
    assert "This time has passed" in page
    assert again(draft).send_at is None


@pytest.mark.parametrize(("day", "time"), [("", "10:00"), ("tomorrow", "10:00"), ("2027-01-01", "")])
def test_half_a_time_is_asked_again(anna, draft, day, time):
    page = anna.get(f"/campaigns/{draft.id}/when")
    answer = submit(page, f"/campaigns/{draft.id}/when", when="later", day=day, time=time, status=422)
    assert "Choose a date and time." in answer


def test_the_clock_is_the_persons_own(anna, owner, session, draft, again):
    owner.timezone = "Asia/Vladivostok"
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/when")
    assert "Vladivostok" in page
    day = (utcnow() + timedelta(days=3)).date().isoformat()
    submit(page, f"/campaigns/{draft.id}/when", when="later", day=day, time="10:00")
    assert again(draft).send_at.isoformat() == f"{day}T00:00:00+00:00"


def test_another_number_of_people_than_promised_is_shown_first(anna, make, owner, readers, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/send")
    make.subscriber(owner, "late@example.org", (readers,))
    make.commit()
    page = submit(page, f"/campaigns/{draft.id}/send").follow()
    assert "number of recipients has changed" in page
    assert "Send to 3 recipients" in page
    assert again(draft).status is CampaignStatus.draft


def test_a_second_click_on_send_leads_to_the_progress(anna, draft):
    page = anna.get(f"/campaigns/{draft.id}/send")
    submit(page, f"/campaigns/{draft.id}/send")
    assert submit(page, f"/campaigns/{draft.id}/send").location.endswith("/progress")


def test_what_is_not_ready_does_not_leave(anna, draft, session, again):
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


def test_a_finished_campaign_lights_a_tab_on_each_page_and_offers_no_test(anna, draft, session):
    draft.status, draft.started_at, draft.finished_at = CampaignStatus.finished, utcnow(), utcnow()
    session.commit()
    for path in ("report", "recipients", "email", "progress", "target", "in-doubt"):
        page = anna.get(f"/campaigns/{draft.id}/{path}")
        assert len(page.html.select(".stepper [aria-current=step]")) == 1, path
    email = anna.get(f"/campaigns/{draft.id}/email")
    assert "Send a test email" not in email
    assert email.html.find(id="email-frame")


def test_going_on_without_recipients_is_not_offered(anna, draft, session, make, owner):
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


def test_an_email_replaced_by_a_template_or_a_file_can_be_restored(anna, draft, session, again):
    draft.subject, draft.html = "Mine", "<p>My own words</p>"
    session.commit()
    here = f"/campaigns/{draft.id}/email"
    assert "Restore previous version" not in anna.get(here)
    page = anna.get(f"{here}/template")
    form = next(
        form for form in page.forms.values() if "ready" in form.fields and form["ready"].value == "digest"
    )
    page = form.submit(status=303).follow()
    assert "You can restore the previous version." in page
    assert again(draft).html != "<p>My own words</p>"
    page = submit(page, f"{here}/earlier", status=303).follow()
    assert "Previous version restored." in page
    assert (again(draft).subject, draft.html) == ("Mine", "<p>My own words</p>")
    form = next(form for form in page.forms.values() if form.action == f"{here}/upload")
    form["file"] = ("email.html", b"<p>From a file</p>")
    page = form.submit(status=303).follow()
    assert again(draft).html == "<p>From a file</p>"
    submit(page, f"{here}/earlier", status=303)
    assert again(draft).html == "<p>My own words</p>"


def test_a_scheduled_campaign_can_be_taken_back(anna, draft, session, again):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow() + timedelta(days=1)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}").follow()
    assert "Scheduled" in page
    submit(page, f"/campaigns/{draft.id}/unschedule")
    assert again(draft).status is CampaignStatus.draft


def test_a_scheduled_campaign_has_its_place_among_the_steps_and_never_began_a_moment_ago(
    anna, draft, session
):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow() - timedelta(seconds=1)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress")
    assert page.html.find(attrs={"aria-current": "step"}).find(class_="step-title").text == "Progress"
    assert "Sending is about to start." in page
    assert "ago" not in page.html.find(id="progress").text
    steps = [link["href"].rpartition("/")[2] for link in page.html.find(class_="stepper").find_all("a")]
    assert steps == ["progress", "target", "email"]


def test_what_was_called_off_before_it_began_offers_to_begin_anew(anna, draft, session, read):
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


def test_a_time_that_has_passed_is_said_at_its_field_and_nothing_is_foreseen(anna, draft):
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
    assert "Enter hours like 09:00 and 18:00." in form.submit(status=422)
    for place in range(5):
        form.set("weekday", False, place)
    form.submit()
    assert again(draft).hours is None


def test_a_campaign_that_came_too_late_waits_for_a_word(anna, draft, session, again):
    draft.status, draft.paused_reason = CampaignStatus.paused, "It should have started yesterday."
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}").follow()
    assert "Waiting for your decision" in page
    assert page.html.find(id="campaign-state").text.strip() == "Needs attention"
    assert "Send to " in page
    assert "It should have started yesterday." in page
    assert "/report" not in page
    submit(page, f"/campaigns/{draft.id}/resume")
    assert again(draft).status is CampaignStatus.sending


def test_why_it_was_paused_is_read_in_the_language_of_the_page(anna, draft, session):
    draft.status, draft.started_at = CampaignStatus.paused, utcnow()
    draft.paused_reason = _(
        "The email cannot be sent. ${reason}",
        mapping={"reason": LONG_TEXTS},
    )
    session.commit()
    here = f"/campaigns/{draft.id}/progress"
    assert "The email cannot be sent. This email cannot be rendered" in anna.get(here)
    assert "Письмо нельзя отправить. Это письмо не удаётся собрать" in anna.get(here, {"lang": "ru"})


def test_the_moment_in_a_kept_sentence_is_by_the_clock_of_who_reads_it(anna, draft, session):
    draft.status = CampaignStatus.paused
    draft.paused_reason = _(
        "The campaign could not start on ${moment}. Nothing was sent. Start it now or cancel it.",
        mapping={"moment": datetime(2026, 11, 23, 22, 30, tzinfo=UTC)},
    )
    draft.account.timezone = "Europe/Moscow"
    session.commit()
    here = f"/campaigns/{draft.id}/progress"
    assert "could not start on 24\xa0November\xa02026, 01:30." in anna.get(here)
    assert "24\xa0ноября\xa02026\xa0г., 01:30" in anna.get(here, {"lang": "ru"})


def test_a_campaign_that_its_email_hinders_leads_to_the_email_first(anna, draft, session):
    draft.status, draft.started_at = CampaignStatus.paused, utcnow()
    draft.paused_reason = "Something is wrong with it."
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress")
    first = page.html.find(id="progress").find(class_="button-primary")
    assert first["href"] == f"/campaigns/{draft.id}/email"
    assert "Resume sending" in page
    assert page.html.find(id="campaign-state").text.strip() == "Needs attention"


def test_a_planned_campaign_is_taken_back_where_it_is_said_to_be_needed(anna, draft, session, again):
    draft.status, draft.send_at = CampaignStatus.scheduled, utcnow() + timedelta(days=1)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/target")
    assert "2 subscribers in 1 list" in page
    submit(anna.get(f"/campaigns/{draft.id}/email"), f"/campaigns/{draft.id}/unschedule")
    assert again(draft).status is CampaignStatus.draft


def test_a_campaign_whose_sender_fails_quotes_the_server_and_leads_to_the_sender(anna, under_way, session):
    sender = under_way.senders[0]
    refused = LoginRefused(_("It does not let us in."), "535 5.7.8 Bad credentials")
    sender.status, sender.error = SenderStatus.failing, with_reply(refused)
    session.commit()
    page = anna.get(f"/campaigns/{under_way.id}/progress")
    assert page.html.find(id="progress").find("code", class_="reply").text == "535 5.7.8 Bad credentials"
    assert page.html.find(class_="button-primary")["href"] == f"/senders/{sender.id}"
    assert "Needs attention" in page.html.find(id="campaign-state").text


@pytest.mark.parametrize(
    ("reason", "badge"), [(None, "Paused"), ("The email cannot be rendered.", "Needs attention")]
)
def test_only_a_campaign_paused_by_its_user_is_listed_as_paused(anna, draft, make, owner, reason, badge):
    draft.status, draft.paused_reason, draft.name = CampaignStatus.paused, reason, "April"
    lst = make.list(owner)
    subscriber = make.subscriber(owner, "p@example.org", (lst,))
    make.commit()
    row = anna.get("/campaigns").html.find("a", string="April").find_parent("tr")
    assert row.find(class_="badge").text.strip() == badge
    asking = anna.get(f"/subscribers/{subscriber.id}").html.find("select", id="campaign")
    assert asking.option.text.strip() == f"April · {badge}"


def test_links_of_the_check_have_the_quotes_of_the_language(anna, draft, session):
    draft.html = "<a href='www.a.test'>a</a> <a href='https://www.example.com/x'>b</a>"
    session.commit()
    here = f"/campaigns/{draft.id}/check"
    assert "“www.a.test”." in anna.get(here)
    assert "“https://www.example.com/x”." in anna.get(here)
    page = anna.get(here, {"lang": "ru"})
    assert "«www.a.test»." in page
    assert "«https://www.example.com/x»." in page


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


def test_a_campaign_whose_senders_all_rest_is_said_to_wait(anna, draft, session):
    draft.status = CampaignStatus.sending
    assert not draft_waits(anna, session)
    draft.senders[0].status = SenderStatus.sleeping
    assert draft_waits(anna, session)


def test_a_campaign_whose_senders_all_need_attention_is_said_to_need_a_look(anna, draft, session):
    draft.status, draft.senders[0].status = CampaignStatus.sending, SenderStatus.failing
    assert not draft_waits(anna, session)
    assert "Needs attention" in anna.get("/campaigns")


def test_a_campaign_whose_plan_has_no_emails_left_is_said_to_wait(anna, draft, session, owner):
    draft.status = CampaignStatus.sending
    assert not draft_waits(anna, session)
    session.add(
        Usage(account_id=owner.id, sender_id=draft.senders[0].id, minute=minute_of(utcnow()), emails=200)
    )
    assert draft_waits(anna, session)
    assert "plan limit reached, until" in anna.get("/campaigns")


def test_a_campaign_whose_senders_rest_says_until_when(anna, draft, session):
    draft.status, sender = CampaignStatus.sending, draft.senders[0]
    sender.status, sender.sleeps_until = SenderStatus.sleeping, utcnow() + timedelta(hours=2)
    assert draft_waits(anna, session)
    assert "for the sender, until" in anna.get("/campaigns")


def draft_waits(anna, session):
    session.commit()
    return "Waiting" in anna.get("/campaigns")


def test_a_campaign_that_waits_for_its_hours_says_so_in_the_list(anna, session, under_way):
    day = (utcnow() + timedelta(days=2)).isoweekday()
    under_way.hours = {"days": [day], "from": "09:00", "to": "10:00", "timezone": "UTC"}
    session.commit()
    page = anna.get("/campaigns")
    assert "for sending hours, until" in page
    assert "Waiting" in page


@pytest.fixture
def under_way(make, session, draft):
    """A campaign to 1,000 recipients: 600 sent, two in doubt."""
    draft.status, draft.started_at, draft.message_domain = CampaignStatus.sending, utcnow(), "example.com"
    first = first_delivery_id(draft.id)
    counts = {"pending": 390, "sent": 600, "failed": 8, "in_doubt": 2}
    session.add(Batch(campaign_id=draft.id, number=1, first_id=first, last_id=first + 999, **counts))
    for n in range(2):
        session.add(
            Delivery(
                id=first + n,
                campaign_id=draft.id,
                email=f"doubt{n}@example.org",
                email_key=f"doubt{n}@example.org",
                token=bytes([n] * 16),
                status=DeliveryStatus.in_doubt,
                reason=Reason.disconnected,
                dated_at=utcnow(),
                settled_at=utcnow(),
            )
        )
    session.commit()
    return draft


def test_progress_is_told_in_numbers_and_asks_again_by_itself(anna, under_way):
    page = anna.get(f"/campaigns/{under_way.id}").follow()
    assert "600 of 1,000 sent" in page
    assert 'hx-trigger="every 2s"' in page
    assert 'http-equiv="refresh"' in page


def test_progress_says_which_sender_was_asked_to_slow_down(anna, under_way, session):
    under_way.senders[0].slowed_to, under_way.senders[0].slowed_from = 0.5, 2.0
    session.commit()
    page = anna.get(f"/campaigns/{under_way.id}/progress")
    assert "to slow down: about 30 emails a minute for now" in page


def test_pause_continue_and_stop(anna, under_way, again):
    page = anna.get(f"/campaigns/{under_way.id}/progress")
    page = submit(page, f"/campaigns/{under_way.id}/pause").follow()
    assert "Paused: 600 of 1,000 sent" in page
    page = submit(page, f"/campaigns/{under_way.id}/resume").follow()
    page = submit(page, f"/campaigns/{under_way.id}/cancel").follow()
    assert "Cancelled: 600 of 1,000 sent" in page
    assert 'hx-trigger="every 2s"' not in page
    assert again(under_way).status is CampaignStatus.cancelled


def test_a_wait_for_the_plan_names_it_and_leads_to_the_plans(anna, under_way, session, make):
    minute = minute_of(utcnow()) - 5
    sender = under_way.senders[0]
    session.add(Usage(sender_id=sender.id, minute=minute, account_id=under_way.account_id, emails=200))
    session.commit()
    page = anna.get(f"/campaigns/{under_way.id}/progress")
    assert "Waiting, resumes automatically" in page
    assert "Your plan allows 200 emails per 24 hours" in page
    assert 'href="/plan"' in page


def test_doubts_are_ended_one_by_one_or_together(anna, under_way, read):
    here = f"/campaigns/{under_way.id}/in-doubt"
    page = anna.get(here)
    assert "doubt0@example.org" in page
    form = next(form for form in page.forms.values() if form.fields.get("delivery"))
    assert form["as"].value == "sent"
    page = form.submit().follow()
    assert "doubt0@example.org" not in page
    form = next(form for form in page.forms.values() if "as" in form.fields and form["as"].value == "again")
    page = form.submit().follow()
    assert "No emails in doubt" in page
    statuses = read(select(Delivery.status).order_by(Delivery.id))
    assert statuses == [DeliveryStatus.sent, DeliveryStatus.pending]


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


def test_an_email_that_is_on_its_way_can_only_be_looked_at(anna, under_way):
    page = anna.get(f"/campaigns/{under_way.id}/email")
    assert "email-form" not in page.forms
    assert "Pause it to edit the email" in page


def test_the_same_template_chosen_once_more_is_a_new_beginning(anna, make, owner, draft, again):
    template = make.template(owner, subject="From the template")
    make.commit()
    for subject in ("From the template", "My own"):
        page = anna.get(f"/campaigns/{draft.id}/email/template")
        form = next(form for form in page.forms.values() if "template" in form.fields)
        form.submit(status=303)
        assert again(draft).subject == "From the template"
        assert again(draft).template_id == template.id
        draft.subject = subject
        make.commit()


def counting(seen):
    """Return the statements that scan the recipients of a campaign."""
    return [each for each in seen if "count(" in each.lower() and "subscriber" in each.lower()]


def test_a_page_of_the_email_counts_its_people_once(anna, draft):
    with statements(anna.app.registry["engine"]) as seen:
        anna.get(f"/campaigns/{draft.id}/email")
    assert len(counting(seen)) == 2  # the recipients, and those with a value for each variable
    with statements(anna.app.registry["engine"]) as seen:
        anna.get(f"/campaigns/{draft.id}/target")
    assert len([each for each in counting(seen) if "list_member.list_id, " not in each]) == 1


def test_typing_counts_people_only_when_the_variables_are_others(anna, draft, again):
    path = f"/campaigns/{draft.id}/email"
    form = anna.get(path).forms["email-form"]

    def type_in(html):
        form["html"] = html
        with statements(anna.app.registry["engine"]) as seen:
            answer = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"})
        assert again(draft).html == html
        form["revision"] = answer.html.find(id="revision")["value"]
        if chips := answer.html.find(id="email-chips"):
            form["counted"] = chips.find("input")["value"]
        return len(counting(seen)), chips

    assert type_in(draft.html + "<p>More words</p>") == (0, None)
    assert type_in("<p>{{ first_name</p>") == (0, None)
    number, chips = type_in("<p>{{ first_name }} of {{ city }}</p>")
    assert number == 2
    assert "1 of 2 filled" in chips.text
    assert type_in("<p>Dear {{ first_name }} of {{ city }}</p>") == (0, None)
    assert type_in("<p>Dear {{ first_name }} of {{ city|default('us') }}</p>")[0] == 2
    form.fields["variable"][-1].value, form.fields["value"][-1].value = "city", "Omsk"
    number, chips = type_in("<p>{{ first_name }} of {{ city }}</p>")
    assert number == 2
    assert "default value" in chips.text
    assert type_in("")[1].find("ul", class_="chips", attrs={"aria-label": "Variables of this email"}) is None


def test_what_is_typed_is_answered_with_what_it_changes_and_no_more(anna, draft):
    path = f"/campaigns/{draft.id}/email"
    form = anna.get(path).forms["email-form"]
    form["subject"] = "Typed for {{ first_name }}"
    answer = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"})
    assert answer.html.find(id="inbox-subject").text == "Typed for Ольга"
    assert "Saved at" in answer.html.find(id="saved").text
    assert answer.html.find(id="email-form") is None
    stale = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"}, status=409)
    assert "changed in the meantime" in stale.html.find(id="saved").text


def test_pressing_send_checks_the_campaign_once(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/send")
    with statements(anna.app.registry["engine"]) as seen:
        submit(page, f"/campaigns/{draft.id}/send")
    assert len(counting(seen)) == 2
    assert again(draft).status is CampaignStatus.scheduled


def test_a_countdown_without_scripts_says_when_sending_starts_and_keeps_its_button(anna, draft, session):
    draft.status, draft.pressed_at = CampaignStatus.scheduled, utcnow() - timedelta(seconds=1)
    draft.send_at = utcnow() + timedelta(seconds=9.5)
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress").html
    assert int(page.select_one("noscript meta")["content"]) >= 9
    told = next(
        each.get_text() for each in page.find_all("noscript") if "Sending starts at" in each.get_text()
    )
    assert f"{draft.send_at.astimezone(ZoneInfo(draft.account.timezone or 'UTC')):%M:%S}" in told


def test_who_waited_for_a_cancelled_campaign_is_left_out_at_once(anna, under_way):
    address = f"/campaigns/{under_way.id}"
    assert "waiting" in anna.get(f"{address}/progress").html.select_one(".legend").text
    page = submit(anna.get(f"{address}/progress"), f"{address}/cancel").follow()
    words = " ".join(page.html.select_one("#progress").text.split())
    assert "Cancelled: 600 of 1,000 sent" in words
    assert "skipped" in words
    assert "waiting" not in words


def test_a_campaign_that_waits_names_no_speed(anna, session, under_way, monkeypatch):
    monkeypatch.setattr("mailganer.views.progress.emails_a_minute", lambda *_args: 420)
    assert "420 emails per minute." in anna.get(f"/campaigns/{under_way.id}/progress")
    day = (utcnow() + timedelta(days=2)).isoweekday()
    under_way.hours = {"days": [day], "from": "09:00", "to": "10:00", "timezone": "UTC"}
    session.commit()
    page = anna.get(f"/campaigns/{under_way.id}/progress")
    assert "Waiting, resumes automatically" in page
    assert "emails per minute" not in page


def test_a_field_in_which_tab_indents_says_how_to_leave_it(anna, draft):
    for address in (f"/campaigns/{draft.id}/email", "/templates/new"):
        page = anna.get(address).html
        editors = page.select("textarea[data-editor]")
        assert editors
        for editor in editors:
            told = [page.find(id=each) for each in editor["aria-describedby"].split()]
            assert any("press Esc, then Tab" in each.text for each in told), (address, editor["id"])
