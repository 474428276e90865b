"""Progress, waiting, pauses and doubts of a campaign through its pages, without JavaScript."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from mailganer.campaigns.counts import Counts
from mailganer.campaigns.forecast import Pause, Wait
from mailganer.db import utcnow
from mailganer.errors import LoginRefused, _
from mailganer.i18n.sentences import with_reply
from mailganer.models import CampaignStatus, Delivery, DeliveryStatus, SenderStatus, Usage
from mailganer.quota.plan_and_sender_usage import minute_of
from mailganer.rendering.render_budget import LONG_TEXTS
from mailganer.views.progress import SendingProgress
from tests.support.forms import submit


def test_a_campaign_that_is_too_late_waits_for_a_decision(anna, draft, session, again):
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


def test_the_reason_of_a_pause_is_in_the_language_of_the_page(anna, draft, session):
    draft.status, draft.started_at = CampaignStatus.paused, utcnow()
    draft.paused_reason = _(
        "The email cannot be sent. ${reason}",
        mapping={"reason": LONG_TEXTS},
    )
    session.commit()
    here = f"/campaigns/{draft.id}/progress"
    assert "The email cannot be sent. This email cannot be rendered" in anna.get(here)
    assert "Письмо нельзя отправить. Это письмо не\N{NO-BREAK SPACE}удаётся" in anna.get(here, {"lang": "ru"})


def test_a_time_in_a_stored_sentence_is_in_the_time_zone_of_the_user(anna, draft, session):
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


def test_a_campaign_with_a_broken_email_leads_to_the_email_first(anna, draft, session):
    draft.status, draft.started_at = CampaignStatus.paused, utcnow()
    draft.paused_reason = "Something is wrong with it."
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/progress")
    first = page.html.find(id="progress").find(class_="button-primary")
    assert first["href"] == f"/campaigns/{draft.id}/email"
    assert "Resume sending" in page
    assert page.html.find(id="campaign-state").text.strip() == "Needs attention"


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


def test_a_campaign_whose_senders_all_rest_is_shown_as_waiting(anna, draft, session):
    draft.status = CampaignStatus.sending
    assert not draft_waits(anna, session)
    draft.senders[0].status = SenderStatus.sleeping
    assert draft_waits(anna, session)


def test_a_campaign_whose_senders_all_need_attention_is_shown_as_such(anna, draft, session):
    draft.status, draft.senders[0].status = CampaignStatus.sending, SenderStatus.failing
    assert not draft_waits(anna, session)
    assert "Needs attention" in anna.get("/campaigns")


def test_a_campaign_whose_plan_has_no_emails_left_is_shown_as_waiting(anna, draft, session, owner):
    draft.status = CampaignStatus.sending
    assert not draft_waits(anna, session)
    session.add(
        Usage(account_id=owner.id, sender_id=draft.senders[0].id, minute=minute_of(utcnow()), emails=200)
    )
    assert draft_waits(anna, session)
    assert "plan limit reached, until" in anna.get("/campaigns")


def test_a_campaign_whose_senders_rest_shows_until_when(anna, draft, session):
    draft.status, sender = CampaignStatus.sending, draft.senders[0]
    sender.status, sender.sleeps_until = SenderStatus.sleeping, utcnow() + timedelta(hours=2)
    assert draft_waits(anna, session)
    assert "for the sender, until" in anna.get("/campaigns")


def draft_waits(anna, session):
    session.commit()
    return "Waiting" in anna.get("/campaigns")


def test_a_campaign_that_waits_for_its_hours_is_shown_so_in_the_list(anna, session, under_way):
    day = (utcnow() + timedelta(days=2)).isoweekday()
    under_way.hours = {"days": [day], "from": "09:00", "to": "10:00", "timezone": "UTC"}
    session.commit()
    page = anna.get("/campaigns")
    assert "for sending hours, until" in page
    assert "Waiting" in page


def test_progress_is_shown_in_numbers_and_refreshes_automatically(anna, under_way):
    page = anna.get(f"/campaigns/{under_way.id}").follow()
    assert "600 of 1,000 sent" in page
    assert 'hx-trigger="every 2s"' in page
    assert 'http-equiv="refresh"' in page


def test_progress_shows_which_sender_was_asked_to_slow_down(anna, under_way, session):
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


def test_doubts_are_resolved_one_by_one_or_together(anna, under_way, read):
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


def test_waiting_recipients_of_a_cancelled_campaign_are_left_out_at_once(anna, under_way):
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


def test_progress_waits_when_nothing_is_sent_before_the_first_pause_is_over():
    now = utcnow()
    pause = Pause(Wait.hours, now + timedelta(minutes=5), now + timedelta(days=1))  # noted late

    def waits(begins):
        forecast = SimpleNamespace(
            starts_at=now, first_pause=pause, days=(SimpleNamespace(starts_at=begins),), finishes_at=None
        )
        return SendingProgress(Counts(), 0, forecast, (), True, None, False, 0).waits

    assert (waits(pause.until), waits(now)) == (True, False)
