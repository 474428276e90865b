"""The mail catcher's emails as an inbox."""

from pathlib import Path

import pytest

from mailganer.mail_catcher import make_folder, store_email

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # emails lie in files

EMAIL = (
    "From: Anna <anna@example.com>\r\nTo: {to}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain words\r\n"
    "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    "<!doctype html><html><head><title>t</title></head><body><b>rich words</b>"
    "<script>alert(1)</script><img src='http://localhost/o/x.gif'></body></html>\r\n--b--\r\n"
)


@pytest.fixture
def ini_values(ini_values):
    return ini_values | {"mailganer.development": "true"}


@pytest.fixture
def outbox(settings):
    folder: Path = settings.outbox
    make_folder(folder)
    return folder


def form_of(page, method):
    return next(form for form in page.forms.values() if form.action == "/outbox" and form.method == method)


def drop(folder, to="reader@example.org", subject="News"):
    return store_email(folder, "anna@example.com", to, EMAIL.format(to=to, subject=subject).encode())


def test_an_empty_outbox_says_what_fills_it(anna, outbox):
    assert "No emails yet" in anna.get("/outbox").text


def test_emails_are_listed_newest_first_and_found_by_recipient(anna, outbox):
    drop(outbox, "one@example.org", "First")
    drop(outbox, "two@example.org", "Second <script>")
    page = anna.get("/outbox")
    assert page.text.index("Second &lt;script&gt;") < page.text.index("First")
    form = form_of(page, "get")
    form["to"] = "one@"
    found = form.submit()
    assert "First" in found.text
    assert "Second" not in found.text
    assert "No matches" in anna.get("/outbox?to=nobody").text


def test_an_email_is_shown_in_a_frame_where_nothing_runs(anna, outbox):
    key = drop(outbox, "o'dd+tag%x@example.org")
    page = anna.get("/outbox").click("News")
    frame = page.html.find("iframe")
    assert "allow-scripts" not in frame["sandbox"]
    assert "allow-same-origin" not in frame["sandbox"]
    assert "plain words" in page.text
    assert key
    email = anna.get(frame["src"])
    assert '<head><base target="_blank">' in email.text
    policy = email.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "img-src data: http: https:" in policy
    assert "script-src" not in policy
    assert email.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_everything_can_be_thrown_away(anna, outbox):
    drop(outbox)
    page = anna.get("/outbox")
    form = form_of(page, "post")
    assert "No emails yet" in form.submit(status=303).follow().text


@pytest.mark.parametrize("key", ["nothing", "..%2f..%2fsecret", "1" * 19 + ".1_1.x"])
def test_an_email_that_is_not_there_is_a_404(anna, outbox, key):
    anna.get(f"/outbox/{key}", status=404)
    anna.get(f"/outbox/{key}/frame", status=404)


def test_who_is_not_signed_in_sees_no_emails(app, outbox):
    drop(outbox)
    assert "sign-in" in app.get("/outbox", status=303).location


def test_many_emails_come_in_pages(anna, outbox):
    for number in range(55):
        drop(outbox, f"r{number:02}@example.org", f"Email {number:02}")
    first = anna.get("/outbox")
    assert first.text.count("r54@example.org") >= 1
    assert "r04@example.org" not in first.text
    assert "r04@example.org" in first.click("Next page").text
