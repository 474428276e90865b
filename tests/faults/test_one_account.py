"""One account, or the recipients of its emails, uses a few slots at most; the others stay free."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import select

from mailganer.errors import AccountBusy, Busy, EmailError
from mailganer.models import Account, Campaign, CampaignStatus, token_text
from mailganer.rendering import (
    Source,
    compile_email,
    engine,
    for_account,
    render_link,
    render_permit,
    render_process,
)
from tests.fixtures.api import Client
from tests.sending.scripted import Script

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

TEMPLATED = "https://shop.test/" + "{{ first_name }}" * 200  # too long to be rendered in the web process
HTML = f'<p>Dear {{{{ first_name }}}}, <a href="{TEMPLATED}">read</a></p>'


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[render_process._Helpers]:
    """Slots with a short wait."""
    for each in ("WAIT_SECONDS", "LINE_SECONDS", "ACCOUNT_SECONDS"):
        monkeypatch.setattr(render_process, each, 0.0)
    helpers = render_process._Helpers()
    monkeypatch.setattr(render_process, "_helpers", helpers)
    yield helpers
    helpers.close()


def hold(stack: ExitStack, account: int | None) -> None:
    """Hold a slot until ``stack`` ends, as a slow email of ``account`` would."""
    with render_process.counted_to(account):
        stack.enter_context(render_permit())


def test_one_email_of_an_account_is_worked_on_and_a_few_wait(helpers: render_process._Helpers) -> None:
    with ExitStack() as stack:
        hold(stack, 1)
        with pytest.raises(AccountBusy):  # it has waited as long as one waits
            hold(stack, 1)
        hold(stack, 2)  # the other helper
        with pytest.raises(Busy) as caught:
            hold(stack, 3)
        assert not isinstance(caught.value, AccountBusy)
        assert caught.value.retry_after == render_process.ASK_AGAIN
    assert helpers._accounts == {}
    with ExitStack() as stack:
        hold(stack, 1)  # as before


@pytest.mark.parametrize(
    ("taken", "most"), [(60.0, render_process.MOST_OF_ONE), (0.0, render_process.MOST_SLOW)]
)
def test_more_than_a_few_of_one_account_are_refused_at_once(
    helpers: render_process._Helpers, monkeypatch: pytest.MonkeyPatch, taken: float, most: int
) -> None:
    """Fewer where an email has taken long; here any does, or none."""
    monkeypatch.setattr(render_process, "WAIT_SECONDS", 60.0)
    monkeypatch.setattr(render_process, "SLOW", taken)
    with ExitStack() as earlier:
        hold(earlier, 1)
    with ExitStack() as stack:
        for _each in range(most):
            stack.enter_context(helpers._queued(1))
        with pytest.raises(AccountBusy):
            hold(stack, 1)  # 60 seconds would be too long for this test
        hold(stack, 2)


def test_many_quick_emails_of_one_account_and_of_many_are_all_put_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More requests than slots: none is refused while the queue moves."""
    monkeypatch.setattr(render_process, "_helpers", render_process._Helpers())
    monkeypatch.setattr(render_process, "LINE_SECONDS", 60.0)
    monkeypatch.setattr(render_process, "ACCOUNT_SECONDS", 60.0)
    monkeypatch.setattr(render_process, "WAIT_SECONDS", 60.0)
    work = [for_account(n % 3, lambda: compile_email(Source("x", html="<p>x</p>"))) for n in range(30)]
    with ThreadPoolExecutor(30) as threads:
        assert len([each.result() for each in [threads.submit(one) for one in work]]) == 30
    render_process._helpers.close()


def test_all_together_leave_threads_for_requests_that_need_no_template() -> None:
    from mailganer.cli.parts import WEB_THREADS

    assert WEB_THREADS - (2 + render_process.MOST_WAITING) >= 2
    assert render_process.MOST_OF_ONE < 2 + render_process.MOST_WAITING
    assert render_process.MOST_SLOW <= (2 + render_process.MOST_WAITING) // 3


def test_work_is_counted_to_its_account_and_to_none_afterwards(helpers: render_process._Helpers) -> None:
    seen: list[Any] = []
    assert for_account(7, lambda: seen.append(render_process._account.get()) or 5)() == 5
    with pytest.raises(EmailError):
        for_account(7, lambda: compile_email(Source("x", html="{{")))()
    assert (seen, render_process._account.get(), helpers._accounts) == ([7], None, {})


@on_sqlite
def test_only_a_busy_account_and_its_recipients_have_to_wait(
    client: Client,
    app: Any,
    make: Any,
    account: Any,
    smtp_server: Any,
    open_works: Any,
    clock: Any,
    deliveries: Any,
    helpers: render_process._Helpers,
    script: Script,
) -> None:
    readers, sender = make.list(account), make.sender(account, smtp_server)
    make.subscriber(account, "vera@example.org", (readers,), first_name="Vera")
    going = {"status": CampaignStatus.scheduled, "send_at": clock.now}
    sent: Campaign = make.campaign(account, (readers,), (sender,), html=HTML, **going)
    draft: Campaign = make.campaign(account, (readers,), (sender,), html=HTML)
    make.commit()
    open_works(clock, script).run(3)
    token = token_text(deliveries(sent.id)[0].token)
    asked: dict[str, Callable[[], Any]] = {
        "preview": lambda: client.post(f"campaigns/{draft.id}/preview", {}, status="*"),
        "check": lambda: client.post(f"campaigns/{draft.id}/check", {}, status="*"),
        "test": lambda: client.post(f"campaigns/{draft.id}/test", {"to": ["a@example.com"]}, status="*"),
        "schedule": lambda: client.post(f"campaigns/{draft.id}/schedule", {}, status="*"),
        "template": lambda: client.post("templates", {"name": "T", "html": HTML}, status="*"),
        "view": lambda: app.get(f"/v/{token}", status="*"),
        "click": lambda: app.get(f"/c/{token}/1", status="*"),
    }
    with ExitStack() as stack:
        hold(stack, account.id)
        answers = {name: ask() for name, ask in asked.items()}
        assert app.get(f"/u/{token}").status_int == 200
    statuses = {name: answer.status_int for name, answer in answers.items()}
    assert statuses == dict.fromkeys(asked, 429) | {"view": 503, "click": 503}
    assert {answer.headers["Retry-After"] for answer in answers.values()} == {str(render_process.ASK_AGAIN)}
    assert answers["view"].headers["Refresh"] == str(render_process.ASK_AGAIN)
    with ExitStack() as stack:
        hold(stack, account.id + 1)  # another account
        assert app.get(f"/v/{token}").status_int == 200
        assert app.get(f"/c/{token}/1").location == "https://shop.test/" + "Vera" * 200


@on_sqlite
def test_a_picture_that_has_to_wait_says_so_in_its_frame(
    anna: Any, session: Any, make: Any, helpers: render_process._Helpers
) -> None:
    """Our error pages may not be framed, so a browser would show nothing at all."""
    account = session.scalars(select(Account)).one()
    template = make.template(account)
    draft = make.campaign(account, html=HTML)
    make.commit()
    with ExitStack() as stack:
        hold(stack, account.id)
        for path in (f"/templates/{template.id}/frame", f"/campaigns/{draft.id}/email/frame"):
            answer = anna.get(path, status=429)
            assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
            assert answer.headers["Retry-After"] == str(render_process.ASK_AGAIN)
            assert "Try again in a few seconds" in answer.text


def test_a_slow_email_is_known_by_the_processor_time_it_took(
    helpers: render_process._Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_one = for_account(7, lambda: compile_email(Source("x", html="<p>one</p>")))
    compile_one()
    assert helpers._slow == {}
    monkeypatch.setattr(render_process, "SLOW", 1e-6)
    compile_one()
    assert 7 in helpers._slow


# --- links

MACRO = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(N) }}"


def test_a_link_that_is_too_much_work_for_a_click_is_refused() -> None:
    email = compile_email(Source("x", html=f'<a href="https://shop.test/{MACRO.replace("N", "3")}">a</a>'))
    assert render_link(email, 1, {}) == "https://shop.test/"
    with pytest.raises(EmailError, match="takes too long to compute"):
        compile_email(Source("x", html=f'<a href="https://shop.test/{MACRO.replace("N", "12")}">a</a>'))


def test_a_link_that_a_value_makes_long_work_is_bounded_in_the_web_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = "{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}"
    email = compile_email(Source("x", html=f'<a href="https://shop.test/{loop}">a</a>'))
    runs: list[Any] = []
    make = engine.quick_run
    monkeypatch.setattr(engine, "quick_run", lambda *more: runs.append(make(*more)) or runs[-1])
    assert render_link(email, 1, {"x": "a" * 100}) == "https://shop.test/"
    assert runs[0].steps > -200  # it continued in the render process
