"""Recipient pages, through the whole application."""

import os

import pytest
from sqlalchemy import func, select
from webtest import TestApp

from mailganer.audience import erase_subscriber, suppressed
from mailganer.models import Delivery, Event, Subscriber, SubscriberStatus, token_text
from mailganer.tracking import Numbers, campaign_numbers
from tests.support.sent import sent_campaign, token

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
EMAIL = (
    "<h1>Dear {{ first_name }}</h1> <script>x()</script>"
    "<a href='https://example.com/?who={{ first_name }}'>on</a>"
)
UNKNOWN = token_text(bytes(16))


@pytest.fixture
def sent(session, make, account, now):
    readers = make.list(account, "Secret leads")
    people = [
        make.subscriber(account, f"reader{n}@example.org", (readers,), first_name=f"Анна{n}") for n in (1, 2)
    ]
    sender = make.sender(account, from_name="Anna & Co", from_email="anna@example.com")
    campaign = make.campaign(account, (readers,), (sender,), name="Cold mail 7", html=EMAIL, locale="ru")
    deliveries = sent_campaign(session, campaign, people, now)
    session.commit()
    return campaign, deliveries


@pytest.fixture
def reader(wsgi_app):
    """A recipient's browser: no cookies, another address. Opens are written before each request."""

    def written(environ, start_response):
        answer = wsgi_app(environ, start_response)
        wsgi_app.registry["opens"].flush()
        return answer

    return TestApp(
        written,
        extra_environ={"HTTP_HOST": "localhost", "REMOTE_ADDR": "203.0.113.9", "HTTP_USER_AGENT": BROWSER},
    )


def numbers(session, campaign):
    session.expire_all()
    found = campaign_numbers(session, [campaign.id])[campaign.id]
    session.commit()  # on SQLite an open read transaction blocks the application's writes
    return found


def statuses(session):
    rows = session.execute(select(Subscriber.email, Subscriber.status)).all()
    found = {row.email: row.status for row in rows}
    session.commit()
    return found


def test_the_pixel_is_a_small_gif_that_no_one_keeps_and_counts_an_open(session, sent, reader):
    campaign, deliveries = sent
    answer = reader.get(f"/o/{token(deliveries[0])}.gif", status=200)
    assert answer.content_type == "image/gif"
    assert answer.body.startswith(b"GIF89a")
    assert len(answer.body) == 43
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert numbers(session, campaign) == Numbers(opened_certain=1, opens=1)


@pytest.mark.parametrize("odd", ["x", UNKNOWN, "a" * 3000, "%00", "..", "%D1%8F" * 22])
def test_the_pixel_of_an_unknown_token_is_the_same_pixel(session, sent, reader, odd):
    answer = reader.get(f"/o/{odd}.gif", status=200)
    assert (answer.content_type, len(answer.body)) == ("image/gif", 43)
    assert session.scalar(select(func.count()).select_from(Event)) == 0


def test_the_pixel_comes_even_when_the_database_does_not(sent, wsgi_app, reader, monkeypatch):
    from sqlalchemy.exc import OperationalError

    class Gone:
        def begin(self):
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setitem(wsgi_app.registry, "sessions", Gone())
    assert reader.get(f"/o/{token(sent[1][0])}.gif", status=200).content_type == "image/gif"


def test_a_click_leads_on_without_telling_where_from(session, sent, reader):
    campaign, deliveries = sent
    answer = reader.get(f"/c/{token(deliveries[0])}/1", status=302)
    assert answer.headers["Location"] == "https://example.com/?who=%D0%90%D0%BD%D0%BD%D0%B01"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert numbers(session, campaign) == Numbers(opened_certain=1, opens=1, clicked=1, clicks=1)


@pytest.mark.parametrize(
    "path",
    [
        "/c/{token}/2",
        "/c/{token}/0",
        "/c/{token}/99999999999999999999",
        f"/c/{UNKNOWN}/1",
        "/c/x/1?u=https://evil.example",
        "/u/x",
        f"/u/{UNKNOWN}",
        "/v/x",
        f"/v/{UNKNOWN}",
    ],
)
def test_an_unknown_address_is_a_friendly_404_and_counts_nothing(session, sent, reader, path):
    campaign, deliveries = sent
    answer = reader.get(path.format(token=token(deliveries[0])), status=404)
    assert "Location" not in answer.headers
    assert "This link does not work" in answer.text
    assert "sign-in" not in answer.text
    assert numbers(session, campaign) == Numbers()


def test_what_stands_behind_a_click_address_is_ignored(sent, reader):
    answer = reader.get(f"/c/{token(sent[1][0])}/1?u=https://evil.example&url=//evil", status=302)
    assert answer.headers["Location"].startswith("https://example.com/")


def test_a_prefetched_link_is_not_counted_as_a_click(session, sent, reader):
    campaign, deliveries = sent
    address = f"/c/{token(deliveries[0])}/1"
    reader.get(address, headers={"Sec-Purpose": "prefetch;prerender"}, status=302)
    assert (numbers(session, campaign).clicked, numbers(session, campaign).opened_certain) == (0, 0)
    reader.get(address, status=302)
    assert numbers(session, campaign).clicked == 1


def test_a_head_request_counts_nothing(session, sent, reader):
    campaign, deliveries = sent
    text = token(deliveries[0])
    assert reader.head(f"/o/{text}.gif", status=200).headers["Content-Type"] == "image/gif"
    assert reader.head(f"/c/{text}/1", status=302).headers["Location"].startswith("https://example.com/")
    reader.head(f"/u/{text}", status=200)
    reader.head(f"/v/{text}", status=200)
    assert numbers(session, campaign) == Numbers()


def test_fetching_the_unsubscribe_page_changes_nothing(session, sent, reader):
    _campaign, deliveries = sent
    page = reader.get(f"/u/{token(deliveries[0])}", status=200)
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in page.headers
    assert len(page.html.find_all("button")) == 1
    assert set(statuses(session).values()) == {SubscriberStatus.active}


def test_one_click_of_the_mail_program_unsubscribes(session, sent, reader):
    """RFC 8058, section 3.2: no cookie, no redirect, no question."""
    campaign, deliveries = sent
    answer = reader.post(
        f"/u/{token(deliveries[0])}",
        "List-Unsubscribe=One-Click",
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_int == 200
    assert "Set-Cookie" not in answer.headers
    assert numbers(session, campaign).unsubscribed == 1
    assert statuses(session) == {
        "reader1@example.org": SubscriberStatus.unsubscribed,
        "reader2@example.org": SubscriberStatus.active,
    }


def test_one_click_as_multipart_or_with_no_body_does_it_too(session, sent, reader):
    campaign, deliveries = sent
    boundary = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
    reader.post(
        f"/u/{token(deliveries[0])}", boundary, content_type="multipart/form-data; boundary=x", status=200
    )
    reader.post(f"/u/{token(deliveries[1])}", "", status=200)
    assert numbers(session, campaign).unsubscribed == 2


def test_the_button_of_the_page_unsubscribes_and_undo_takes_it_back(session, sent, reader):
    campaign, deliveries = sent
    page = reader.get(f"/u/{token(deliveries[0])}?lang=en")
    assert "Unsubscribe from Anna &amp; Co?" in page.text
    page = page.forms[0].submit()
    assert "You are unsubscribed" in page.text
    assert numbers(session, campaign).unsubscribed == 1
    page = page.forms[0].submit()
    assert "You are subscribed again" in page.text
    assert numbers(session, campaign).unsubscribed == 0
    assert set(statuses(session).values()) == {SubscriberStatus.active}
    assert "You are unsubscribed" in page.forms[0].submit().text


def test_why_the_email_came_is_said_in_whole_sentences(sent, reader):
    _campaign, deliveries = sent
    why = {
        name: " ".join(
            reader.get(f"/u/{token(deliveries[0])}?lang={name}").html.find(class_="fold-body").text.split()
        )
        for name in ("en", "ru")
    }
    assert "on 23 Nov 2026. This email was sent on 23 Nov 2026. To ask" in why["en"]
    assert "С 23 нояб. 2026" in why["ru"]
    assert ".." not in why["ru"]


def test_undo_by_an_email_that_did_not_do_it_changes_nothing(session, sent, reader):
    _campaign, deliveries = sent
    session.get(Subscriber, deliveries[0].subscriber_id).status = SubscriberStatus.complained
    session.commit()
    page = reader.post(f"/u/{token(deliveries[0])}/undo?lang=en", status=200)
    assert "You are unsubscribed" in page.text
    assert not page.forms
    reader.get(f"/u/{token(deliveries[0])}/undo", status=302)


def test_pages_speak_the_emails_language_then_the_browsers(session, sent, reader):
    campaign, deliveries = sent
    path = f"/u/{token(deliveries[0])}"
    assert reader.get(path, headers={"Accept-Language": "en"}).html.html["lang"] == "ru"
    assert reader.get(path + "?lang=en").html.html["lang"] == "en"
    campaign.locale = "de"
    session.commit()
    assert reader.get(path, headers={"Accept-Language": "ru-RU,ru;q=0.9"}).html.html["lang"] == "ru"
    assert reader.get(path, headers={"Accept-Language": "fr"}).html.html["lang"] == "en"


def test_pages_reveal_nothing_of_the_account_or_its_other_recipients(sent, reader):
    _campaign, deliveries = sent
    path = f"/u/{token(deliveries[0])}?lang=en"
    for page in (reader.get(path), reader.post(path)):
        for secret in (
            "Secret leads",
            "Cold mail 7",
            "reader2",
            "reader1@example.org",
            "sign-in",
            "/campaigns",
        ):
            assert secret not in page.text
        assert "r•••@example.org" in page.text


def test_the_email_in_the_browser_is_the_recipients_own_and_runs_nothing(session, sent, reader):
    campaign, deliveries = sent
    page = reader.get(f"/v/{token(deliveries[0])}", status=200)
    assert "Dear Анна1" in page.text
    assert f"http://localhost/c/{token(deliveries[0])}/1" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "frame-ancestors 'none'" in policy
    assert "allow-scripts" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert numbers(session, campaign) == Numbers()


def test_who_guesses_tokens_is_slowed_down(sent, reader):
    for _number in range(60):
        reader.get(f"/u/{token_text(os.urandom(16))}", status=404)
    reader.get(f"/u/{token_text(os.urandom(16))}", status=429)
    reader.get(f"/u/{token(sent[1][0])}", status=200)


def test_an_erased_recipient_gets_an_answer_and_an_email_that_still_opens(session, sent, reader):
    _campaign, deliveries = sent
    session.get(Delivery, deliveries[0].id).subscriber_id = None
    session.commit()
    text = token(deliveries[0])
    assert "You are not subscribed" in reader.get(f"/u/{text}?lang=en").text
    reader.post(f"/u/{text}", "List-Unsubscribe=One-Click", status=200)
    reader.get(f"/o/{text}.gif", status=200)
    reader.get(f"/v/{text}", status=200)


def test_an_erased_recipient_who_unsubscribes_is_kept_out_of_the_next_file(session, sent, reader):
    campaign, deliveries = sent
    delivery = session.get(Delivery, deliveries[0].id)
    address = f"/u/{token(delivery)}?lang=en"
    email_key = delivery.email_key
    erase_subscriber(session, session.get(Subscriber, delivery.subscriber_id))
    session.commit()

    page = reader.get(address)
    assert "has already deleted your address. Unsubscribe to keep it from being added again." in page.text
    assert suppressed(session, campaign.account_id, [email_key]) == {}
    session.commit()
    done = page.forms[0].submit()
    assert "has deleted your address and cannot add it again." in done.text
    assert "Undo" not in done.text
    assert suppressed(session, campaign.account_id, [email_key])
    session.commit()
    assert "cannot add it again" in reader.get(address).text
    reader.post(f"/u/{token(delivery)}", "List-Unsubscribe=One-Click", status=200)
