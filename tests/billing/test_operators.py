"""Operators have no limits; all other accounts have those of the first plan."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.billing import is_operator, plan_of, subscriber_room
from mailganer.settings import DEMO_ADDRESS, NO_LIMITS, from_mapping


@pytest.fixture
def anna_operates(ini_values: dict[str, str]) -> None:
    ini_values["mailganer.operators"] = "ops@example.com ANNA@example.com"


def test_no_limit_of_a_plan_holds_for_an_operator(
    anna_operates: None, make: Any, session: Session, settings: Any, now: Any
) -> None:
    operator, other = make.account(email="Anna@example.com"), make.account(email="boris@example.com")
    assert plan_of(operator, settings, now) == NO_LIMITS
    assert subscriber_room(session, operator, settings, now) is None
    assert plan_of(other, settings, now).name == "free"


def test_a_stranger_with_the_address_of_an_operator_is_none(
    anna_operates: None, make: Any, session: Session, settings: Any, now: Any
) -> None:
    operator, stranger = make.account(email="anna@example.com"), make.account()
    stranger.email = operator.email
    session.flush()
    assert is_operator(operator, settings)
    assert not is_operator(stranger, settings)
    operator.closed_at = now
    session.flush()
    assert is_operator(stranger, settings)


def test_the_account_of_the_demo_is_an_operator(ini_values: dict[str, str]) -> None:
    assert from_mapping(ini_values, environ={}).operators == frozenset()
    assert from_mapping(ini_values, environ={"MAILGANER_DEMO": "true"}).operators == {DEMO_ADDRESS}


@pytest.mark.slow
def test_an_operator_reads_where_limits_are_set(anna_operates: None, anna: Any) -> None:
    page = anna.get("/plan")
    assert "no limits apply to your account" in page
    assert "mailganer.plan.NAME.per_day" in page
    assert "Choose plan" not in page
    assert "Voucher" not in page
    assert anna.get("/campaigns").html.select_one('a[href="/plan"]')


def test_without_plans_there_are_no_limits_and_no_plan_page(
    ini_values: dict[str, str], request: pytest.FixtureRequest
) -> None:
    for key in [key for key in ini_values if key.startswith("mailganer.plan")]:
        del ini_values[key]
    anna = request.getfixturevalue("anna")
    assert request.getfixturevalue("settings").plans == (NO_LIMITS,)
    assert anna.get("/campaigns").html.select_one('a[href="/plan"]') is None
    anna.get("/plan", status=404)
    anna.get("/lists")
