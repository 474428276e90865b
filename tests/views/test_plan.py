"""The plan page: usage, and a voucher that adds days."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.billing import PaymentProvider, Redirect, create_vouchers
from mailganer.db import utcnow
from mailganer.models import Account


@pytest.fixture
def code(session: Session) -> str:
    """A voucher for thirty days of the plan "pro"."""
    voucher = create_vouchers(session, "pro", 30, 1, utcnow())[0]
    session.commit()
    return voucher.code


def pay(app: Any, code: str, status: int) -> Any:
    form = next(form for form in app.get("/plan").forms.values() if "/plan/pay/voucher" in form.action)
    form["code"] = code
    return form.submit(status=status)


def test_the_page_shows_what_is_used_and_every_plan(anna: Any) -> None:
    page = anna.get("/plan")
    assert "0 of 200 emails in 24 hours" in page
    assert "0 of 1,000 subscribers" in page
    assert "1 900 ₽" in page


def test_a_bigger_plan_says_how_one_gets_it(wsgi_app: Any, anna: Any) -> None:
    assert "To upgrade, ask the operator of this installation for a voucher" in anna.get("/plan")
    wsgi_app.registry["payments"] = {}
    assert "To upgrade, ask the operator of this installation." in anna.get("/plan")
    wsgi_app.registry["payments"] = {"cashier": Cashier()}
    page = anna.get("/plan").click("Choose plan")
    assert page.html.select_one("option[selected]")["value"] == "pro"
    assert "ask the operator" not in page


@pytest.mark.parametrize("key", ["price.ru", "price_ru"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_price_may_have_words_of_its_own_in_russian(
    ini_values: dict[str, str], request: Any, key: str
) -> None:
    ini_values[f"mailganer.plan.pro.{key}"] = "1 900 ₽ в месяц"
    anna = request.getfixturevalue("anna")
    assert "1 900 ₽ в месяц" not in anna.get("/plan")
    assert "1 900 ₽ в месяц" in anna.get("/plan?lang=ru")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_title_of_a_plan_is_shown_in_the_language_of_the_page(
    ini_values: dict[str, str], request: Any
) -> None:
    ini_values["mailganer.plan.pro.title.ru"] = "Для дела"
    anna, code = request.getfixturevalue("anna"), request.getfixturevalue("code")
    assert "Для дела" not in anna.get("/plan")
    assert "Для дела" in anna.get("/plan?lang=ru")
    page = pay(anna, code, status=303).follow()
    assert "You are on the plan “Pro” until" in page
    assert "Для дела" not in page


def test_a_voucher_changes_the_plan_at_once(anna: Any, code: str, session: Session) -> None:
    page = pay(anna, code.lower().replace("-", " "), status=303).follow()
    assert "You are on the plan “Pro” until" in page
    assert "0 of 100,000 emails in 24 hours" in page
    account = session.scalars(select(Account)).one()
    assert account.plan == "pro"
    assert account.plan_until is not None
    assert timedelta(days=29) < account.plan_until - utcnow() <= timedelta(days=30)


def test_a_code_that_does_not_exist_is_said_beside_its_field(anna: Any) -> None:
    page = pay(anna, "AAAA-BBBB-CCCC-DDDD", status=422)
    field = page.html.select_one("input[name=code]")
    assert field["aria-invalid"] == "true"
    assert field["value"] == "AAAA-BBBB-CCCC-DDDD"


def test_guessing_codes_has_to_wait(anna: Any) -> None:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    for _try in range(30):
        anna.post("/plan/pay/voucher", {"csrf_token": token, "code": "AAAA"}, status=422)
    answer = anna.post("/plan/pay/voucher", {"csrf_token": token, "code": "AAAA"}, status=429)
    assert answer.headers["Retry-After"]


class Cashier(PaymentProvider):
    """A payment provider with its own page."""

    name, title = "cashier", "Cashier"

    def begin(
        self, session: Any, account: Any, answers: Any, *, plan: Any, settings: Any, now: Any
    ) -> Redirect:
        return Redirect(f"https://pay.example/{plan.name}")


def test_a_provider_with_its_own_page_is_reached_without_a_redirect(wsgi_app: Any, anna: Any) -> None:
    """Under our policy browsers follow no redirect to another site after a form."""
    wsgi_app.registry["payments"] = {"cashier": Cashier()}
    form = next(form for form in anna.get("/plan").forms.values() if "/plan/pay/cashier" in form.action)
    form["plan"] = "pro"
    page = form.submit(status=200)
    assert page.headers["Refresh"] == "0; url=https://pay.example/pro"
    assert 'href="https://pay.example/pro"' in page


def test_a_way_to_pay_that_is_not_installed_is_not_there(anna: Any) -> None:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    anna.post("/plan/pay/gold", {"csrf_token": token}, status=404)


@pytest.mark.parametrize(
    ("locale", "limit", "emails", "subscribers"),
    [
        ("en", 1, "0 of 1 email in", "0 of 1 subscriber<"),
        ("en", 21, "0 of 21 emails in", "0 of 21 subscribers<"),
        ("ru", 1, "0 из\xa01 письма за", "0 из\xa01 подписчика<"),
        ("ru", 21, "0 из\xa021 письма за", "0 из\xa021 подписчика<"),
        ("ru", 5, "0 из\xa05 писем за", "0 из\xa05 подписчиков<"),
    ],
)
def test_limits_are_counted_in_the_right_form(
    anna: Any, locale: str, limit: int, emails: str, subscribers: str
) -> None:
    registry = anna.app.registry
    (free, *others) = registry["settings"].plans
    small = replace(free, per_day=limit, max_subscribers=limit)
    registry["settings"] = replace(registry["settings"], plans=(small, *others))
    page = anna.get(f"/plan?lang={locale}").text
    assert emails in page
    assert subscribers in page
