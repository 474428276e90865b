"""An unavailable broker: pages, sign-in and "Send" work without it; sending resumes with it."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from mailganer import main
from mailganer.db import utcnow
from mailganer.models import Account, Campaign, CampaignStatus, Sender
from mailganer.web.rate_limits import PER_LOGIN
from tests.support.ports import wait_until
from tests.support.redis import Redis


@pytest.fixture
def broker_url(broker: Redis) -> str:
    return broker.url


@pytest.fixture
def ini_values(ini_values: dict[str, str], broker_url: str) -> dict[str, str]:
    ini_values["celery.broker_url"] = broker_url
    return ini_values


@pytest.fixture
def draft(make: Any, anna: Any, session: Any) -> Any:
    account = session.scalars(select(Account)).one()
    readers = make.list(account)
    make.subscribers(account, 20, readers)
    draft = make.campaign(account, (readers,), tuple(session.scalars(select(Sender))))
    make.commit()
    return draft


def press_send(app: Any, draft: Any) -> Any:
    here = f"/campaigns/{draft.id}/send"
    return next(form for form in app.get(here).forms.values() if form.action == here).submit(status=303)


def end_the_grace(session: Any, draft: Any) -> None:
    session.execute(update(Campaign).where(Campaign.id == draft.id).values(send_at=utcnow()))
    session.commit()


def test_a_campaign_started_while_the_broker_is_gone_is_sent_when_it_is_back(
    anna: Any,
    draft: Any,
    broker: Redis,
    parts: Any,
    session: Any,
    smtp_server: Any,
    deliveries: Any,
    reload: Any,
) -> None:
    parts.start("worker", "beat")
    wait_until(lambda: "ready." in parts.output(), timeout=60, what="the worker")
    broker.kill()
    assert press_send(anna, draft).follow().status_int == 200
    assert reload(draft).status is CampaignStatus.scheduled
    end_the_grace(session, draft)
    for page in ("/campaigns", "/senders", "/lists", "/settings", f"/campaigns/{draft.id}/progress"):
        assert anna.get(page).status_int == 200
    try:
        # Both have noticed it and keep reconnecting.
        wait_until(
            lambda: parts.output().count("The broker is unreachable") >= 2, timeout=30, what="both to notice"
        )
        assert parts.runs("worker")
        assert parts.runs("beat")
        assert not smtp_server.emails
        broker.start()
        wait_until(lambda: reload(draft).status is CampaignStatus.finished, timeout=90, what="the campaign")
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    assert smtp_server.counts == Counter(row.email for row in deliveries(draft.id))
    assert len(smtp_server.emails) == 20


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_campaign_under_way_is_paused_and_continues_without_a_broker(
    anna: Any,
    draft: Any,
    broker: Redis,
    session: Any,
    open_works: Any,
    clock: Any,
    reload: Any,
    statuses: Any,
) -> None:
    press_send(anna, draft)
    broker.kill()
    clock.now = utcnow() + timedelta(minutes=1)
    works = open_works(clock)
    works.tick()
    assert reload(draft).status is CampaignStatus.sending
    progress = anna.get(f"/campaigns/{draft.id}/progress")
    for verb, becomes in (("pause", CampaignStatus.paused), ("resume", CampaignStatus.sending)):
        action = f"/campaigns/{draft.id}/{verb}"
        form = next(form for form in progress.forms.values() if form.action == action)
        progress = form.submit(status=303).follow()
        assert reload(draft).status is becomes
    works.run(4)
    assert statuses(draft.id) == {"sent": 20}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_signing_in_works_without_a_broker_and_its_tries_are_counted_by_all_processes(
    ini_values: dict[str, str],
    app: Any,
    broker: Redis,
    sign_in: Any,
) -> None:
    from webtest import TestApp

    other = TestApp(main({}, **ini_values), extra_environ=app.extra_environ)
    broker.kill()
    sign_in(app)
    app.reset()
    for number in range(PER_LOGIN.tries):
        sign_in((app, other)[number % 2], password="wrong", status=401)
    for each in (app, other):
        assert "Too many attempts" in sign_in(each, password="wrong", status=429)
    other.app.registry["opens"].close()
    other.app.registry["engine"].dispose()
