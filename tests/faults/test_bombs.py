"""A template that is harmless with one recipient's values and endless with another's, in any field.

It is refused in every field and wherever it is rendered; other recipients continue. A slot of the
render process is awaited for a few seconds at most.
"""

from collections.abc import Callable, Iterator
from threading import Event, Thread
from time import process_time
from typing import Any

import pytest

from mailganer.campaigns import test_email
from mailganer.errors import Busy
from mailganer.models import Campaign, CampaignStatus, Reason, token_text
from mailganer.rendering import (
    MessageRenderer,
    Source,
    compile_email,
    engine,
    render_budget,
    render_link,
    render_process,
)
from mailganer.rendering.compiler import prepare
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker import lane_turn, window_planner, window_queue
from mailganer.sending.worker.delivery_renderer import DeliveryRenderer
from tests.fixtures.api import Client
from tests.rendering.conftest import ENVELOPE
from tests.sending.scripted import Script

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BOMB = "{% set y = x.replace('a', 'a' * 9) %}" + "{% if y.rfind('ab' ~ x ~ x ~ x ~ x) %}{% endif %}" * 20
LONG = "a" * 9_900
HTML = '<p>Dear {{ first_name }}, <a href="https://shop.test/">read</a></p>'
FIELDS: dict[str, dict[str, Any]] = {
    "subject": {"subject": f"News{BOMB}", "html": HTML},
    "preheader": {"preheader": f"News{BOMB}", "html": HTML},
    "html": {"html": f"{HTML}{BOMB}"},
    "text": {"html": HTML, "text": f"News{BOMB}"},
    "variables": {"html": HTML.replace("shop.test/", "shop.test/{{ offer }}"), "variables": {"offer": BOMB}},
    "a link": {"html": HTML.replace("shop.test/", f"shop.test/{BOMB}")},
}


@pytest.fixture
def make_campaign(make: Any, account: Any, smtp_server: Any) -> Callable[..., Campaign]:
    """A draft to two recipients; the values of the first trigger its template bomb."""
    readers = make.list(account)
    make.subscriber(account, "loaded@example.org", (readers,), first_name="Loaded", fields={"x": LONG})
    make.subscriber(account, "vera@example.org", (readers,), first_name="Vera", fields={"x": "b"})
    sender = make.sender(account, smtp_server)

    def make_one(**values: Any) -> Campaign:
        campaign: Campaign = make.campaign(account, (readers,), (sender,), **values)
        make.commit()
        return campaign

    return make_one


@on_sqlite
@pytest.mark.parametrize("field", FIELDS)
def test_a_bomb_in_any_field_is_refused_everywhere_and_the_others_get_their_email(
    client: Client,
    app: Any,
    make: Any,
    make_campaign: Callable[..., Campaign],
    open_works: Any,
    clock: Any,
    script: Script,
    deliveries: Any,
    reload: Any,
    field: str,
) -> None:
    campaign = make_campaign(**FIELDS[field])
    loaded, vera = sorted(each["id"] for each in client.get("subscribers").json["items"])
    preview = f"campaigns/{campaign.id}/preview"
    client.post(preview, {"subscriber_id": loaded}, status=422)
    client.post(preview, {"subscriber_id": vera})
    client.post(f"campaigns/{campaign.id}/test", {"to": ["anna@example.com"]}, status=422)
    campaign.status, campaign.send_at = CampaignStatus.scheduled, clock.now
    make.commit()
    open_works(clock, script).run(4)
    rows = deliveries(campaign.id)
    assert {row.email: row.reason for row in rows} == {
        "loaded@example.org": Reason.render_error,
        "vera@example.org": None,
    }
    assert script.got == {"vera@example.org": 1}
    assert reload(campaign).status is CampaignStatus.finished
    tokens = {row.email: token_text(row.token) for row in rows}
    app.get(f"/v/{tokens['loaded@example.org']}", status=404)
    app.get(f"/v/{tokens['vera@example.org']}")
    goes_off = field in ("variables", "a link")
    app.get(f"/c/{tokens['loaded@example.org']}/1", status=404 if goes_off else 302)
    assert app.get(f"/c/{tokens['vera@example.org']}/1").location == "https://shop.test/"


# --- slots of the render process


class Full(render_process._Helpers):
    """Occupy all slots with slow emails."""

    def __init__(self) -> None:
        super().__init__()
        for _each in range(2):
            self._line.acquire()
            self._room.acquire()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Occupy every slot until it is called; waiting requests time out soon."""
    monkeypatch.setattr(render_process, "WAIT_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(render_process, "_helpers", Full())
        yield patch.undo


def test_who_finds_no_place_is_sent_away_after_a_while_and_at_once_when_many_wait(
    full: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("Hello", html="<p>Hello</p>")
    with pytest.raises(Busy) as caught:
        compile_email(source)
    assert caught.value.retry_after == render_process.ASK_AGAIN
    monkeypatch.setattr(render_process, "WAIT_SECONDS", 60.0)
    email, freed = render_process._helpers, Event()
    waiting = [Thread(target=lambda: _wait(email, freed)) for _each in range(render_process.MOST_WAITING)]
    for thread in waiting:
        thread.start()
    while email._line.acquire(blocking=False):  # until all of them wait
        email._line.release()
    with pytest.raises(Busy):
        compile_email(source)  # 60 seconds would be too long for this test
    freed.set()
    email._room.release()
    for thread in waiting:
        thread.join()
    full()
    assert compile_email(source)


def _wait(helpers: render_process._Helpers, freed: Event) -> None:
    with helpers._permit():
        assert freed.is_set()


@on_sqlite
def test_a_page_that_finds_no_place_answers_503_and_when_to_ask_again(
    client: Client,
    app: Any,
    make_campaign: Callable[..., Campaign],
    open_works: Any,
    clock: Any,
    script: Script,
    deliveries: Any,
    full: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "https://shop.test/" + "{{ first_name }}" * 200
    with monkeypatch.context() as usual:
        free = render_process._Helpers()
        usual.setattr(render_process, "_helpers", free)
        campaign = make_campaign(
            html=HTML.replace("https://shop.test/", address),
            status=CampaignStatus.scheduled,
            send_at=clock.now,
        )
        open_works(clock, script).run(3)
    free.close()
    draft, token = make_campaign(), token_text(deliveries(campaign.id)[0].token)
    answers = [
        client.post(f"campaigns/{draft.id}/preview", {}, status=503),
        client.post(f"campaigns/{draft.id}/check", {}, status=503),
        client.post(f"campaigns/{draft.id}/test", {"to": ["anna@example.com"]}, status=503),
        client.post(f"campaigns/{draft.id}/schedule", {}, key="once", status=503),
        app.get(f"/v/{token}", status=503),
        app.get(f"/c/{token}/1", status=503),
    ]
    assert {answer.headers["Retry-After"] for answer in answers} == {str(render_process.ASK_AGAIN)}
    full()
    client.post(f"campaigns/{draft.id}/schedule", {}, key="once")
    assert app.get(f"/c/{token}/1").location == "https://shop.test/" + "Loaded" * 200


@on_sqlite
def test_a_campaign_that_finds_no_place_is_planned_later(
    make_campaign: Callable[..., Campaign],
    open_works: Any,
    clock: Any,
    script: Script,
    reload: Any,
    full: Callable[[], None],
) -> None:
    campaign = make_campaign(status=CampaignStatus.scheduled, send_at=clock.now)
    works = open_works(clock, script)
    tick(works.context)
    assert plan(works.context, campaign.id) is False
    found = reload(campaign)
    assert (found.status, found.paused_reason, found.frozen_email_id) == (CampaignStatus.sending, None, None)
    full()
    works.run(4)
    assert reload(campaign).status is CampaignStatus.finished
    assert len(script.got) == 2


# --- in the process itself


def test_a_link_that_takes_long_continues_in_the_limited_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = render_process.ask
    monkeypatch.setattr(render_process, "ask", lambda task, **more: asked.append(task) or ask(task, **more))
    email = compile_email(Source("Hello", html='<a href="https://shop.test/{{ city|upper }}">a</a>'))
    assert render_link(email, 1, {"city": "riga"}) == "https://shop.test/RIGA"
    assert asked == ["compile"]
    monkeypatch.setattr(engine, "QUICK_SECONDS", -1.0)
    assert render_link(email, 1, {"city": "riga"}) == "https://shop.test/RIGA"
    assert asked == ["compile", "link"]


@on_sqlite
def test_ten_test_emails_have_the_time_of_one(
    client: Client, make_campaign: Callable[..., Campaign], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, now, printed = make_campaign(), [0.0], []
    monkeypatch.setattr(test_email, "monotonic", lambda: now[0])
    make = MessageRenderer.render

    def slow(renderer: MessageRenderer, copy: Any) -> bytes:
        now[0] += render_budget.SECONDS * 0.6
        printed.append(copy.email)
        return make(renderer, copy)

    monkeypatch.setattr(MessageRenderer, "render", slow)
    answer = client.post(
        f"campaigns/{campaign.id}/test", {"to": [f"a{n}@example.com" for n in range(10)]}, status=422
    )
    assert "longer than a second" in answer.text
    assert len(printed) == 2


def test_what_passed_the_check_is_compiled_as_fast_where_it_is_sent() -> None:
    """The render process compiles everything that the renderer compiles, so its limits hold for both."""
    source = Source("Hello", html="<p>x</p>" + "{% if a|upper %}x{% endif %}" * 300)
    begun = process_time()
    email = prepare(source, {})
    checked, begun = process_time() - begun, process_time()
    MessageRenderer(email, ENVELOPE)
    assert process_time() - begun < 4 * checked


@on_sqlite
def test_a_window_of_slow_emails_ends_after_seconds(
    due: Any,
    open_works: Any,
    clock: Any,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    statuses: Any,
) -> None:
    now, windows = [0.0], []
    monkeypatch.setattr(window_queue, "elapsed", lambda: now[0])
    monkeypatch.setattr(window_planner, "QUICK", 3600.0)
    monkeypatch.setattr(lane_turn, "QUICK", 3600.0)  # slow windows are not made smaller
    make, close = DeliveryRenderer.render, window_queue.WindowQueue.close

    def slow(renderer: DeliveryRenderer, *arguments: Any) -> bytes:
        now[0] += 1.0
        return make(renderer, *arguments)

    def closed(window: window_queue.WindowQueue) -> None:
        windows.append(sum(answer is not None for answer in window.answers))
        close(window)

    monkeypatch.setattr(DeliveryRenderer, "render", slow)
    monkeypatch.setattr(window_queue.WindowQueue, "close", closed)
    campaign = due(40)
    open_works(clock, script).run(4)
    assert statuses(campaign.id) == {"sent": 40}
    assert max(windows) == window_queue.LONGEST
