"""Payments reported by a provider's server."""

import hashlib
import hmac
import json
from datetime import timedelta
from threading import Barrier, Thread
from time import sleep

import pytest

from mailganer.billing import (
    InvalidSignature,
    PaymentNotification,
    PaymentProvider,
    Redirect,
    plan_of,
    take_payment,
)
from mailganer.db import utcnow
from mailganer.errors import Conflict
from mailganer.models import Account
from mailganer.views import payments
from mailganer.web.outside_calls import PER_NETWORK

KEY = b"Canary-cashier"


class Cashier(PaymentProvider):
    """A provider with its own page and a server that signs its notifications."""

    name, title = "cashier", "Cashier"

    def begin(self, session, account, answers, *, plan, settings, now):
        return Redirect(f"https://pay.example/{plan.name}?for={account.id}")

    def notified(self, headers, body, *, settings, now):
        signature = hmac.new(KEY, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, headers.get("X-Signature", "")):
            raise InvalidSignature
        news = json.loads(body)
        if news["event"] != "paid":
            return None
        return PaymentNotification(news["payment"], news["account"], news["plan"], news["days"])


@pytest.fixture
def account(make):
    account = make.account("anna@example.com")
    make.commit()
    return account


@pytest.fixture
def cashier(wsgi_app):
    wsgi_app.registry["payments"] = {"cashier": Cashier()}


@pytest.fixture
def tell(app, cashier, session, account):
    """``tell(payment="1", status=200)``: the provider reports that anna has paid for a month."""
    number = account.id
    session.rollback()

    def tell(key=KEY, status=200, **news):
        told = {"event": "paid", "payment": "1", "account": number, "plan": "pro", "days": 30} | news
        body = json.dumps(told).encode()
        signature = hmac.new(key, body, hashlib.sha256).hexdigest()
        return app.post("/payments/cashier", body, {"X-Signature": signature}, status=status)

    return tell


@pytest.fixture
def days(session, account):
    """``days()``: the account's days of the plan "pro"; None without it."""

    def days():
        session.rollback()
        session.refresh(account)
        plan, until = account.plan, account.plan_until
        session.rollback()
        return round((until - utcnow()) / timedelta(days=1)) if plan == "pro" else None

    return days


def test_what_was_paid_for_is_in_the_plan(tell, days):
    tell()
    assert days() == 30


def test_a_repeated_notification_is_granted_once_and_another_payment_adds_to_it(tell, days):
    for _time in range(3):
        tell(payment="1")
    assert days() == 30
    tell(payment="2")
    assert days() == 60


def test_news_that_no_one_has_signed_grants_nothing(tell, days):
    tell(key=b"forged", status=400)
    assert days() is None


def test_a_notification_about_something_else_is_accepted_and_changes_nothing(tell, days):
    tell(event="refund asked for")
    assert days() is None


@pytest.mark.parametrize("wrong", [{"plan": "platinum"}, {"account": 999_999}])
def test_what_cannot_be_granted_is_reported_to_the_provider_and_may_be_repeated(tell, days, wrong):
    tell(status=409, **wrong)
    assert days() is None
    tell()
    assert days() == 30


def test_a_closed_account_is_granted_nothing(tell, days, session, account, now):
    account.closed_at = now
    session.commit()
    tell(status=409)
    assert days() is None


def test_a_provider_that_is_not_enabled_or_has_no_server_is_not_there_or_says_nothing(app, wsgi_app):
    app.post("/payments/gold", b"{}", status=404)
    app.post("/payments/voucher", b"{}", status=200)
    app.get("/payments/voucher", status=405)


def test_news_that_a_provider_takes_long_to_check_is_granted_in_the_same_answer(
    tell, days, wsgi_app, monkeypatch
):
    check = Cashier.notified

    def slow(*arguments, **options):
        sleep(0.2)
        return check(*arguments, **options)

    monkeypatch.setattr(Cashier, "notified", slow)
    wsgi_app.registry["outside"].patience = 0.01
    answer = tell()
    assert "Set-Cookie" not in answer.headers
    assert days() == 30


def test_more_news_at_once_than_one_network_may_ask_is_all_granted(tell, days, monkeypatch):
    check, together = Cashier.notified, Barrier(PER_NETWORK + 1)

    def slow(*arguments, **options):
        together.wait(10)
        return check(*arguments, **options)

    monkeypatch.setattr(Cashier, "notified", slow)
    threads = [Thread(target=tell, kwargs={"payment": str(each)}) for each in range(PER_NETWORK + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert days() == 30 * (PER_NETWORK + 1)


def test_a_notification_as_large_as_an_import_is_not_read(app, cashier, monkeypatch):
    monkeypatch.setattr(payments, "LARGEST_NEWS", 1024)
    app.post("/payments/cashier", b"x" * 1025, status=413)


def test_two_notifications_at_the_same_time_both_count(sessions, session, account, settings, now):
    number, barrier = account.id, Barrier(4)
    session.rollback()

    def hear(payment):
        with sessions() as own:
            barrier.wait()
            take_payment(
                own, "cashier", PaymentNotification(payment, number, "pro", 10), settings=settings, now=now
            )
            own.commit()

    threads = [Thread(target=hear, args=(payment,)) for payment in ("1", "2", "3", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.expire_all()
    assert session.get(Account, number).plan_until == now + timedelta(days=30)


def test_a_smaller_plan_takes_nothing_away_from_a_bigger_one(session, account, settings, now):
    account.plan, account.plan_until = "pro", now + timedelta(days=5)
    with pytest.raises(Conflict, match="still active"):
        take_payment(
            session, "cashier", PaymentNotification("1", account.id, "free", 30), settings=settings, now=now
        )
    assert plan_of(account, settings, now).name == "pro"
