"""Sessions that end on the server, redirects independent of the Host header, and wrong API tokens."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, func, inspect, select
from sqlalchemy.orm import Session
from webtest import TestApp

from mailganer.accounts import LONGEST_SESSION, account_of_web_session, create_api_token, open_web_session
from mailganer.accounts.expired_rows import delete_expired_rows
from mailganer.migrations import _config, migrate
from mailganer.models import Account, Sender, WebSession
from mailganer.web.rate_limits import WRONG_TOKENS

from ..fixtures.api import Client
from ..support.factories import Factory
from ..support.smtp import SMTPServer

SignIn = Callable[..., Any]

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def submit(app: Any, action: str) -> None:
    page = app.get("/settings")
    next(form for form in page.forms.values() if form.action.endswith(action)).submit(status=303)


def browser(wsgi_app: Any, cookie: str = "") -> Any:
    app = TestApp(wsgi_app, extra_environ={"HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1"})
    if cookie:
        app.set_cookie("mailganer", cookie)
    return app


def test_a_copied_cookie_opens_nothing_after_signing_out(
    wsgi_app: Any, app: Any, sign_in: SignIn, session: Session
) -> None:
    other = browser(wsgi_app)
    sign_in(other)
    sign_in(app)
    copied = app.cookies["mailganer"].strip('"')
    thief = browser(wsgi_app, copied)
    assert thief.get("/settings").status_int == 200
    submit(app, "/sign-out")
    assert thief.get("/settings").status_int == 303
    assert thief.get("/settings").status_int == 303
    assert browser(wsgi_app, copied).get("/settings").status_int == 303
    assert other.get("/settings").status_int == 200
    assert session.scalar(select(func.count()).select_from(WebSession)) == 1


@one_database
def test_signing_in_again_in_the_same_browser_ends_its_earlier_session(
    wsgi_app: Any, app: Any, sign_in: SignIn, smtp_server: SMTPServer
) -> None:
    sign_in(app)
    earlier = app.cookies["mailganer"].strip('"')
    form = browser(wsgi_app).get("/sign-in", {"email": "anna@example.com"}).forms[0]
    form["host"], form["port"], form["security"] = smtp_server.host, smtp_server.port, "none"
    form["password"], form["csrf_token"] = "secret", app.get("/settings").forms[0]["csrf_token"].value
    app.post("/sign-in", dict(form.submit_fields()), status=303)
    assert browser(wsgi_app, earlier).get("/settings").status_int == 303
    assert app.get("/settings").status_int == 200


def test_signing_out_everywhere_leaves_no_session(anna: Any, session: Session) -> None:
    submit(anna, "/settings/log-out-everywhere")
    assert session.scalars(select(WebSession)).all() == []


def test_a_session_ends_after_half_a_year_even_if_it_is_used(
    session: Session, account: Account, now: Any
) -> None:
    old = open_web_session(session, account, now=now - LONGEST_SESSION - timedelta(minutes=1))
    young = open_web_session(session, account, now=now - LONGEST_SESSION + timedelta(minutes=1))
    delete_expired_rows(session, now)
    assert account_of_web_session(session, account.id, old) is None
    assert account_of_web_session(session, account.id, young) is account
    assert account_of_web_session(session, account.id + 1, young) is None


@one_database
@pytest.mark.parametrize("path", ["/senders", "/static/js"])
def test_a_redirect_leads_to_the_public_address_whatever_the_request_says(app: Any, path: str) -> None:
    chosen = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    where = app.get(path, headers=chosen).headers["Location"]
    assert where.startswith("http://localhost/")


@one_database
def test_pages_name_no_address_that_a_request_chose(app: Any, anna: Any) -> None:
    chosen = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    for path in ("/sign-in", "/campaigns", "/settings", "/none", "/api/v1/openapi.json"):
        assert "evil.example" not in anna.get(path, headers=chosen, expect_errors=True).text, path


def test_wrong_tokens_of_one_network_are_throttled_and_a_right_one_still_works(
    app: Any, client: Client, anonymous: Client
) -> None:
    wrong = Client(app, "mg_wrong")
    for _try in range(WRONG_TOKENS.tries):
        wrong.get("account", status=401)
    refused = wrong.get("account", status=429)
    assert 0 < int(refused.headers["Retry-After"]) <= WRONG_TOKENS.seconds
    assert refused.json["retry_after"] == int(refused.headers["Retry-After"])
    wrong.post("lists", {"name": "x"}, status=429)
    assert client.get("account").json["email"] == "anna@example.com"
    anonymous.get("account", status=401)
    wrong.get("account", status=401, extra_environ={"REMOTE_ADDR": "192.0.2.7"})


def test_a_token_that_was_taken_back_counts_as_wrong(
    app: Any, session: Session, account: Account, make: Factory
) -> None:
    token, row = create_api_token(session, account, name="old", now=make.now)
    session.delete(row)
    session.commit()
    for _try in range(WRONG_TOKENS.tries):
        Client(app, token).get("account", status=401)
    Client(app, token).get("account", status=429)


def test_sessions_can_be_taken_back_to_the_schema_before_them(engine: Engine) -> None:
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
    assert not inspect(engine).has_table("web_session")
    migrate(engine)
    assert inspect(engine).has_table("web_session")


def password_form(app: Any, session: Session, email: str) -> Any:
    row = session.scalars(select(Sender).where(Sender.from_email == email)).one()
    session.commit()
    page = app.get(f"/senders/{row.id}")
    return next(form for form in page.forms.values() if form.action.endswith("/verify"))


def test_a_changed_password_ends_all_other_sessions_and_tokens(
    wsgi_app: Any, app: Any, sign_in: SignIn, session: Session, smtp_server: SMTPServer, make: Factory
) -> None:
    other = browser(wsgi_app)
    sign_in(other)
    sign_in(app)
    account = session.scalars(select(Account)).one()
    token, _row = create_api_token(session, account, name="old", now=make.now)
    session.commit()
    program = Client(browser(wsgi_app), token)
    program.get("account")
    form = password_form(app, session, "anna@example.com")
    form["password"] = "secret"
    assert "were ended" not in form.submit(status=303).follow()
    assert other.get("/settings").status_int == 200
    smtp_server.passwords["anna@example.com"] = "changed"
    form = password_form(app, session, "anna@example.com")
    form["password"] = "changed"
    assert "all other sessions were ended and all API tokens were revoked" in form.submit(status=303).follow()
    assert app.get("/settings").status_int == 200
    assert other.get("/settings").status_int == 303
    program.get("account", status=401)
    assert session.scalar(select(func.count()).select_from(WebSession)) == 1


@one_database
def test_a_password_that_only_sends_ends_nothing(
    wsgi_app: Any, app: Any, sign_in: SignIn, session: Session, smtp_server: SMTPServer
) -> None:
    other = browser(wsgi_app)
    sign_in(other)
    sign_in(app)
    smtp_server.passwords["news@example.com"] = "secret"
    page = app.get("/senders/new", {"email": "news@example.com"})
    form = next(form for form in page.forms.values() if form.action.endswith("/senders/new"))
    form["host"], form["port"], form["security"] = smtp_server.host, smtp_server.port, "none"
    form["password"] = "secret"
    form.submit(status=303)
    smtp_server.passwords["news@example.com"] = "changed"
    form = password_form(app, session, "news@example.com")
    form["password"] = "changed"
    form.submit(status=303)
    assert other.get("/settings").status_int == 200


@one_database
def test_a_password_changed_by_a_program_keeps_only_its_token(
    wsgi_app: Any, app: Any, sign_in: SignIn, session: Session, smtp_server: SMTPServer
) -> None:
    sign_in(app)
    login = {"email": "anna@example.com", "backend": "smtp", **smtp_server.settings}
    programs = [
        Client(browser(wsgi_app), Client(browser(wsgi_app), "").post("login", login).json["token"])
        for _each in range(2)
    ]
    sender = programs[0].get("senders").json["items"][0]
    programs[0].patch(f"senders/{sender['id']}", {"password": "secret"})
    programs[1].get("account")
    smtp_server.passwords["anna@example.com"] = "changed"
    programs[0].patch(f"senders/{sender['id']}", {"password": "changed"})
    programs[0].get("account")
    programs[1].get("account", status=401)
    assert app.get("/settings").status_int == 303
