"""Calls to outside servers run in their own pool, never at the cost of other requests."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from webtest import TestApp

from mailganer.billing import PaymentProvider, Redirect
from mailganer.db import utcnow
from mailganer.errors import Busy, Throttled, Unreachable
from mailganer.models import Account, Sender
from mailganer.quota.plan_and_sender_usage import sender_usage
from mailganer.web import OutsideCalls
from mailganer.web.outside_calls import MOST_CALLS, MOST_STRANGERS_WAITING, PER_NETWORK
from tests.support.factories import Factory
from tests.support.ports import free_port, wait_until
from tests.support.smtp import SMTPServer
from tests.support.web import served

from ..fixtures.api import Client, client_of

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Gate:
    """A mail server that accepts connections and stays silent until the gate is opened."""

    def __init__(self, server: SMTPServer) -> None:
        self.server, self.opened = server, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.taken: list[Any] = []
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.taken.append(client.getpeername())
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        self.opened.wait(60)
        with client, socket.create_connection((self.server.host, self.server.port)) as behind:
            back = threading.Thread(target=_carry, args=(client, behind), daemon=True)
            back.start()
            _carry(behind, client)
            back.join(10)

    def stop(self) -> None:
        self.opened.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._threads:
            each.join(10)


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def gate(smtp_server: SMTPServer) -> Iterator[Gate]:
    gate = Gate(smtp_server)
    yield gate
    gate.stop()


@pytest.fixture
def impatient(wsgi_app: Any) -> OutsideCalls:
    """The application's pool, without a wait of the pages."""
    calls: OutsideCalls = wsgi_app.registry["outside"]
    calls.patience = 0.01
    return calls


def form_of(app: Any, gate: Gate, password: str = "secret") -> Any:
    form = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]
    form["host"], form["port"], form["security"] = "127.0.0.1", gate.port, "none"
    form["password"] = password
    return form


def is_over(calls: OutsideCalls) -> Callable[[], bool]:
    return lambda: not calls._running


def login(gate: Gate) -> dict[str, Any]:
    fields = {"host": "127.0.0.1", "port": gate.port, "security": "none", "password": "secret"}
    return {"email": "anna@example.com", "backend": "smtp", **fields}


# The pool


def test_two_calls_of_one_network_and_so_many_in_all_are_taken_and_the_next_is_refused() -> None:
    calls = OutsideCalls(most=3)
    first = calls.reserve("192.0.2.1")
    calls.reserve("192.0.2.1")
    with pytest.raises(Throttled) as refused:
        calls.reserve("192.0.2.1")
    assert not isinstance(refused.value, Busy)
    assert 0 < refused.value.retry_after <= 15
    calls.reserve("192.0.2.2")
    with pytest.raises(Busy) as full:
        calls.reserve("192.0.2.3")
    assert 0 < full.value.retry_after <= 15
    first.cancel()
    calls.reserve("192.0.2.1")


def test_a_call_without_the_bound_of_its_network_keeps_to_the_bound_of_all() -> None:
    calls = OutsideCalls(most=3)
    for _call in range(3):
        calls.reserve("192.0.2.1", by_network=False)
    with pytest.raises(Busy):
        calls.reserve("192.0.2.1", by_network=False)


def test_strangers_leave_places_to_accounts_and_to_browsers_that_signed_in_before() -> None:
    calls = OutsideCalls(most=3, strangers=2)
    for each in range(2):
        calls.reserve(f"192.0.2.{each}")
    with pytest.raises(Busy):
        calls.reserve("192.0.2.9")
    calls.reserve("192.0.2.9", known="account 1")
    with pytest.raises(Busy):
        calls.reserve("192.0.2.9", known="device x")


def test_an_account_has_its_own_bound_wherever_it_asks_from() -> None:
    calls = OutsideCalls()
    for _call in range(2):
        calls.reserve("192.0.2.1")
    calls.reserve("192.0.2.1", known="account 1")
    calls.reserve("192.0.2.2", known="account 1")
    with pytest.raises(Throttled):
        calls.reserve("192.0.2.3", known="account 1")


def test_strangers_leave_a_thread_that_may_wait_for_a_known_client() -> None:
    calls = OutsideCalls(waiting=2, strangers_waiting=1)
    with calls.seat(known=False) as first, calls.seat(known=False) as second:
        assert (first, second) == (True, False)
        with calls.seat() as third, calls.seat() as fourth:
            assert (third, fourth) == (True, False)
    with calls.seat(known=False) as again:
        assert again


def test_the_networks_of_one_ipv6_site_have_a_bound_together() -> None:
    calls = OutsideCalls()
    for each in range(4):
        calls.reserve(f"2001:db8:1:{each}::1")
    with pytest.raises(Throttled):
        calls.reserve("2001:db8:1:5::1")
    calls.reserve("2001:db8:2::1")


def test_a_call_that_failed_frees_its_place_and_says_why() -> None:
    calls = OutsideCalls(per_network=1)
    call = calls.reserve("192.0.2.1")
    call.start(lambda: 1 // 0)
    call.wait(10)
    with pytest.raises(ZeroDivisionError):
        call.result()
    calls.reserve("192.0.2.1")


def test_a_call_past_its_deadline_is_over_and_keeps_its_place_until_it_ends() -> None:
    calls, ends = OutsideCalls(per_network=1, seconds=0.01), threading.Event()
    call = calls.reserve("192.0.2.1")
    call.start(lambda: ends.wait(60))
    call.wait(60)
    assert call.is_over
    with pytest.raises(Unreachable, match="did not finish"):
        call.result()
    with pytest.raises(Throttled):
        calls.reserve("192.0.2.1")
    ends.set()
    wait_until(lambda: not calls._running)


def test_addresses_of_one_ipv6_customer_are_one_network() -> None:
    calls = OutsideCalls(per_network=1)
    calls.reserve("2001:db8:1:1::1")
    with pytest.raises(Throttled):
        calls.reserve("2001:db8:1:1:ffff::2")
    calls.reserve("2001:db8:1:2::1")


# Pages


def test_a_page_that_waits_shows_its_progress_and_signs_in_when_the_server_has_answered(
    app: Any, gate: Gate, impatient: OutsideCalls, session: Session
) -> None:
    waiting = form_of(app, gate).submit(status=303).headers["Location"]
    page = app.get(waiting)
    assert page.headers["Refresh"] == "1"
    assert page.html.select_one("progress")["max"] == "15"
    assert page.html.select_one("[role=status]").get_text(strip=True).endswith("of 15 seconds")
    assert "<script" not in str(page.html.select_one("main"))
    assert session.scalars(select(Account)).all() == []
    session.rollback()
    gate.opened.set()
    wait_until(is_over(impatient))
    assert app.get(waiting, status=303).headers["Location"] == "http://localhost/campaigns"
    assert app.get("/settings").status_int == 200
    session.rollback()
    assert session.scalars(select(Sender)).one().from_email == "anna@example.com"
    assert app.get(waiting, status=404).html.select_one("h1").get_text() == "Result no longer available"


@one_database
def test_a_refusal_that_took_long_is_shown_with_the_form(
    app: Any, gate: Gate, impatient: OutsideCalls
) -> None:
    waiting = form_of(app, gate, "wrong").submit(status=303).headers["Location"]
    gate.opened.set()
    wait_until(is_over(impatient))
    page = app.get(waiting, status=401)
    assert "535" in page
    assert page.forms[0]["host"].value == "127.0.0.1"
    assert page.forms[0]["password"].value == ""


@one_database
def test_a_server_that_never_answers_is_said_after_the_deadline(
    app: Any, gate: Gate, impatient: OutsideCalls
) -> None:
    impatient.seconds = 0.6
    waiting = form_of(app, gate).submit(status=303).headers["Location"]
    wait_until(is_over(impatient))
    page = app.get(waiting, status=502)
    assert page.html.select_one("details.fold[open] input[name=host]") is not None


@one_database
def test_the_answer_belongs_to_the_browser_that_asked(
    wsgi_app: Any, app: Any, gate: Gate, impatient: OutsideCalls
) -> None:
    waiting = form_of(app, gate).submit(status=303).headers["Location"]
    other = TestApp(wsgi_app, extra_environ={"HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.2"})
    other.get(waiting, status=404)
    other.get("/sign-in", {"email": "anna@example.com"})
    other.get(waiting, status=404)
    gate.opened.set()
    wait_until(is_over(impatient))
    other.get(waiting, status=404)
    assert other.get("/settings").status_int == 303
    app.get(waiting, status=303)


@one_database
def test_a_third_sign_in_of_one_network_has_to_wait(app: Any, gate: Gate, impatient: OutsideCalls) -> None:
    for _call in range(PER_NETWORK):
        form_of(app, gate).submit(status=303)
    refused = form_of(app, gate).submit(status=429)
    assert 0 < int(refused.headers["Retry-After"]) <= 15
    assert "2 checks for your account are already running" in refused


@one_database
def test_a_sender_is_added_and_proven_again_after_a_wait(
    anna: Any, gate: Gate, impatient: OutsideCalls, session: Session
) -> None:
    gate.server.passwords["boris@example.com"] = "secret"
    form = anna.get("/senders/new", {"email": "boris@example.com"}).forms
    form = next(each for each in form.values() if "password" in each.fields)
    form["host"], form["port"], form["security"], form["password"] = "127.0.0.1", gate.port, "none", "secret"
    waiting = form.submit(status=303).headers["Location"]
    assert "/waiting/" in waiting
    gate.opened.set()
    wait_until(is_over(impatient))
    assert anna.get(waiting, status=303).headers["Location"] == "http://localhost/senders"
    assert "boris@example.com is connected." in anna.get("/senders")
    assert len(session.scalars(select(Sender)).all()) == 2


def test_a_test_email_that_waits_is_sent_and_counted_once(
    app: Any, anna: Any, gate: Gate, impatient: OutsideCalls, session: Session, make: Factory
) -> None:
    account = session.scalars(select(Account)).one()
    sender = make.sender(account, gate.server)
    sender.settings = {**sender.settings, "port": gate.port}
    lst = make.list(account)
    make.subscribers(account, 1, lst)
    campaign = make.campaign(account, (lst,), (sender,))
    make.commit()
    form = anna.get(f"/campaigns/{campaign.id}/email").forms["test"]
    form["to"] = "me@example.org"
    waiting = form.submit(status=303).headers["Location"]
    assert "/waiting/" in waiting
    gate.opened.set()
    wait_until(is_over(impatient))
    back = anna.get(waiting, status=303)
    assert f"/campaigns/{campaign.id}/email" in back.headers["Location"]
    assert [each.recipient for each in gate.server.emails] == ["me@example.org"]
    assert sender_usage(session, sender.id, utcnow()) == 1


# Payments


class SlowCashier(PaymentProvider):
    """A provider that calls its own server and checks that no transaction is open meanwhile."""

    name, title = "slow", "Slow"

    def __init__(self, engine: Any) -> None:
        self.engine, self.ends = engine, threading.Event()
        self.open_transactions: list[int] = []

    def begin(
        self, session: Any, account: Any, answers: Any, *, plan: Any, settings: Any, now: Any
    ) -> Redirect:
        self.open_transactions.append(self.engine.pool.checkedout())
        self.ends.wait(60)
        return Redirect(f"https://pay.example/{plan.name}?for={account.id}")

    def notified(self, headers: Any, body: bytes, *, settings: Any, now: Any) -> None:
        self.open_transactions.append(self.engine.pool.checkedout())


def test_a_payment_service_is_asked_while_no_transaction_is_open(
    wsgi_app: Any, anna: Any, impatient: OutsideCalls
) -> None:
    impatient.patience = 1  # the page does nothing before the call of the payment service
    slow = SlowCashier(wsgi_app.registry["engine"])
    wsgi_app.registry["payments"] = {"slow": slow}
    form = next(form for form in anna.get("/plan").forms.values() if "/plan/pay/slow" in form.action)
    form["plan"] = "pro"
    waiting = form.submit(status=303).headers["Location"]
    anna.get(waiting, status=200)
    slow.ends.set()
    wait_until(is_over(impatient))
    assert "https://pay.example/pro?for=" in anna.get(waiting)
    anna.post("/payments/slow", b"{}", status=200)
    assert slow.open_transactions == [0, 0]


# The API


def test_no_transaction_is_open_while_a_mail_server_is_asked(
    wsgi_app: Any, client: Client, gate: Gate, impatient: OutsideCalls
) -> None:
    answers: list[Any] = []
    body = login(gate)
    asking = threading.Thread(target=lambda: answers.append(client.post("senders", body, status=201)))
    asking.start()
    wait_until(lambda: gate.taken)
    assert wsgi_app.registry["engine"].pool.checkedout() == 0
    gate.opened.set()
    asking.join(60)
    assert answers[0].json["from_email"] == "anna@example.com"


@one_database
def test_the_api_refuses_a_third_call_of_one_network_and_what_no_thread_can_wait_for(
    anonymous: Client, gate: Gate
) -> None:
    def ask(address: str) -> Any:
        return anonymous.post("login", login(gate), extra_environ={"REMOTE_ADDR": address}, status="*")

    answers: list[Any] = []
    places = [f"192.0.2.{each // PER_NETWORK}" for each in range(MOST_STRANGERS_WAITING)]
    asking = [threading.Thread(target=lambda place=each: answers.append(ask(place))) for each in places]
    for each in asking:
        each.start()
    wait_until(lambda: len(gate.taken) == MOST_STRANGERS_WAITING)
    full = ask("192.0.2.99")
    assert (full.status_int, full.content_type) == (503, "application/problem+json")
    assert 0 < int(full.headers["Retry-After"]) <= 15
    gate.opened.set()
    for each in asking:
        each.join(60)
    assert [answer.status_int for answer in answers] == [200] * MOST_STRANGERS_WAITING


@one_database
def test_the_api_says_429_to_a_third_call_of_one_network(
    app: Any, anonymous: Client, gate: Gate, impatient: OutsideCalls
) -> None:
    for _call in range(PER_NETWORK):
        form_of(app, gate).submit(status=303)
    refused = anonymous.post("login", login(gate), status=429)
    assert refused.json["retry_after"] == int(refused.headers["Retry-After"])


# The web part


@one_database
def test_twelve_silent_sign_ins_keep_no_recipient_waiting(
    wsgi_app: Any, session: Session, make: Factory, gate: Gate
) -> None:
    """Eight threads, as ``mailganer web`` has; the mail server is silent until all pages are served."""
    account = make.account()
    anna = client_of(TestApp(wsgi_app), session, account, make)
    port = free_port()

    def ask(method: str, path: str, body: bytes | None = None) -> int:
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with closing(there):
            there.request(method, path, body, {"Content-Type": "application/json", **anna.headers})
            return there.getresponse().status

    statuses: list[int] = []
    body = json.dumps(login(gate)).encode()
    signing_in = [
        threading.Thread(target=lambda: statuses.append(ask("POST", "/api/v1/login", body)))
        for _each in range(MOST_CALLS)
    ]
    with served(wsgi_app, port, threads=8):
        try:
            for each in signing_in:
                each.start()
            wait_until(lambda: len(gate.taken) == PER_NETWORK and len(statuses) == MOST_CALLS - PER_NETWORK)
            assert set(statuses) == {429}
            assert [ask("GET", "/u/unknown") for _reader in range(20)] == [404] * 20
            assert len(statuses) == MOST_CALLS - PER_NETWORK  # the two still wait
        finally:
            gate.opened.set()
            for each in signing_in:
                each.join(60)
