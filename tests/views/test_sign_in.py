"""Sign-in, through forms."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.models import Account, Identity, Sender, SenderStatus, WebSession
from mailganer.web import RotatingSerializer

from ..support.ports import free_port
from ..support.signed_in import sign_in_at_once
from ..support.smtp import SMTPServer

SignIn = Callable[..., Any]


def test_the_front_page_asks_for_one_thing(app: Any) -> None:
    page = app.get("/")
    assert [name for name in page.forms[0].fields if name] == ["email"]
    assert page.forms[0].action == "/sign-in"


def test_a_gmail_address_gets_a_link_to_the_page_for_app_passwords(app: Any) -> None:
    page = app.get("/sign-in", {"email": "anna@gmail.com"})
    assert "https://myaccount.google.com/apppasswords" in page
    assert "host" not in page.forms[0].fields


def test_the_server_of_another_address_is_guessed_and_can_be_changed(app: Any) -> None:
    form = app.get("/sign-in", {"email": "anna@yandex.ru"}).forms[0]
    assert form["host"].value == "smtp.yandex.ru"
    assert form["port"].value == "465"
    assert app.get("/sign-in", {"email": "anna@firma.example"}).forms[0]["host"].value == "smtp.firma.example"


@pytest.mark.parametrize("address", ["anna@", "anna", "a b@example.com", "@example.com", "a@b@"])
def test_an_address_that_is_none_is_asked_for_again(app: Any, address: str) -> None:
    page = app.get("/sign-in", {"email": address})
    assert "Use the format name@example.com." in page
    assert page.forms[0]["email"].value == address


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("a@b", "“b” is not a complete domain."),
        ("a@example..com", "“example..com” is not a complete domain."),
        ("demo@example.com@x", "The address contains more than one @."),
        ("demo@example.com@example.org", "The address contains more than one @."),
    ],
)
def test_an_address_that_no_mail_account_has_is_refused_before_the_password(
    app: Any, address: str, reason: str
) -> None:
    page = app.get("/sign-in", {"email": address})
    assert reason in page
    assert "password" not in page.forms[0].fields


def test_the_russian_heading_is_a_noun_and_the_button_a_verb(app: Any) -> None:
    ru = {"lang": "ru"}
    assert app.get("/sign-in", ru).html.h1.text == "Вход"
    page = app.get("/sign-in", {"email": "anna@unknown.example"} | ru)
    assert "Войти" in [each.text.strip() for each in page.html.find_all("button")]


def test_proving_a_mail_account_makes_an_account_and_a_ready_sender(
    app: Any, sign_in: SignIn, session: Session
) -> None:
    answer = sign_in(app)
    assert (answer.status_int, answer.headers["Location"]) == (303, "http://localhost/campaigns")
    account = session.scalars(select(Account)).one()
    sender = session.scalars(select(Sender)).one()
    assert (account.email, account.plan) == ("anna@example.com", "free")
    assert (sender.from_email, sender.status) == ("anna@example.com", SenderStatus.ready)
    assert sender.secrets is not None
    assert b"secret" not in sender.secrets
    assert "password" not in sender.settings


def test_coming_again_finds_the_same_account_and_sender(app: Any, sign_in: SignIn, session: Session) -> None:
    sign_in(app)
    app.reset()
    sign_in(app)
    assert len(session.scalars(select(Account)).all()) == 1
    assert len(session.scalars(select(Sender)).all()) == 1


def test_another_server_never_opens_the_account_of_an_address(
    app: Any, sign_in: SignIn, session: Session
) -> None:
    """A server that accepts any password must not open another user's account."""
    sign_in(app)
    liar = SMTPServer(passwords={"anna@example.com": "anything"})
    try:
        app.reset()
        sign_in(app, password="anything", server=liar)
    finally:
        liar.stop()
    assert len(session.scalars(select(Account)).all()) == 2
    assert len({identity.server for identity in session.scalars(select(Identity))}) == 2


def test_an_address_that_gmail_claims_is_not_proven_by_another_server(
    app: Any, sign_in: SignIn, smtp_server: SMTPServer
) -> None:
    answer = sign_in(app, "victim@gmail.com", backend="smtp", status=422)
    assert "must sign in with Gmail" in answer
    assert smtp_server.logins == []


def test_a_wrong_password_is_answered_with_the_servers_words(app: Any, sign_in: SignIn) -> None:
    answer = sign_in(app, password="wrong", status=401)
    assert "535" in answer
    assert "rejected the login or password" in answer
    assert answer.html.select_one("[role=alert] code.reply").get_text().startswith("535")
    assert answer.forms[0]["password"].value == ""


def test_an_empty_password_is_said_beside_its_field_and_no_server_is_asked(
    app: Any, sign_in: SignIn, smtp_server: SMTPServer
) -> None:
    answer = sign_in(app, password="", status=422)
    assert answer.html.select_one("#password")["aria-invalid"] == "true"
    assert "Enter the password of this mail account." in answer
    assert smtp_server.logins == []


def test_what_kind_of_password_is_meant_is_not_said_beside_other_troubles(app: Any, sign_in: SignIn) -> None:
    hint = "The password of your mail account."
    assert hint in app.get("/sign-in", {"email": "anna@example.com"})
    assert hint in sign_in(app, password="wrong", status=401)
    form = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]
    form["host"], form["port"], form["security"] = "127.0.0.1", free_port(), "none"
    form["password"] = "secret"
    assert hint not in form.submit(status=502)


def test_where_there_is_no_password_none_is_promised_to_be_kept(app: Any) -> None:
    promise = "Your password is stored encrypted"
    assert promise in app.get("/sign-in", {"email": "anna@example.com"})
    page = app.get("/sign-in", {"email": "anna@example.com", "backend": "maildir"})
    assert "Emails are saved to a folder" in page
    assert promise not in page


def test_a_server_that_does_not_answer_is_said_and_its_fields_are_open(app: Any) -> None:
    form = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]
    form["host"], form["port"], form["security"] = "127.0.0.1", free_port(), "none"
    form["password"] = "secret"
    answer = form.submit(status=502)
    assert answer.html.select_one("details.fold[open] input[name=host]") is not None
    assert answer.html.select_one("[role=alert]").get_text(strip=True)


@pytest.mark.parametrize("port", ["99999", "0", "-1", "smtp", ""])
def test_a_wrong_port_is_shown_beside_its_field(app: Any, port: str) -> None:
    form = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]
    form["port"], form["password"] = port, "secret"
    answer = form.submit(status=422)
    assert answer.html.select_one("#port")["aria-invalid"] == "true"


def test_after_signing_in_one_gets_where_one_wanted_to_go(app: Any, sign_in: SignIn) -> None:
    asked = app.get("/senders?x=1")
    assert asked.headers["Location"] == "http://localhost/sign-in?next=%2Fsenders%3Fx%3D1"
    assert sign_in(app, next="/senders?x=1").headers["Location"] == "http://localhost/senders?x=1"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "x",
    ],
)
def test_a_way_back_that_leads_elsewhere_is_forgotten(app: Any, sign_in: SignIn, target: str) -> None:
    assert sign_in(app, next=target).headers["Location"] == "http://localhost/campaigns"


def test_signing_in_starts_a_new_session_with_a_new_token(app: Any, sign_in: SignIn) -> None:
    before = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]["csrf_token"].value
    sign_in(app)
    after = app.get("/settings").forms[0]["csrf_token"].value
    assert before != after


def test_signing_out_ends_the_session(anna: Any) -> None:
    page = anna.get("/settings")
    next(form for form in page.forms.values() if form.action == "/sign-out").submit()
    assert anna.get("/settings").status_int == 303


def test_many_wrong_passwords_have_to_wait(app: Any, sign_in: SignIn, smtp_server: SMTPServer) -> None:
    for _try in range(10):
        sign_in(app, password="wrong", status=401)
    tried = len(smtp_server.logins)
    answer = sign_in(app, status=429)
    assert "Try again in 15 min" in answer
    assert len(smtp_server.logins) == tried


def test_a_new_password_ends_the_sessions_of_the_old_one(
    wsgi_app: Any, app: Any, sign_in: SignIn, smtp_server: SMTPServer
) -> None:
    from webtest import TestApp

    sign_in(app)
    smtp_server.passwords["anna@example.com"] = "changed"
    other = TestApp(wsgi_app, extra_environ={"HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.2"})
    sign_in(other, password="changed")
    assert other.get("/settings").status_int == 200
    assert app.get("/settings").status_int == 303


@pytest.mark.parametrize("first", ["/", "/sign-in"])
def test_the_language_chosen_before_signing_in_becomes_the_accounts(
    app: Any, sign_in: SignIn, session: Session, first: str
) -> None:
    app.extra_environ["HTTP_ACCEPT_LANGUAGE"] = "en"
    page = app.get(first).click("Русский")
    assert page.html.html["lang"] == "ru"
    assert app.get("/sign-in", {"email": "anna@example.com"}).html.html["lang"] == "ru"
    assert sign_in(app).follow().html.html["lang"] == "ru"
    assert session.scalars(select(Account.locale)).all() == ["ru"]


def test_there_is_no_demo_account_where_the_operator_does_not_say_demo(app: Any) -> None:
    page = app.get("/sign-in")
    assert "/sign-in/demo" not in page
    token = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]["csrf_token"].value
    app.post("/sign-in/demo", {"csrf_token": token}, status=404)


def test_an_address_cannot_hide_behind_a_header_it_writes_itself(
    app: Any, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailganer.web import rate_limits

    monkeypatch.setattr(rate_limits, "PER_ADDRESS", rate_limits.RateLimit("address", 1, 600))
    app.extra_environ["HTTP_X_FORWARDED_FOR"] = "198.51.100.1"
    sign_in(app, password="wrong", status=401)
    app.extra_environ["HTTP_X_FORWARDED_FOR"] = "198.51.100.2"
    sign_in(app, password="wrong", status=429)


def test_a_program_that_signs_in_again_and_again_is_not_taken_for_one_that_guesses(
    app: Any, smtp_server: SMTPServer
) -> None:
    body = {"backend": "smtp", "email": "anna@example.com"} | smtp_server.settings
    for _time in range(41):
        app.post_json("/api/v1/login", body, status=200)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_other_tests_are_signed_in_as_by_the_form(
    app: Any, sign_in: SignIn, smtp_server: SMTPServer, session: Session
) -> None:
    sign_in(app, "anna@example.com")
    by_form = _rows(app, session, "anna@example.com"), _cookies(app)
    app.reset()
    sign_in_at_once(app, "boris@example.com", smtp_server)
    assert (_rows(app, session, "boris@example.com"), _cookies(app)) == by_form
    assert "Sign out" in app.get("/campaigns")


def _rows(app: Any, session: Session, address: str) -> list[dict[str, str]]:
    """Return what signing in has written, without ids, times and random values."""
    account = session.scalars(select(Account).where(Account.email == address)).one()
    rows = [account]
    for model in (Identity, Sender, WebSession):
        rows += session.scalars(select(model).where(model.account_id == account.id))
    found = [{column.key: getattr(row, column.key) for column in row.__table__.columns} for row in rows]
    session.commit()
    for values in found:
        if "secrets" in values:
            values["secrets"] = app.app.registry["vault"].decrypt(account.id, values["secrets"])
        for name in ("id", "account_id", "key", "suppression_key"):
            values.pop(name, None)
    return [
        {
            name: "a time" if isinstance(value, datetime) else str(value).replace(address, "ADDRESS")
            for name, value in values.items()
        }
        for values in found
    ]


def _cookies(app: Any) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the cookies without their values, and the names of what the session's cookie holds."""
    cookies = sorted((each.name, each.domain, each.path, str(each.secure)) for each in app.cookiejar)
    signed = app.cookies["mailganer"].strip('"').encode()
    _used, _made, known = RotatingSerializer(app.app.registry["settings"].secret_keys).loads(signed)
    return cookies, sorted(known.keys() - {"_f_"})  # the form also welcomes
