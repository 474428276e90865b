"""Clicks through the whole application: what a click costs, and what happens when it cannot be written."""

from threading import current_thread

import pytest
from sqlalchemy import delete, event, update
from sqlalchemy.exc import OperationalError

from mailganer.models import Campaign, Delivery, FrozenEmail
from mailganer.tracking import Numbers, campaign_numbers, clicks, group_writer
from tests.support.sent import sent_campaign, token

EMAIL = (
    "<a href='https://example.com/news'>news</a> <a href='https://example.com/{{ city }}'>your city</a>"
    " <a href='https://example.com/{{ list.name }}'>your list</a>"
)


@pytest.fixture
def sent(session, make, account, now):
    readers = make.list(account, "Readers")
    subscribers = [make.subscriber(account, lists=(readers,), fields={"city": "tver"}) for _each in range(3)]
    campaign = make.campaign(account, (readers,), (make.sender(account),), html=EMAIL)
    deliveries = sent_campaign(session, campaign, subscribers, now)
    session.commit()
    return campaign.id, [token(each) for each in deliveries]


@pytest.fixture
def statements(wsgi_app):
    """The statements by the name of the thread that sent them."""
    seen = []

    def note(_connection, _cursor, statement, *_more):
        seen.append((current_thread().name, statement))

    event.listen(wsgi_app.registry["engine"], "before_cursor_execute", note)
    yield seen
    event.remove(wsgi_app.registry["engine"], "before_cursor_execute", note)


def numbers(session, campaign_id):
    found = campaign_numbers(session, [campaign_id])[campaign_id]
    session.commit()
    return found


@pytest.mark.parametrize(("number", "path", "most"), [(1, "news", 0), (2, "tver", 2), (3, "Readers", 2)])
def test_a_click_sends_at_most_two_statements_of_its_own(session, sent, app, statements, number, path, most):
    campaign_id, tokens = sent
    target = f"https://example.com/{path}"
    assert app.get(f"/c/{tokens[0]}/{number}", status=302).location == target
    statements.clear()  # the first one has read the version, which is then in memory
    assert app.get(f"/c/{tokens[1]}/{number}", status=302).location == target
    own = [statement for thread, statement in statements if thread != "clicks"]
    assert len([each for each in own if not each.startswith("BEGIN")]) <= most, own
    assert not [each for _thread, each in statements if "compiled" in each]
    assert numbers(session, campaign_id).clicks == 2


def test_a_click_that_cannot_wait_is_told_when_to_come_again(session, sent, app, monkeypatch):
    campaign_id, tokens = sent
    monkeypatch.setattr(group_writer, "MOST_WAITING", 0)
    answer = app.get(f"/c/{tokens[0]}/1", status=503)
    assert int(answer.headers["Retry-After"]) > 0
    assert "Location" not in answer.headers
    monkeypatch.undo()
    app.get(f"/c/{tokens[0]}/1", status=302)
    assert numbers(session, campaign_id).clicks == 1


def test_a_click_that_the_database_does_not_take_leads_nowhere(session, sent, app, monkeypatch):
    campaign_id, tokens = sent

    def gone(*_arguments):
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    for number in (1, 2):
        app.get(f"/c/{tokens[0]}/{number}", status=302)
    monkeypatch.setattr(clicks, "lock_emails", gone)
    for number in (1, 2):
        answer = app.get(f"/c/{tokens[0]}/{number}", status=503)
        assert int(answer.headers["Retry-After"]) > 0
        assert "Location" not in answer.headers
    monkeypatch.undo()
    assert numbers(session, campaign_id) == Numbers(opened_possible=1, opens=1, clicked=1, clicks=2)


def test_a_version_of_a_deleted_campaign_is_not_shown_for_a_new_one_with_its_id(session, sent, app, now):
    campaign_id, tokens = sent
    app.get(f"/c/{tokens[0]}/1", status=302)
    version = session.get(Campaign, campaign_id).frozen_email_id
    compiled = session.get(FrozenEmail, version).compiled
    session.execute(update(Delivery).values(frozen_email_id=None))
    session.execute(delete(FrozenEmail).where(FrozenEmail.id == version))
    other = compiled | {"links": ["https://other.example/", *compiled["links"][1:]]}
    session.add(FrozenEmail(id=version, campaign_id=campaign_id, version=2, compiled=other, created_at=now))
    session.commit()
    assert app.get(f"/c/{tokens[0]}/1", status=302).location == "https://other.example/"
