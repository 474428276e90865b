"""``kill -9`` of the web process during "Send": all or nothing, and sending again is harmless."""

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from mailganer import accounts, campaigns, queue
from mailganer.db import utcnow
from mailganer.models import Account, CampaignStatus, Sender
from tests.fixtures.api import Client

from .child import die, dies, end_of, fork

Arm = Callable[[Any], object]

# When the process dies, and whether the campaign has been started then.
POINTS: dict[str, tuple[Arm, bool]] = {
    "before anything": (lambda engine: dies(campaigns, "schedule"), False),
    "the row changed": (lambda engine: dies(campaigns, "schedule", after=True), False),
    "before COMMIT": (lambda engine: event.listen(engine, "commit", lambda connection: die()), False),
    "after COMMIT": (lambda engine: dies(queue, "enqueue"), True),
    "after the bell": (lambda engine: dies(queue, "enqueue", after=True), True),
}


@pytest.fixture
def draft(make: Any, anna: Any, session: Any) -> Any:
    account = session.scalars(select(Account)).one()
    readers = make.list(account)
    make.subscribers(account, 5, readers)
    draft = make.campaign(account, (readers,), tuple(session.scalars(select(Sender))))
    make.commit()
    return draft


def killed_while(app: Any, arm: Arm, renderer: Callable[[], object]) -> None:
    engine = app.app.registry["engine"]
    engine.dispose()  # the child opens its own connections

    def work() -> None:
        arm(engine)
        renderer()

    assert end_of(fork(work)) == -signal.SIGKILL


def sent_once(draft: Any, open_works: Any, clock: Any, smtp_server: Any, reload: Any) -> None:
    clock.now = utcnow() + timedelta(minutes=1)  # the time to undo is over
    open_works(clock).run(4)
    assert reload(draft).status is CampaignStatus.finished
    assert len(smtp_server.counts) == 5
    assert set(smtp_server.counts.values()) == {1}


@pytest.mark.parametrize("point", POINTS)
def test_a_press_that_the_web_did_not_survive_is_done_whole_or_not_at_all(
    anna: Any,
    draft: Any,
    open_works: Any,
    clock: Any,
    smtp_server: Any,
    reload: Any,
    point: str,
) -> None:
    arm, started = POINTS[point]
    here = f"/campaigns/{draft.id}/send"
    button = next(form for form in anna.get(here).forms.values() if form.action == here)
    killed_while(anna, arm, button.submit)
    row = reload(draft)
    expected = CampaignStatus.scheduled if started else CampaignStatus.draft
    assert (row.status, row.send_at is not None, row.forecast is not None) == (expected, started, started)

    assert button.submit(status=303).location.endswith("/progress")
    pressed = reload(draft)
    assert pressed.status is CampaignStatus.scheduled
    assert button.submit(status=303).location.endswith("/progress")
    assert reload(draft).send_at == pressed.send_at
    if started:
        assert pressed.send_at == row.send_at
    sent_once(draft, open_works, clock, smtp_server, reload)


@pytest.mark.parametrize("point", POINTS)
def test_a_program_that_asks_again_with_the_same_key_starts_the_campaign_once(
    anna: Any,
    draft: Any,
    session: Any,
    open_works: Any,
    clock: Any,
    smtp_server: Any,
    reload: Any,
    point: str,
) -> None:
    arm, started = POINTS[point]
    token, _row = accounts.create_api_token(session, draft.account, name="tests", now=utcnow())
    session.commit()
    client = Client(anna, token)

    def renderer() -> Any:
        return client.post(f"campaigns/{draft.id}/schedule", {}, key="one").json

    killed_while(anna, arm, renderer)
    row = reload(draft)
    assert row.status is (CampaignStatus.scheduled if started else CampaignStatus.draft)
    first = renderer()
    assert first["status"] == "scheduled"
    assert renderer() == first
    if started:
        assert reload(draft).send_at == row.send_at
    sent_once(draft, open_works, clock, smtp_server, reload)
