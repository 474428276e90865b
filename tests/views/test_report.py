"""The report and the recipients behind its numbers, through the whole application."""

import csv
import io
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mailganer.campaigns.actuals import kept_forecast
from mailganer.campaigns.simulation import simulate
from mailganer.campaigns.simulation_model import SimulatedLane
from mailganer.models import Account, Batch, CampaignStatus, DeliveryStatus, Reason, SentPerMinute
from mailganer.quota.rolling_counter import RollingCounter
from mailganer.tracking import open_buffer, record_click, unsubscribe_by_token
from tests.support.sent import record_open, sent_campaign, token

PERSON = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
APPLE = "Mozilla/5.0"
S = DeliveryStatus
EMAIL = "<a href='https://example.com/{{ \"<b>\" }}/a'>a</a> <a href='https://example.com/b'>b</a>"


@pytest.fixture
def own(session, anna):
    """The account that anna's browser is signed in to."""
    return session.scalar(select(Account).where(Account.email == "anna@example.com"))


@pytest.fixture
def sent(session, make, own, now):
    people = [make.subscriber(own, f"p{n}@example.org", first_name=f"Имя{n}<script>") for n in range(8)]
    campaign = make.campaign(own, (), (make.sender(own),), html=EMAIL)
    deliveries = sent_campaign(session, campaign, people, now, [S.failed, S.in_doubt, S.skipped])
    deliveries[0].reason, deliveries[0].reply = Reason.refused, "550 5.1.1 <script>alert(1)</script>"
    deliveries[1].reason, deliveries[2].reason = Reason.disconnected, Reason.unsubscribed
    campaign.status = CampaignStatus.finished
    record_open(session, token(deliveries[3]), agent=PERSON, now=now)
    record_open(session, token(deliveries[4]), agent=APPLE, now=now + timedelta(days=3))
    record_click(session, token(deliveries[3]), 2, agent=PERSON + "<script>", now=now)
    unsubscribe_by_token(session, token(deliveries[5]), now=now)
    session.commit()
    return campaign, deliveries


def words(page):
    return " ".join(page.html.main.get_text(" ").split())


def test_the_report_begins_with_a_sentence(anna, sent):
    campaign, _deliveries = sent
    page = anna.get(f"/campaigns/{campaign.id}/report")
    text = " ".join(page.html.find(class_="report-sentence").get_text("").split())
    assert text == "Sent to 5 of 8 recipients; 20% to 40% opened; 1 clicked; 1 unsubscribed."


def test_opens_that_are_all_uncertain_are_at_most_so_many(anna, session, make, own, now):
    people = [make.subscriber(own, f"p{n}@example.org") for n in range(8)]
    campaign = make.campaign(own, (), (make.sender(own),), html=EMAIL, status="finished")
    deliveries = sent_campaign(session, campaign, people, now, [S.failed])
    record_open(session, token(deliveries[4]), agent=APPLE, now=now + timedelta(days=3))
    session.commit()
    here = f"/campaigns/{campaign.id}/report"
    assert "; up to 14% opened;" in anna.get(here).html.find(class_="report-sentence").get_text("")
    assert "открыли до\xa014" in anna.get(here, {"lang": "ru"}).html.find(class_="report-sentence").get_text(
        ""
    )


@pytest.mark.parametrize("page", ["report", "recipients?opened=yes", "why?email=p6@example.org"])
def test_a_new_open_is_on_the_next_page(anna, session, sent, monkeypatch, page):
    monkeypatch.setattr(open_buffer, "LONGEST_WAIT", 60)
    campaign, deliveries = sent
    pixel, asked = f"/o/{token(deliveries[6])}.gif", f"/campaigns/{campaign.id}/{page}"
    session.rollback()  # on SQLite an open read transaction blocks the application's writes
    anna.get("/campaigns")  # greets
    before = words(anna.get(asked))
    anna.get(pixel, headers={"User-Agent": PERSON})
    assert words(anna.get(asked)) != before


def test_the_report_shows_plan_and_fact_beside_each_other(anna, session, sent, now):
    campaign, _deliveries = sent
    sender = campaign.senders[0]
    lane = SimulatedLane(sender.from_email, RollingCounter.of(None, ()), per_minute=60)
    foreseen = simulate(500, now, [lane], RollingCounter.of(None, ()), "UTC")
    campaign.forecast = kept_forecast(foreseen)
    minute = int(now.timestamp()) // 60 + 5
    session.add(SentPerMinute(campaign_id=campaign.id, sender_id=sender.id, minute=minute, emails=8))
    session.commit()
    text = words(anna.get(f"/campaigns/{campaign.id}/report"))
    assert f"{sender.from_email} 500 09:00 – 09:08 8 09:05" in text


def test_every_number_of_the_report_leads_to_its_recipients(anna, sent):
    campaign, deliveries = sent
    page = anna.get(f"/campaigns/{campaign.id}/report")
    links = [a["href"] for a in page.html.main.find_all("a") if "/recipients?" in a.get("href", "")]
    found = {}
    for href in set(links):
        people = anna.get(href)
        found[href.partition("?")[2]] = {each.email for each in deliveries if each.email in people.text}
    assert found["status=sent"] == {f"p{n}@example.org" for n in range(3, 8)}
    assert found["opened=certain"] == {"p3@example.org"}
    assert found["opened=possible"] == {"p4@example.org"}
    assert found["opened=any"] == {"p3@example.org", "p4@example.org"}
    assert found["clicked=yes"] == {"p3@example.org"}
    assert found["left=yes"] == {"p5@example.org"}
    assert found["status=failed&reason=refused"] == {"p0@example.org"}
    assert found["status=skipped&reason=unsubscribed"] == {"p2@example.org"}
    assert [people for query, people in found.items() if query.startswith("link=")] == [{"p3@example.org"}]


def test_the_report_shows_reasons_the_servers_words_and_the_doubtful(anna, sent):
    campaign, _deliveries = sent
    page = anna.get(f"/campaigns/{campaign.id}/report")
    text = words(page)
    assert "The server does not accept emails for this address." in text
    assert "550 5.1.1 <script>alert(1)</script>" in text
    assert "<script>alert" not in page.text
    assert f"/campaigns/{campaign.id}/in-doubt" in page.text
    assert page.html.find("svg", attrs={"aria-label": "Opens and clicks by hour"})
    assert page.html.find("svg", attrs={"aria-label": "Opens and clicks by day"})


def test_the_report_of_a_stopped_campaign_says_how_many_it_did_not_reach(session, anna, sent):
    campaign, deliveries = sent
    campaign.status = CampaignStatus.cancelled
    deliveries[2].reason = Reason.cancelled
    session.commit()
    page = anna.get(f"/campaigns/{campaign.id}/report")
    assert "The campaign was cancelled: 1 recipient did not get the email." in words(page)


def test_the_list_of_campaigns_counts_as_the_report_does(session, anna, sent):
    campaign, deliveries = sent
    deliveries[7].status = S.bounced
    session.scalars(select(Batch).where(Batch.last_id == deliveries[7].id)).one().bounced += 1
    session.scalars(select(Batch).where(Batch.last_id == deliveries[7].id)).one().sent -= 1
    session.commit()
    assert "Sent to 4 of 8 recipients" in words(anna.get(f"/campaigns/{campaign.id}/report"))
    assert "4 of 8" in words(anna.get("/campaigns"))


def test_a_campaign_without_tracking_says_so_and_shows_no_empty_numbers(session, anna, sent):
    campaign, _deliveries = sent
    campaign.track_opens = campaign.track_clicks = False
    session.commit()
    text = words(anna.get(f"/campaigns/{campaign.id}/report"))
    assert "Sent to 5 of 8 recipients; 1 unsubscribed." in text
    assert "This campaign does not count opens." in text
    assert "Confirmed opens" not in text


def test_the_report_of_a_campaign_under_way_says_so_far(session, anna, sent):
    campaign, _deliveries = sent
    campaign.status = CampaignStatus.sending
    session.commit()
    assert "Sent to 5 of 8 recipients so far" in words(anna.get(f"/campaigns/{campaign.id}/report"))


def test_a_draft_has_no_report_yet(session, anna, make, own):
    campaign = make.campaign(own)
    session.commit()
    for page in ("report", "recipients"):
        assert (
            f"/campaigns/{campaign.id}/" in anna.get(f"/campaigns/{campaign.id}/{page}", status=303).location
        )


def test_recipients_are_searched_and_filters_removed_again(anna, sent):
    campaign, _deliveries = sent
    page = anna.get(f"/campaigns/{campaign.id}/recipients?left=yes")
    assert "p5@example.org" in page.text
    assert "p3@example.org" not in page.text
    shown = page.click("Unsubscribed through this email")
    assert "p3@example.org" in shown.text
    form = next(form for form in shown.forms.values() if "query" in form.fields)
    form["query"] = "имя4<script"
    found = form.submit()
    assert "p4@example.org" in found.text
    assert "p3@example.org" not in found.text
    assert "Имя4&lt;script&gt;" in found.text
    assert "No matches" in anna.get(f"/campaigns/{campaign.id}/recipients?query=nobody&opened=certain").text


@pytest.mark.parametrize(
    "query",
    ["status=nonsense&opened=x&clicked=maybe&after=abc", "after=" + "9" * 40, "link='--", "query=%25%27%00"],
)
def test_nonsense_in_the_address_is_no_error(anna, sent, query):
    anna.get(f"/campaigns/{sent[0].id}/recipients?{query}", status=200)
    anna.get(f"/campaigns/{sent[0].id}/recipients.csv?{query}", status=200)


def test_the_file_has_the_recipients_that_were_asked_for(anna, sent):
    campaign, _deliveries = sent
    answer = anna.get(f"/campaigns/{campaign.id}/recipients.csv?status=sent&lang=en")
    assert answer.content_type == "text/csv"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [row["Address"] for row in rows] == [f"p{n}@example.org" for n in range(3, 8)]
    shown = anna.get(f"/campaigns/{campaign.id}/recipients.csv").body.decode("utf-8-sig")
    assert "The server does not accept emails for this address." in shown


def test_the_page_of_one_recipient_shows_what_happened(anna, sent):
    campaign, deliveries = sent
    page = anna.get(f"/campaigns/{campaign.id}/recipients/{deliveries[3].id}")
    text = words(page)
    assert "Opened the email" in text
    assert "Clicked the link https://example.com/b" in text
    assert "<script>" not in str(page.html.main)
    text = words(anna.get(f"/campaigns/{campaign.id}/recipients/{deliveries[0].id}"))
    assert "550 5.1.1 <script>alert(1)</script>" in text
    assert token(deliveries[0]) not in text


def test_another_accounts_report_is_a_404(session, make, anna, now):
    stranger = make.account()
    person = make.subscriber(stranger)
    campaign = make.campaign(stranger, (), (make.sender(stranger),))
    delivery = sent_campaign(session, campaign, [person], now)[0]
    session.commit()
    for page in ("report", "recipients", "recipients.csv", f"recipients/{delivery.id}"):
        anna.get(f"/campaigns/{campaign.id}/{page}", status=404)


def test_a_delivery_of_another_campaign_is_a_404(session, make, own, anna, sent, now):
    other = make.campaign(own, (), (make.sender(own),))
    delivery = sent_campaign(session, other, [make.subscriber(own)], now)[0]
    session.commit()
    anna.get(f"/campaigns/{sent[0].id}/recipients/{delivery.id}", status=404)


def test_our_own_words_are_in_the_language_of_the_page_and_a_servers_stay(anna, session, sent):
    campaign, deliveries = sent
    page, ours = f"/campaigns/{campaign.id}/report", "The server does not accept addresses with"
    assert "550 5.1.1 &lt;script&gt;alert(1)&lt;/script&gt;" in anna.get(f"{page}?lang=ru")
    deliveries[0].reply = f"{ours} these characters before the @."
    session.execute(update(Batch).values(epoch=Batch.epoch + 1))  # it was sent again
    session.commit()
    assert ours in anna.get(f"{page}?lang=en")
    assert ours not in anna.get(f"{page}?lang=ru")
