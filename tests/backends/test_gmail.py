"""Gmail: password, limits, replies, and the search of Sent Mail."""

from __future__ import annotations

import imaplib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from mailganer.backends import LoginRefused, Network, Outcome, Scope, Unreachable
from mailganer.backends.gmail import GmailBackend, GmailSettings
from mailganer.backends.sentmail import SentMail
from tests.support.dovecot import Dovecot
from tests.support.pace import within

from .authority import Authority
from .conftest import email
from .faulty import ALL, FaultyServer
from .imap import IMAPServer

ADDRESS = "anna@gmail.com"
APP_PASSWORD = "abcd efgh ijkl mnop"
BARE = "abcdefghijklmnop"
SENT = {'"[Gmail]/&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"': (r"\HasNoChildren \Sent", {"<n1@example.com>"})}
OUTGOING = "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"  # «Отправленные» in Dovecot's configuration
FOLDERS = {"INBOX": (r"\HasNoChildren", {"<other@example.com>"}), **SENT}


@pytest.fixture
def smtp(make_server: Callable[..., FaultyServer], authority: Authority) -> FaultyServer:
    return make_server(
        features=ALL, tls=authority.server(), passwords={ADDRESS: BARE}, mechanisms="PLAIN LOGIN XOAUTH2"
    )


@pytest.fixture
def imap(authority: Authority) -> Iterator[IMAPServer]:
    server = IMAPServer(authority.server(), {ADDRESS: BARE}, dict(FOLDERS))
    yield server
    server.stop()


@pytest.fixture
def gmail(smtp: FaultyServer, imap: IMAPServer, network: Network) -> Callable[..., GmailBackend]:
    def make(email: str = ADDRESS, **settings: Any) -> GmailBackend:
        options = {"host": "localhost", "port": str(smtp.port)}
        options |= {"imap_host": "localhost", "imap_port": str(imap.port)}
        options |= settings.pop("options", {})
        known = GmailSettings.model_validate(settings or {"password": APP_PASSWORD})
        return GmailBackend(email, known, network, options)

    return make


def test_blanks_in_an_app_password_do_not_matter(gmail: Callable[..., GmailBackend]) -> None:
    gmail().verify()
    gmail(password=BARE).verify()


def test_an_empty_password_is_asked_for() -> None:
    with pytest.raises(ValidationError, match="app password"):
        GmailSettings.model_validate({"password": "   "})
    with pytest.raises(ValidationError):
        GmailSettings.model_validate({})


def test_a_refused_password_is_explained_in_its_own_words(gmail: Callable[..., GmailBackend]) -> None:
    with pytest.raises(LoginRefused) as caught:
        gmail(password="wrong").verify()
    assert str(caught.value) == (
        "Gmail rejected the password: 535 5.7.8 Wrong password."
        " Use an app password, which requires two-step verification."
    )


def test_emails_go_one_by_one_though_the_server_offers_more(
    gmail: Callable[..., GmailBackend], smtp: FaultyServer
) -> None:
    with gmail().connect() as connection:
        receipts = list(connection.send_many(email(number) for number in range(5)))
    assert {receipt.outcome for receipt in receipts} == {Outcome.accepted}
    assert smtp.count("BDAT") == 0
    assert smtp.count("DATA") == 5


def test_its_daily_limit_puts_the_account_to_sleep(
    gmail: Callable[..., GmailBackend], smtp: FaultyServer
) -> None:
    smtp.fail(
        "rcpt", "550-5.4.5 Daily user sending limit exceeded.\r\n550 5.4.5 See support.google.com", skip=2
    )
    with gmail().connect() as connection:
        receipts = list(connection.send_many(email(number) for number in range(10)))
    assert [receipt.outcome.value for receipt in receipts] == ["accepted", "accepted", "exhausted"]
    assert receipts[-1].scope is Scope.account
    assert receipts[-1].reply == "550 5.4.5 Daily user sending limit exceeded. See support.google.com"


def test_a_connection_carries_ninety_emails(gmail: Callable[..., GmailBackend], smtp: FaultyServer) -> None:
    with gmail().connect() as connection:
        receipts = list(connection.send_many(email(number) for number in range(100)))
    assert len(receipts) == 100
    assert smtp.connections == 2


def test_workspace_may_send_more_than_a_free_account(gmail: Callable[..., GmailBackend]) -> None:
    assert gmail().own_limits().per_day == 500
    assert gmail("anna@googlemail.com").own_limits().per_day == 500
    assert gmail("anna@company.example").own_limits().per_day == 2000


def test_who_the_account_is(gmail: Callable[..., GmailBackend]) -> None:
    assert gmail("Anna@GMail.com").identity() == ("smtp.gmail.com", "anna@gmail.com")
    assert gmail("an.na@gmail.com").identity() != gmail().identity()


# Sent Mail.


def test_an_email_in_sent_mail_was_accepted(gmail: Callable[..., GmailBackend], imap: IMAPServer) -> None:
    backend = gmail()
    assert backend.was_accepted("<n1@example.com>") is True
    assert backend.was_accepted("n1@example.com") is True
    assert backend.was_accepted("<n2@example.com>") is False
    assert backend.was_accepted("<other@example.com>") is False, "that one lies in the inbox"
    assert "SELECT" not in " ".join(imap.commands), "looking changes nothing"


def test_a_real_mail_server_knows_what_it_has(
    gmail: Callable[..., GmailBackend], authority: Authority
) -> None:
    server = Dovecot(authority.certificate(), BARE)
    try:
        mailbox = imaplib.IMAP4_SSL(
            "localhost", server.port, ssl_context=ssl.create_default_context(cafile=authority.file)
        )
        mailbox.login(ADDRESS, BARE)
        for folder, name in ((OUTGOING, "sent"), ("INBOX", "came")):
            email = f"Message-ID: <{name}.1f@example.com>\r\nSubject: News\r\n\r\nText\r\n"
            assert mailbox.append(folder, None, None, email.encode())[0] == "OK"
        mailbox.logout()
        backend = gmail(options={"imap_port": str(server.port)})
        assert backend.was_accepted("<sent.1f@example.com>") is True, server.log()
        assert backend.was_accepted("<sent.1@example.com>") is False
        assert backend.was_accepted("<came.1f@example.com>") is False, "that one lies in the inbox"
        wrong = gmail(password="x" * 16, options={"imap_port": str(server.port)})
        assert wrong.was_accepted("<sent.1f@example.com>") is None
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"refuse": "LOGIN"}, "no way in"),
        (
            {"folders": {"INBOX": ("", {"<n1@example.com>"}), "Sent": ("", {"<n1@example.com>"})}},
            "no folder marked",
        ),
        ({"folders": {"Sent": (r"\Sent \Noselect", set())}, "refuse": "EXAMINE"}, "a folder that is none"),
    ],
)
def test_what_can_never_be_looked_up_is_not_claimed(
    gmail: Callable[..., GmailBackend], imap: IMAPServer, how: dict[str, Any], why: str
) -> None:
    for name, value in how.items():
        setattr(imap, name, value)
    assert gmail().was_accepted("<n1@example.com>") is None, why


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"refuse": "LIST"}, "no list of folders"),
        ({"refuse": "EXAMINE"}, "no way into the folder"),
        ({"refuse": "SEARCH"}, "no search"),
        ({"refuse": "LOGIN", "refusal": "[UNAVAILABLE] Temporary System Error"}, "no way in for now"),
        ({"refuse": "LOGIN", "refusal": "[ALERT] Too many simultaneous connections."}, "others are in"),
    ],
)
def test_a_mailbox_that_is_in_trouble_is_worth_asking_again(
    gmail: Callable[..., GmailBackend], imap: IMAPServer, how: dict[str, Any], why: str
) -> None:
    for name, value in how.items():
        setattr(imap, name, value)
    with pytest.raises(Unreachable) as caught:
        gmail().was_accepted("<n1@example.com>")
    assert imap.refusal in caught.value.reply, why


def test_an_unreachable_mailbox_is_worth_asking_again(
    gmail: Callable[..., GmailBackend], imap: IMAPServer
) -> None:
    backend = gmail()
    imap.stop()
    with pytest.raises(Unreachable):
        backend.was_accepted("<n1@example.com>")


def test_a_mailbox_that_proves_nothing_gets_no_password(
    authority: Authority, gmail: Callable[..., GmailBackend]
) -> None:
    impostor = IMAPServer(authority.server("other.example.com"), {ADDRESS: BARE}, dict(FOLDERS))
    backend = gmail(password=BARE, options={"imap_port": str(impostor.port)})
    with pytest.raises(Unreachable):
        backend.was_accepted("<n1@example.com>")
    assert impostor.commands == []
    impostor.stop()


@pytest.mark.parametrize("command", ["GREETING", "CAPABILITY", "LOGIN", "LIST", "EXAMINE", "SEARCH"])
@pytest.mark.parametrize("trouble", ["go_silent_at", "drip_at"])
def test_a_look_takes_a_bounded_time(imap: IMAPServer, network: Network, command: str, trouble: str) -> None:
    setattr(imap, trouble, command)
    login = GmailBackend(ADDRESS, GmailSettings.model_validate({"password": BARE}))._login()
    look = SentMail("localhost", imap.port, login, replace(network), seconds=0.5)
    began = time.monotonic()
    with pytest.raises(Unreachable):
        look.holds("<n1@example.com>")
    assert time.monotonic() - began < within(2)


@pytest.mark.parametrize(
    "bad", ["", "<>", "<a b@c>", '<a"@c>', "<a@c>\r\nA1 DELETE INBOX", "<a@c> OR ALL", "<é@c>"]
)
def test_what_is_no_message_id_is_not_asked_for(
    gmail: Callable[..., GmailBackend], imap: IMAPServer, bad: str
) -> None:
    assert gmail().was_accepted(bad) is None
    assert imap.commands == []


# OAuth.


@pytest.fixture
def tokens() -> Iterator[dict[str, Any]]:
    """Google's token endpoint: its responses and the requests it got."""
    state: dict[str, Any] = {"status": 200, "answer": json.dumps({"access_token": BARE}), "asked": []}

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state["asked"].append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(state["status"])
            self.end_headers()
            self.wfile.write(state["answer"].encode())

        def log_message(self, *_arguments: Any) -> None:
            """Nothing on the terminal."""

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state["url"] = f"http://127.0.0.1:{server.server_port}/token"
    yield state
    server.shutdown()
    server.server_close()


def test_a_refresh_token_opens_both_mail_and_sent_mail(
    gmail: Callable[..., GmailBackend], tokens: dict[str, Any], smtp: FaultyServer
) -> None:
    backend = gmail(
        refresh_token="refresh-1",
        options={"token_url": tokens["url"], "client_id": "id", "client_secret": "s"},
    )
    backend.verify()
    assert smtp.count("AUTH XOAUTH2") == 1
    assert "refresh_token=refresh-1" in tokens["asked"][0]
    assert backend.was_accepted("<n1@example.com>") is True


def test_a_permission_taken_back_is_a_refused_login(
    gmail: Callable[..., GmailBackend], tokens: dict[str, Any]
) -> None:
    backend = gmail(refresh_token="refresh-1", options={"token_url": tokens["url"]})
    tokens["answer"] = json.dumps({"access_token": "stale"})
    with pytest.raises(LoginRefused):
        backend.verify()
    tokens |= {"status": 400, "answer": '{"error": "invalid_grant"}'}
    with pytest.raises(LoginRefused) as caught:
        backend.verify()
    assert "invalid_grant" in caught.value.reply
    assert "permits" in str(caught.value)
    assert backend.was_accepted("<n1@example.com>") is None


def test_a_token_service_that_is_down_is_not_a_wrong_password(gmail: Callable[..., GmailBackend]) -> None:
    with pytest.raises(Unreachable):
        gmail(refresh_token="r", options={"token_url": "http://127.0.0.1:9/token"}).verify()
