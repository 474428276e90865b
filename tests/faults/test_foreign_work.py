"""No template runs inside a database transaction; a process killed while rendering leaves nothing partial."""

import signal
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from mailganer import campaigns, db, rendering
from mailganer.accounts import network_of
from mailganer.backends import load_backends
from mailganer.campaigns import state_changes
from mailganer.campaigns.check import quick
from mailganer.db import in_transaction, make_engine, without_transaction
from mailganer.errors import Conflict
from mailganer.models import (
    Account,
    Batch,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    IdempotentResponse,
    Sender,
    Subscriber,
    Template,
    token_text,
)
from mailganer.rendering import MessageRenderer, Source, compile_email, render_process
from mailganer.rendering.render_budget import STOPPED, RenderTooLarge
from tests.fixtures.api import Client

from .child import dies, end_of, fork

FIELDS = count(1)


def unknown() -> str:
    """A template that this process has not compiled before."""
    return f"<p>{{{{ field_{next(FIELDS)} }}}}</p>"


EMAIL = (
    '<p>Dear {{ first_name|default("reader") }}, <a href="https://shop.test/{{ first_name }}">read</a></p>'
)


@pytest.fixture
def draft(make: Any, account: Any) -> Campaign:
    readers = make.list(account)
    make.subscriber(account, lists=(readers,), first_name="Vera")
    draft: Campaign = make.campaign(account, (readers,), (make.sender(account),), html=EMAIL)
    make.commit()
    return draft


@pytest.fixture
def beside(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Another process, which does not wait."""
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 100)
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def is_free(engine: Engine) -> bool:
    """Return whether another connection could write now."""
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.execute(update(Campaign).values(name=Campaign.name))
            else:
                tables = "account, campaign, batch, delivery, sender, subscriber, template"
                tables += ", idempotent_response, lane"
                connection.execute(text("SET LOCAL lock_timeout = '1ms'"))
                connection.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
            connection.rollback()
    except OperationalError:
        return False
    return True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, beside: Engine) -> list[str]:
    """Record the requests to the render process; fail if the database is locked during one."""
    monkeypatch.setattr(quick, "_kept", quick._Kept())  # an earlier test may have had the same email
    asked: list[str] = []
    ask = render_process.ask

    def watched(task: str, **arguments: Any) -> Any:
        assert not in_transaction()
        assert is_free(beside)
        asked.append(task)
        return ask(task, **arguments)

    monkeypatch.setattr(render_process, "ask", watched)
    return asked


# --- every request that has a template compiled or rendered

API: dict[str, tuple[str, Any, list[str]]] = {
    "preview": ("campaigns/{id}/preview", {}, ["compile", "render"]),
    "check": ("campaigns/{id}/check", {}, ["compile", "render", "read"]),
    "schedule": ("campaigns/{id}/schedule", {}, ["compile", "render", "read"]),
    "template": ("templates", {"name": "T"}, ["variables"]),
}


@pytest.mark.parametrize("key", ["", "k"])
@pytest.mark.parametrize("what", API)
def test_a_program_blocks_no_request_while_its_template_runs(
    client: Client, draft: Campaign, asked: list[str], what: str, key: str
) -> None:
    path, body, expected = API[what]
    if what == "template":
        body = {"name": "T", "html": unknown()}
    client.post(path.format(id=draft.id), body, key=key)
    assert asked == expected
    again = client.post(path.format(id=draft.id), body, key=key, expect_errors=True)
    assert again.status_int in (200, 201, 409)


PAGES = {
    "target": ["compile", "render", "analyse_for_page"],
    "email": ["compile", "render", "analyse_for_page"],
    "email/frame": ["compile", "render"],
    "email/frame?as=hardest": ["compile", "render", "variables"],
    "check": ["compile", "render", "read"],
    "when": ["compile", "render", "read"],
    "send": ["compile", "render", "read"],
}


@pytest.fixture
def own(anna: Any, make: Any, session: Session) -> Campaign:
    """A draft of the account that is signed in to the pages."""
    account = session.scalars(select(Account)).one()
    readers = make.list(account)
    make.subscriber(account, lists=(readers,), first_name="Vera")
    own: Campaign = make.campaign(account, (readers,), tuple(session.scalars(select(Sender))), html=EMAIL)
    make.commit()
    return own


@pytest.mark.parametrize("page", PAGES)
def test_a_page_blocks_no_request_while_its_template_runs(
    anna: Any, own: Campaign, asked: list[str], page: str
) -> None:
    anna.get(f"/campaigns/{own.id}/{page}")
    assert sorted(asked) == sorted(PAGES[page])


def test_a_save_is_kept_before_the_page_around_it_is_made(
    anna: Any, own: Campaign, asked: list[str], reload: Any
) -> None:
    page = anna.get(f"/campaigns/{own.id}/email")
    form = next(form for form in page.forms.values() if "html" in form.fields)
    del asked[:]
    form["html"] = "<p>New {{ last_name }}</p>"
    form.submit(headers={"HX-Request": "true"})
    assert asked == ["compile", "render", "analyse_for_page"]
    assert reload(own).html == "<p>New {{ last_name }}</p>"


def test_templates_are_looked_into_together(
    client: Client, session: Session, account: Any, make: Any, asked: list[str]
) -> None:
    for _each in range(3):
        make.template(account, html=unknown())
    make.commit()
    assert len(client.get("templates").json["items"]) == 3
    assert asked == ["variables"] * 3
    client.get("templates")
    assert len(asked) == 3


@pytest.fixture
def reader(make: Any, account: Any, draft: Campaign, session: Session, now: Any) -> str:
    """The token of a recipient who got the email."""
    campaigns.freeze(session, draft, now)
    delivery = Delivery(
        id=draft.id << 31 | 1,
        campaign_id=draft.id,
        subscriber_id=session.scalars(select(Subscriber.id)).one(),
        email="vera@example.org",
        email_key="vera@example.org",
        token=b"0123456789abcdef",
        dated_at=now,
        frozen_email_id=draft.frozen_email_id,
        status=DeliveryStatus.sent,
        settled_at=now - timedelta(hours=1),
    )
    draft.status = CampaignStatus.finished
    session.add(delivery)
    session.commit()
    return token_text(delivery.token)


def test_a_recipients_page_blocks_no_request_while_its_template_runs(
    app: Any, reader: str, asked: list[str], beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Vera" in app.get(f"/v/{reader}").text
    assert asked == ["render"]
    rendered = rendering.engine.render_link
    free: list[bool] = []

    def watched(*arguments: Any) -> str:
        free.append(is_free(beside) and not in_transaction())
        return rendered(*arguments)

    monkeypatch.setattr(rendering.engine, "render_link", watched)
    assert app.get(f"/c/{reader}/1").location == "https://shop.test/Vera"
    assert free == [True]


def test_a_test_email_is_printed_while_no_one_waits(
    client: Client, draft: Campaign, asked: list[str], beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MessageRenderer.render
    free: list[bool] = []

    def watched(renderer: MessageRenderer, copy: Any) -> bytes:
        free.append(is_free(beside) and not in_transaction())
        return made(renderer, copy)

    monkeypatch.setattr(MessageRenderer, "render", watched)
    client.post(f"campaigns/{draft.id}/test", {"to": ["anna@example.com"]}, status=502)
    assert (asked, free) == (["compile"], [True])


def test_a_worker_compiles_with_nothing_locked(
    due: Any, works: Any, script: Any, statuses: Any, beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MessageRenderer.__init__
    free: list[bool] = []

    def watched(renderer: MessageRenderer, *arguments: Any) -> None:
        free.append(is_free(beside) and not in_transaction())
        made(renderer, *arguments)

    monkeypatch.setattr(MessageRenderer, "__init__", watched)
    campaign = due(3)
    works.run()
    assert statuses(campaign.id) == {"sent": 3}
    assert free == [True]


# --- whole, or not at all


@pytest.mark.parametrize("what", API)
def test_a_key_is_free_again_when_the_web_dies_over_a_template(
    app: Any, client: Client, draft: Campaign, session: Session, what: str
) -> None:
    path, body = API[what][0].format(id=draft.id), API[what][1]
    app.app.registry["engine"].dispose()  # the child opens its own connections

    def ask() -> Any:
        return client.post(path, body, key="k")

    def work() -> None:
        dies(render_process, "ask")
        ask()

    if what == "template":
        body = {"name": "T", "html": unknown()}
    assert end_of(fork(work)) == -signal.SIGKILL
    assert session.scalar(select(func.count()).select_from(IdempotentResponse)) == 0
    session.rollback()
    first = ask()
    assert first.status_int in (200, 201)
    assert ask().json == first.json


def test_two_with_one_key_over_a_template_are_done_once(
    client: Client, session: Session, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"name": "Once", "html": unknown()}
    ask, answers = render_process.ask, []

    def quicker(task: str, **arguments: Any) -> Any:
        monkeypatch.setattr(render_process, "ask", ask)
        answers.append(client.post("templates", body, key="k", status=201).json)
        return ask(task, **arguments)

    monkeypatch.setattr(render_process, "ask", quicker)
    answers.append(client.post("templates", body, key="k", status=201).json)
    assert answers[0] == answers[1]
    assert session.scalar(select(func.count()).select_from(Template)) == 1


@pytest.mark.parametrize(("saves", "status"), [(1, 200), (9, 409)])
def test_what_is_saved_while_it_is_read_is_read_again(
    client: Client, draft: Campaign, beside: Engine, monkeypatch: pytest.MonkeyPatch, saves: int, status: int
) -> None:
    ask, sources = render_process.ask, []

    def meanwhile(task: str, **arguments: Any) -> Any:
        if task == "compile":
            sources.append(arguments["source"]["html"])
            if len(sources) <= saves:
                with beside.begin() as connection:
                    html = f"<p>Version {len(sources)}</p>"
                    connection.execute(update(Campaign).values(html=html, revision=Campaign.revision + 1))
        return ask(task, **arguments)

    monkeypatch.setattr(render_process, "ask", meanwhile)
    client.post(f"campaigns/{draft.id}/schedule", {}, status=status)
    assert sources[: saves + 1][1:] == [f"<p>Version {number + 1}</p>" for number in range(min(saves, 2))]


def test_a_campaign_deleted_while_it_is_shown_is_not_there(
    client: Client, draft: Campaign, beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = render_process.ask

    def meanwhile(task: str, **arguments: Any) -> Any:
        with beside.begin() as connection:
            for table in ("campaign_list", "campaign_sender"):
                connection.execute(text(f"DELETE FROM {table}"))
            connection.execute(text("DELETE FROM campaign"))
        return ask(task, **arguments)

    monkeypatch.setattr(render_process, "ask", meanwhile)
    client.post(f"campaigns/{draft.id}/check", {}, status=404)


def test_what_cannot_be_read_is_a_finding(
    client: Client, draft: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = render_process.ask

    def refused(task: str, **arguments: Any) -> Any:
        if task == "read":
            raise RenderTooLarge(STOPPED)
        return ask(task, **arguments)

    monkeypatch.setattr(render_process, "ask", refused)
    found = client.post(f"campaigns/{draft.id}/check", {}).json
    assert not found["ok"]
    assert "email_error" in [problem["code"] for problem in found["problems"]]


# --- the watch itself


def test_a_template_inside_a_transaction_is_refused(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        session.execute(select(Campaign.id))
        for work in (
            lambda: compile_email(Source("x")),
            lambda: rendering.render_link(
                rendering.CompiledEmail("", "", "", "", ("https://{{ x }}.test",), frozenset()), 1, {}
            ),
        ):
            with pytest.raises(RuntimeError, match="inside a database transaction"):
                work()
        assert without_transaction(session, lambda: compile_email(Source("x", html="x"))).subject == "x"
        session.rollback()
        assert compile_email(Source("x", html="x"))


def test_a_transaction_is_known_from_its_beginning_to_its_end(
    beside: Engine, sessions: sessionmaker[Session]
) -> None:
    def begun(session: Session) -> Session:
        session.execute(select(Batch.id))
        assert in_transaction()
        return session

    for end in (Session.commit, Session.rollback, Session.close, Session.invalidate):
        with sessions() as session:
            end(begun(session))
            assert not in_transaction()
    with sessions() as session:
        begun(session)
        assert end_of(fork(lambda: None if not in_transaction() else 1 / 0)) == 0
        if beside.dialect.name == "sqlite":
            with pytest.raises(OperationalError), beside.connect() as other:
                other.execute(select(Batch.id))
    assert not in_transaction(), "a BEGIN that failed has begun nothing"


def test_what_has_to_be_done_whole_cannot_be_given_back_half_done(
    client: Client, draft: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailganer.api import campaigns as views

    def rash(session: Session, campaign: Campaign, *_: Any, **__: Any) -> None:
        campaign.name = "changed"
        session.flush()
        without_transaction(session, lambda: None)

    monkeypatch.setattr(views.verbs, "preview", rash)
    client.post(f"campaigns/{draft.id}/preview", {}, key="k", status=500)


def test_a_campaign_saved_again_and_again_is_not_scheduled_by_halves(
    session: Session, draft: Campaign, settings: Any, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(_session: Session, found: Campaign) -> None:
        found.revision += 1

    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    monkeypatch.setattr(state_changes, "lock", saved)
    with pytest.raises(Conflict, match="changed in the meantime"):
        state_changes.schedule(session, draft, None, now, settings=settings, registry=registry)
