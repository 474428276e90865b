"""The demo's one-click account, with everything to try an email."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.models import Account, Subscriber, SubscriberList
from tests.support.smtp import SMTPServer


@pytest.fixture
def ini_values(ini_values: dict[str, str], smtp_server: SMTPServer) -> dict[str, str]:
    smtp_server.passwords["demo@example.com"] = "demo"
    return ini_values | {"mailganer.demo": "true", "mailganer.catcher": f"127.0.0.1:{smtp_server.port}"}


def enter(app: Any, language: str) -> None:
    page = app.get("/", headers={"Accept-Language": language})
    form = next(form for form in page.forms.values() if form.action.endswith("/sign-in/demo"))
    form.submit(headers={"Accept-Language": language}, status=303)


@pytest.mark.parametrize(
    ("language", "name"), [("en", "Example subscribers"), ("ru", "Подписчики для примера")]
)
def test_one_click_signs_in_with_sample_subscribers(
    app: Any, session: Session, language: str, name: str
) -> None:
    enter(app, language)
    assert session.scalars(select(SubscriberList.name)).all() == [name]
    people = session.scalars(select(Subscriber)).all()
    assert len(people) == 8
    assert any(person.first_name == "" for person in people), "somebody has to show what defaults are for"


def test_coming_back_does_not_bring_them_again(app: Any, session: Session) -> None:
    enter(app, "en")
    app.reset()
    enter(app, "en")
    assert len(session.scalars(select(Account)).all()) == 1
    assert len(session.scalars(select(Subscriber)).all()) == 8


def test_the_language_of_the_demo_account_is_kept_for_another_browser(app: Any, session: Session) -> None:
    enter(app, "en")
    session.scalars(select(Account)).one().locale = "ru"
    session.commit()
    app.reset()
    enter(app, "en")
    assert app.get("/campaigns").html.html["lang"] == "ru"
