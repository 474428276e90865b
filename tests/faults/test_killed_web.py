"""``kill -9`` of the web process.

During "Send": all or nothing, and sending again is harmless. Among clicks: what was answered is counted.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest
from sqlalchemy import event, select

from mailganer import accounts, campaigns, queue
from mailganer.db import utcnow
from mailganer.models import Account, CampaignStatus, Delivery, Sender
from tests.fixtures.api import Client
from tests.support.installation import Installation
from tests.support.ports import wait_until
from tests.support.sent import sent_campaign, token

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


class Clickers:
    """Threads that follow one link each time, over connections of their own, until the server is gone."""

    def __init__(self, port: int, tokens: Sequence[str], number: int) -> None:
        self._port, self._tokens, self._next, self._lock = port, tokens, 0, Lock()
        self.answered: list[str] = []
        self._threads = [Thread(target=self._follow, daemon=True) for _each in range(number)]
        for thread in self._threads:
            thread.start()

    def _follow(self) -> None:
        with suppress(OSError, HTTPException):
            line = HTTPConnection("127.0.0.1", self._port, timeout=30)
            while True:
                with self._lock:
                    token, self._next = self._tokens[self._next % len(self._tokens)], self._next + 1
                line.request("GET", f"/c/{token}/1", headers={"User-Agent": "Mozilla/5.0 (X11; Linux)"})
                answer = line.getresponse()
                answer.read()
                assert answer.status == 302
                self.answered.append(token)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


@pytest.mark.parametrize("seconds", [0.2, 0.5])
def test_a_killed_web_process_loses_no_click_that_was_answered(
    tmp_path: Path, database_url: str, session: Any, make: Any, account: Any, now: Any, seconds: float
) -> None:
    readers = make.list(account)
    people = [make.subscriber(account, lists=(readers,)) for _each in range(200)]
    campaign = make.campaign(
        account, (readers,), (make.sender(account),), html="<a href='https://example.com/'>on</a>"
    )
    deliveries = sent_campaign(session, campaign, people, now)
    session.commit()
    installation = Installation(tmp_path / "web", database_url, broker_url="redis://127.0.0.1:1/0")
    web = installation.begin("web")
    try:
        wait_until(installation.answers_web, 60, what="the web part", every=0.1)
        clickers = Clickers(installation.port, [token(each) for each in deliveries], 8)
        wait_until(lambda: len(clickers.answered) > 20, 30, what="clicks")
        time.sleep(seconds)
        web.kill()
        clickers.join()
    finally:
        web.kill()
        web.wait()
    answered = Counter(clickers.answered)
    session.expire_all()
    counted = {token(each): each.clicks for each in session.scalars(select(Delivery))}
    session.commit()
    lost = {each: number for each, number in answered.items() if counted[each] < number}
    assert lost == {}
    # What was committed and not yet answered is counted too: one at most on each connection.
    assert sum(answered.values()) <= sum(counted.values()) <= sum(answered.values()) + 8
