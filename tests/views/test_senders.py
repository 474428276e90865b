"""Senders and settings, through forms."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.accounts import delete_sender
from mailganer.errors import _
from mailganer.models import Account, CampaignStatus, Sender, SenderStatus, Usage
from mailganer.quota.plan_and_sender_usage import minute_of

from ..support.factories import Factory
from ..support.smtp import SMTPServer

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def form_to(page: Any, action: str) -> Any:
    return next(form for form in page.forms.values() if form.action.endswith(action))


@pytest.fixture
def sender(anna: Any, session: Session) -> Sender:
    found = session.scalars(select(Sender)).one()
    session.commit()  # on SQLite an open transaction blocks the pages
    return found


def reread(session: Session, row: Any) -> None:
    session.refresh(row)
    session.commit()


def test_a_second_sender_is_proven_before_it_is_added(
    anna: Any, smtp_server: SMTPServer, session: Session
) -> None:
    smtp_server.passwords["news@example.com"] = "secret"
    form = form_to(anna.get("/senders/new", {"email": "news@example.com"}), "/senders/new")
    form["host"], form["port"], form["security"] = smtp_server.host, smtp_server.port, "none"
    form["password"], form["from_name"] = "wrong", "News"
    assert "535" in form.submit(status=401)
    form["password"] = "secret"
    page = form.submit(status=303).follow()
    assert "news@example.com is connected." in page
    added = session.scalars(select(Sender).where(Sender.from_email == "news@example.com")).one()
    assert (added.from_name, added.name, added.status) == ("News", "news@example.com", SenderStatus.ready)


@one_database
def test_the_same_mail_account_is_not_added_twice(anna: Any, smtp_server: SMTPServer) -> None:
    form = form_to(anna.get("/senders/new", {"email": "anna@example.com"}), "/senders/new")
    form["host"], form["port"], form["security"] = smtp_server.host, smtp_server.port, "none"
    form["password"] = "secret"
    assert "already one of your senders" in form.submit(status=409)


@one_database
def test_names_and_the_days_limit_are_saved(anna: Any, sender: Sender, session: Session) -> None:
    form = form_to(anna.get(f"/senders/{sender.id}"), f"/senders/{sender.id}")
    form["from_name"], form["name"], form["per_day"] = "Анна", "Main", "50"
    assert "Saved." in form.submit(status=303).follow()
    reread(session, sender)
    assert (sender.from_name, sender.name, sender.per_day) == ("Анна", "Main", 50)
    form = form_to(anna.get(f"/senders/{sender.id}"), f"/senders/{sender.id}")
    form["per_day"] = ""
    form.submit(status=303)
    reread(session, sender)
    assert sender.per_day is None


@one_database
def test_a_days_limit_that_is_no_whole_number_is_refused_as_it_was_typed(
    anna: Any, sender: Sender, session: Session
) -> None:
    form = form_to(anna.get(f"/senders/{sender.id}"), f"/senders/{sender.id}")
    assert form["per_day"].attrs["type"] == "text"  # a typed comma has to reach the server
    for typed in ("2,525", "2.525", "1,5", "many"):
        form["per_day"] = typed
        page = form.submit(status=422)
        assert "Enter a whole number." in page
        assert form_to(page, f"/senders/{sender.id}")["per_day"].value == typed
    form["per_day"] = "2 525"
    form.submit(status=303)
    reread(session, sender)
    assert sender.per_day == 2525


@one_database
def test_a_name_with_a_line_break_is_not_taken(anna: Any, sender: Sender, session: Session) -> None:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    values = {"csrf_token": token, "from_name": "Anna\r\nBcc: all@example.com", "name": ""}
    assert "Enter one line" in anna.post(f"/senders/{sender.id}", values, status=422)
    reread(session, sender)
    assert sender.from_name == ""


def test_the_day_is_shown_with_what_is_free_and_when(anna: Any, sender: Sender, session: Session) -> None:
    sender.per_day = 500
    minute = minute_of(datetime.now(UTC)) - 600
    session.add(Usage(sender_id=sender.id, account_id=sender.account_id, minute=minute, emails=312))
    session.commit()
    page = anna.get("/senders")
    assert "312 of 500 emails in 24 hours" in page
    assert "188 emails left" in page
    session.add(Usage(sender_id=sender.id, account_id=sender.account_id, minute=minute + 5, emails=188))
    session.commit()
    page = anna.get("/senders")
    assert "500 of 500 emails in 24 hours" in page
    assert page.html.select_one("span time")["datetime"].startswith("20")
    assert "sending resumes" in page
    assert page.html.select_one(".badge").get_text().strip().startswith("Limit reached, resumes in")


def test_a_sender_whose_password_no_longer_works_says_so_and_can_be_proven_again(
    anna: Any, sender: Sender, smtp_server: SMTPServer, session: Session
) -> None:
    smtp_server.passwords["anna@example.com"] = "changed"
    form = form_to(anna.get(f"/senders/{sender.id}"), "/verify")
    page = form.submit()
    assert page.html.select_one("[role=alert] code.reply").get_text().startswith("535")
    assert [button.get_text() for button in page.html.select(".button-primary")] == ["Save and verify"]
    reread(session, sender)
    assert sender.status is SenderStatus.failing
    again = form_to(anna.get("/senders"), "/verify")
    assert "535" in again.submit()
    form = form_to(anna.get(f"/senders/{sender.id}"), "/verify")
    forms = [form for form in anna.get(f"/senders/{sender.id}").forms.values() if "password" in form.fields]
    forms[0]["password"] = "changed"
    assert "is connected" in forms[0].submit(status=303).follow()
    reread(session, sender)
    assert (sender.status, sender.error) == (SenderStatus.ready, None)


def test_a_sender_that_rests_says_why_and_until_when(anna: Any, sender: Sender, session: Session) -> None:
    sender.status, sender.sleeps_until = SenderStatus.sleeping, datetime.now(UTC) + timedelta(hours=2)
    session.commit()
    page = anna.get(f"/senders/{sender.id}")
    assert "The limit of emails in 24 hours is reached." in page
    assert page.html.select_one(".badge").get_text().strip().startswith("Waiting, resumes in")
    reply = "421 4.7.0 <later>"
    sender.failures = 1
    sender.error = _(
        "The mail server asked Mailganer to wait. Server reply: ${reply}", mapping={"reply": reply}
    )
    session.commit()
    assert anna.get(f"/senders/{sender.id}").html.select_one("code.reply").get_text() == reply


def test_a_sender_is_removed_with_its_password(anna: Any, sender: Sender, session: Session) -> None:
    page = form_to(anna.get(f"/senders/{sender.id}"), "/delete").submit(status=303).follow()
    assert "was removed and its password deleted" in page
    assert "No senders yet" in page
    reread(session, sender)
    assert sender.deleted_at is not None
    assert sender.secrets is None
    anna.get(f"/senders/{sender.id}", status=404)


def test_a_sender_that_a_campaign_needs_stays(
    anna: Any, sender: Sender, session: Session, make: Factory
) -> None:
    account = session.get(Account, sender.account_id)
    campaign = make.campaign(account, senders=(sender,), status=CampaignStatus.scheduled)
    session.commit()
    assert campaign.status is CampaignStatus.scheduled
    page = form_to(anna.get(f"/senders/{sender.id}"), "/delete").submit(status=409)
    assert "An unfinished campaign uses this sender." in page


@one_database
def test_no_page_shows_the_password(anna: Any, sender: Sender) -> None:
    for path in ("/senders", f"/senders/{sender.id}", "/settings"):
        assert "secret" not in anna.get(path)


def test_language_and_time_zone_are_kept(anna: Any, session: Session) -> None:
    form = form_to(anna.get("/settings"), "/settings")
    form["locale"], form["timezone"] = "ru", "Europe/Moscow"
    form["postal_address"] = "Москва, Тверская, 1"
    page = form.submit(status=303).follow()
    assert page.html.html["lang"] == "ru"
    account = session.scalars(select(Account)).one()
    assert (account.locale, account.timezone) == ("ru", "Europe/Moscow")
    assert account.postal_address == "Москва, Тверская, 1"


@one_database
def test_a_time_zone_no_one_has_is_asked_again(anna: Any) -> None:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    values = {"csrf_token": token, "locale": "en", "timezone": "Mars/Olympus", "postal_address": ""}
    anna.post("/settings", values, status=422)


@one_database
def test_an_api_token_is_shown_once_and_can_be_ended(anna: Any) -> None:
    form = form_to(anna.get("/settings"), "/settings/tokens#tokens")
    form["name"] = "CRM"
    shown = form.submit(status=200).html.select_one(".copyable textarea").text
    assert shown.startswith("mg_")
    assert len(shown) > 40
    page = anna.get("/settings")
    assert shown not in page
    assert "CRM" in page
    page = form_to(page, "/delete").submit(status=303).follow()
    assert "revoked" in page


def test_signing_out_everywhere_ends_all_sessions(wsgi_app: Any, app: Any, sign_in: Any) -> None:
    from webtest import TestApp

    other = TestApp(wsgi_app, extra_environ={"HTTP_HOST": "localhost"})
    sign_in(app)
    sign_in(other)
    form_to(app.get("/settings"), "/log-out-everywhere").submit(status=303)
    assert app.get("/settings").status_int == 303
    assert other.get("/settings").status_int == 303


@one_database
def test_the_look_is_remembered_without_signing_in(app: Any) -> None:
    token = app.get("/sign-in", {"email": "a@b.example"}).forms[0]["csrf_token"].value
    values = {"csrf_token": token, "theme": "dark", "locale": "ru", "back": "/sign-in"}
    answer = app.post("/display-settings", values, status=303)
    assert answer.headers["Location"] == "http://localhost/sign-in"
    page = answer.follow()
    assert page.html.html["data-theme"] == "dark"
    assert page.html.html["lang"] == "ru"
    values["back"] = "//evil.example/"
    assert app.post("/display-settings", values, status=303).headers["Location"] == "http://localhost/"


@one_database
def test_a_page_speaks_the_language_the_browser_asks_for(app: Any) -> None:
    asked = app.get("/sign-in", headers={"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.5"})
    assert asked.html.html["lang"] == "ru"
    assert app.get("/sign-in", headers={"Accept-Language": "de"}).html.html["lang"] == "en"
    assert app.get("/sign-in?lang=ru").html.html["lang"] == "ru"


@one_database
@pytest.mark.parametrize(
    ("locale", "words"), [("en", "about 90 emails a minute"), ("ru", "примерно 90 писем в\xa0минуту")]
)
def test_a_slowed_sender_says_that_its_server_asked_for_it(
    anna: Any, sender: Sender, session: Session, locale: str, words: str
) -> None:
    sender.slowed_to, sender.slowed_from = 1.5, 3.0
    sender.account.locale = locale
    session.commit()
    assert words in anna.get(f"/senders/{sender.id}")


@one_database
def test_a_sender_removed_in_another_tab_stays_out_by_proving_it(
    anna: Any, sender: Sender, smtp_server: SMTPServer, session: Session
) -> None:
    known = smtp_server.passwords

    class Thinking(dict[str, str]):
        def get(self, login: str, default: Any = None) -> Any:
            delete_sender(session, sender, now=datetime.now(UTC))
            session.commit()
            return known.get(login, default)

    for password in ("secret", "wrong"):
        forms = anna.get(f"/senders/{sender.id}").forms.values()
        form = next(form for form in forms if "password" in form.fields)
        form["password"] = "secret"
        smtp_server.passwords = Thinking(known)
        known["anna@example.com"] = password
        form.submit(status=404)
        reread(session, sender)
        assert sender.secrets is None
        assert sender.status is SenderStatus.ready
        sender.deleted_at = None
        session.commit()
