"""Unsubscribe pages and views in the browser without Pyramid: the same bytes as from the view."""

import gzip
import re
from threading import current_thread

import pytest
from sqlalchemy import event, update
from webob import Request
from webtest import TestApp

from mailganer.models import Delivery, Subscriber, SubscriberStatus, token_text
from tests.support.sent import sent_campaign, token

EMAIL = "<p>Dear {{ first_name }} of {{ city }}, <a href='https://example.com/{{ city }}'>on</a></p>"


@pytest.fixture
def sent(session, make, account, now):
    readers = make.list(account, "Readers")
    subscribers = [
        make.subscriber(account, lists=(readers,), first_name=name, fields={"city": city})
        for name, city in (("Anna", "Tver"), ("<Boris>", "Омск"), ("Vera", "Perm"))
    ]
    sender = make.sender(account, from_name="Anna & Co", from_email="anna@example.com")
    campaign = make.campaign(account, (readers,), (sender,), html=EMAIL, locale="ru")
    deliveries = sent_campaign(session, campaign, subscribers, now)
    session.commit()
    return [token(each) for each in deliveries]


@pytest.fixture
def by_view(wsgi_app):
    """``by_view(path, **headers)``: the page as its view renders it."""
    view = TestApp(wsgi_app._pages._application)
    return lambda path, **headers: view.get(path, headers=headers, status=200)


@pytest.fixture
def own_statements(wsgi_app):
    """The statements of all threads but the one that reads for many requests."""
    seen = []

    def note(_connection, _cursor, statement, *_more):
        if current_thread().name != "looks" and not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(wsgi_app.registry["engine"], "before_cursor_execute", note)
    yield seen
    event.remove(wsgi_app.registry["engine"], "before_cursor_execute", note)


def headers_of(answer):
    skipped = ("Content-Length", "Date")
    return sorted(
        (name.title(), text.lower()) for name, text in answer.headerlist if name.title() not in skipped
    )


@pytest.mark.parametrize("query", ["", "?lang=en", "?lang=ru"])
def test_an_unsubscribe_page_is_the_same_from_memory(session, sent, app, by_view, own_statements, query):
    app.get(f"/u/{sent[0]}{query}", status=200)
    expected = by_view(f"/u/{sent[1]}{query}")
    own_statements.clear()
    found = app.get(f"/u/{sent[1]}{query}", status=200)
    assert own_statements == []
    assert found.text == expected.text
    assert sent[1] in found.text
    assert sent[0] not in found.text
    assert "mark" not in re.sub(r"<[^>]*>", "", found.text)
    assert headers_of(found) == headers_of(expected)


def test_a_page_from_memory_shows_what_has_become_of_its_recipient(session, sent, app, by_view):
    for each in (0, 1, 0, 1):
        app.get(f"/u/{sent[each]}?lang=en", status=200)
    app.post(f"/u/{sent[0]}?lang=en", status=200)
    for _again in range(2):
        assert "You are unsubscribed" in app.get(f"/u/{sent[0]}?lang=en").text
        assert "Subscribe again" in app.get(f"/u/{sent[0]}?lang=en").text
        assert "Unsubscribe from Anna &amp; Co?" in app.get(f"/u/{sent[1]}?lang=en").text
    session.execute(update(Subscriber).values(status=SubscriberStatus.complained))
    session.commit()
    for _again in range(2):
        page = app.get(f"/u/{sent[1]}?lang=en")
        assert page.text == by_view(f"/u/{sent[1]}?lang=en").text
        assert not page.forms


@pytest.mark.parametrize("cookie", ["theme=dark", "x=y"])
def test_a_page_that_depends_on_more_is_rendered_by_its_view(sent, app, by_view, cookie):
    for each in (0, 1):
        app.get(f"/u/{sent[each]}?lang=en", status=200)
    found = app.get(f"/u/{sent[1]}?lang=en", headers={"Cookie": cookie}, status=200)
    assert found.text == by_view(f"/u/{sent[1]}?lang=en", Cookie=cookie).text
    assert ('data-theme="dark"' in found.text) == (cookie == "theme=dark")
    odd = app.get(f"/u/{sent[1]}?lang=en&x=%22", status=200)
    assert "x=%22" in odd.text


def test_a_page_from_memory_is_compressed_for_those_who_accept_it(sent, app, wsgi_app):
    app.get(f"/u/{sent[0]}", status=200)

    def page(**headers):
        answer = Request.blank(f"/u/{sent[1]}", base_url="http://localhost", headers=headers).get_response(
            wsgi_app
        )
        assert answer.headers["Vary"] == "Accept-Encoding"
        return answer.headers.get("Content-Encoding"), answer.body

    plain = page()
    encoding, body = page(**{"Accept-Encoding": "gzip, br"})
    assert (encoding, gzip.decompress(body)) == ("gzip", plain[1])
    assert page(**{"Accept-Encoding": "gzip;q=0"}) == plain == (None, plain[1])


def test_a_view_is_the_same_in_this_process_and_reads_no_more_than_its_own_row(
    sent, app, by_view, own_statements
):
    app.get(f"/v/{sent[0]}", status=200)
    expected = by_view(f"/v/{sent[1]}")
    own_statements.clear()
    found = app.get(f"/v/{sent[1]}", status=200)
    assert own_statements == []
    assert found.text == expected.text
    assert "Dear &lt;Boris&gt; of Омск" in found.text
    assert f"/c/{sent[1]}/1" in found.text
    assert headers_of(found) == headers_of(expected)


def test_who_was_erased_gets_the_page_of_the_view(session, sent, app):
    app.get(f"/u/{sent[0]}?lang=en", status=200)
    session.execute(update(Delivery).where(Delivery.token != b"").values(subscriber_id=None))
    session.commit()
    assert "You are not subscribed" in app.get(f"/u/{sent[1]}?lang=en").text


@pytest.mark.parametrize("path", ["/u/{}", "/v/{}"])
def test_an_unknown_token_is_not_found_whatever_is_in_memory(sent, app, path):
    for each in (0, 1):
        app.get(path.format(sent[each]), status=200)
    app.get(path.format(token_text(bytes(16))), status=404)


def test_a_slash_behind_a_link_of_an_email_changes_nothing(session, sent, app):
    """Some email apps append one."""
    for path in (f"/u/{sent[0]}", f"/v/{sent[0]}"):
        assert app.get(f"{path}/?lang=en", status=200).text == app.get(f"{path}?lang=en", status=200).text
    link = f"/c/{sent[0]}/1"
    assert app.get(f"{link}/", status=302).location == app.get(link, status=302).location
    app.get(f"/o/{sent[0]}.gif/", status=200)
    app.get(f"/u/{token_text(bytes(16))}/", status=404)
    app.get("/u/", status=404)
    app.post(f"/u/{sent[0]}/", {"List-Unsubscribe": "One-Click"}, status=200)
    assert "You are unsubscribed" in app.get(f"/u/{sent[0]}/?lang=en").text
