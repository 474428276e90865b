"""The explanation of one recipient's email, through the whole application."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailganer.audience import erase_subscriber
from mailganer.models import Account, CampaignStatus, DeliveryStatus, Reason
from tests.support.sent import sent_campaign

S = DeliveryStatus
QUESTION = "Look up a recipient"


@pytest.fixture
def own(session, anna):
    """The account that anna's browser is signed in to."""
    return session.scalar(select(Account).where(Account.email == "anna@example.com"))


@pytest.fixture
def readers(make, own):
    return make.list(own, "Readers <b>")


@pytest.fixture
def people(make, own, readers, now):
    make.now = now - timedelta(days=1)
    return [
        make.subscriber(own, f"p{n}@example.org", (readers,), first_name=f"Имя{n}<script>") for n in range(4)
    ]


@pytest.fixture
def campaign(session, make, own, readers, people, now):
    campaign = make.campaign(own, (readers,), (make.sender(own),))
    deliveries = sent_campaign(session, campaign, people[:3], now, [S.sent, S.failed, S.pending])
    deliveries[0].reply = "250 2.0.0 kept"
    deliveries[1].reason, deliveries[1].reply = Reason.refused, "550 5.1.1 <script>alert(1)</script>"
    session.commit()
    return campaign


def words(page):
    return " ".join(page.html.main.get_text(" ").split())


def ask(page, email):
    form = next(form for form in page.forms.values() if "email" in form.fields)
    form["email"] = email
    return form.submit()


def test_the_report_leads_to_asking_by_address_and_is_answered_step_by_step(anna, campaign):
    report = anna.get(f"/campaigns/{campaign.id}/report")
    page = ask(report.click("Look up what happened to it"), "P0@example.org")
    steps = [" ".join(each.get_text(" ").split()) for each in page.html.find(class_="story").find_all("li")]
    assert steps[0] == "In the list “Readers <b>” since 22 Nov 2026, 09:00."
    assert steps[2] == (
        "The server of anna@example.com accepted the email on 23 Nov 2026, 08:00. 250 2.0.0 kept"
    )
    assert "Sent" in words(page)
    assert "<script>" not in str(page.html.main)
    failed = ask(page, "p1@example.org")  # the next recipient, from the form of the same page
    assert "550 5.1.1 <script>alert(1)</script>" in words(failed)
    assert "<script>" not in str(failed.html.main)


def test_subscribers_without_an_email_and_unknown_ones_are_answered_too(anna, campaign):
    page = anna.get(f"/campaigns/{campaign.id}/why")
    assert QUESTION in words(page)
    assert "No email to this recipient was planned." in words(ask(page, "p3@example.org"))
    unknown = ask(page, "nobody@example.org")
    assert "No subscriber has the address nobody@example.org." in words(unknown)
    assert "No email found" in words(unknown)


def test_what_is_no_address_is_said_beside_the_field(anna, campaign):
    page = anna.get(f"/campaigns/{campaign.id}/why?email=%3Cscript%3E", status=422)
    field = page.html.find(id="why-email")
    assert (field["value"], field["aria-invalid"]) == ("<script>", "true")
    assert page.html.find(id=field["aria-describedby"]).get_text(strip=True)


def test_every_row_of_the_recipients_leads_to_its_explanation(anna, session, campaign, people):
    erase_subscriber(session, people[1])
    session.commit()
    page = anna.get(f"/campaigns/{campaign.id}/recipients")
    links = page.html.main.find_all("a", string="Why?")
    assert [each["aria-label"] for each in links] == [
        "Why? Имя0<script>",
        "Why? deleted recipient",
        "Why? Имя2<script>",
    ]
    told = [words(anna.get(each["href"].partition("#")[0])) for each in links]
    assert "accepted the email" in told[0]
    assert "This recipient was deleted, and their data was erased." in told[1]
    assert "No other email of this campaign is ahead of it." in told[2]


def test_an_address_that_is_not_a_recipient_can_be_asked_about(anna, campaign):
    page = anna.get(f"/campaigns/{campaign.id}/recipients?query=p3@example.org")
    assert "No email to this recipient was planned." in words(page.click("Look up"))


def test_a_subscribers_page_leads_to_every_campaign(anna, session, make, own, campaign, people, readers):
    draft = make.campaign(own, (readers,), (make.sender(own),), name="December")
    session.commit()
    page = anna.get(f"/subscribers/{people[0].id}")
    (link,) = page.html.main.find_all("a", string="Why?")
    assert link["aria-label"] == "Why? November"
    assert "accepted the email" in words(anna.get(link["href"].partition("#")[0]))
    form = next(form for form in page.forms.values() if "campaign" in form.fields)
    assert [text for _value, _chosen, text in form["campaign"].options] == [
        "December · Draft",
        "November · Sending",
    ]
    form["campaign"] = str(draft.id)
    answer = form.submit().follow()
    assert "The campaign is a draft. Nothing is sent until it is started." in words(answer)
    assert "As of now, this recipient will get the email." in words(answer)


def test_the_answer_is_in_the_users_language_time_zone_and_numbers(anna, session, own, campaign):
    own.locale, own.timezone = "ru", "Europe/Moscow"
    session.commit()
    text = words(anna.get(f"/campaigns/{campaign.id}/why?email=p0@example.org"))
    assert "В списке «Readers <b>» с 22 нояб. 2026 г., 12:00." in text
    assert "Why" not in text


def test_what_is_waited_for_is_marked_as_ahead(anna, session, campaign):
    campaign.senders[0].status, campaign.senders[0].sleeps_until = (
        "sleeping",
        campaign.created_at.replace(year=2099),
    )
    session.commit()
    page = anna.get(f"/campaigns/{campaign.id}/why?email=p2@example.org")
    (ahead,) = page.html.find_all("li", class_="ahead")
    assert "Waiting for anna@example.com" in ahead.get_text()


@pytest.mark.parametrize("query", ["person=x", "person=", "email=", "person=" + "9" * 40])
def test_nonsense_asks_again(anna, campaign, query):
    assert QUESTION in words(anna.get(f"/campaigns/{campaign.id}/why?{query}"))


@pytest.mark.parametrize("status", [CampaignStatus.draft, CampaignStatus.scheduled, CampaignStatus.finished])
def test_it_can_be_asked_in_every_state(anna, session, make, own, readers, people, status, now):
    campaign = make.campaign(own, (readers,), (make.sender(own),), status=status, send_at=now)
    session.commit()
    anna.get(f"/campaigns/{campaign.id}/why?person={people[0].id}", status=200)


def test_subscribers_and_campaigns_of_another_account_do_not_exist(anna, session, make, campaign, people):
    stranger = make.account()
    theirs, other = make.subscriber(stranger, "theirs@example.org"), make.campaign(stranger)
    session.commit()
    anna.get(f"/campaigns/{other.id}/why?email=p0@example.org", status=404)
    anna.get(f"/campaigns/{campaign.id}/why?person={theirs.id}", status=404)
    anna.get(f"/subscribers/{theirs.id}/why?campaign={campaign.id}", status=404)
    anna.get(f"/subscribers/{people[0].id}/why?campaign={other.id}", status=404)
    unknown = words(anna.get(f"/campaigns/{campaign.id}/why?email=theirs@example.org"))
    assert "No subscriber has the address theirs@example.org." in unknown
