"""The start of an SMTP session: trust, credentials, and the error for each failure."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mailganer.backends import (
    Backend,
    HostForbidden,
    InputError,
    LoginRefused,
    Network,
    ProtocolBroken,
    SenderRefused,
    TLSFailed,
    TooFast,
    Unreachable,
)
from mailganer.backends.smtp import SMTPBackend, SMTPSettings
from tests.support import outside
from tests.support.pace import within
from tests.support.smtp import SMTPServer

from .authority import Authority
from .conftest import PASSWORD, SENDER, email
from .faulty import ALL, Conversation, FaultyServer, endless, hang_up, reset, silence

Servers = Callable[..., FaultyServer]
Accounts = Callable[..., SMTPBackend]
KNOWN = {SENDER: PASSWORD}


def problem(backend: Backend, kind: type[Exception]) -> Any:
    """Return the error of ``verify``: exactly this class, without the password in it."""
    with pytest.raises(kind) as caught:
        backend.verify()
    assert type(caught.value) is kind
    assert PASSWORD not in str(caught.value) + repr(caught.value)
    return caught.value


# Success.


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "CRAM-MD5 LOGIN", "XOAUTH2 PLAIN LOGIN"])
def test_a_login_over_tls_is_proven(
    make_server: Servers, account: Accounts, authority: Authority, implicit: bool, mechanisms: str
) -> None:
    server = make_server(tls=authority.server(), implicit=implicit, passwords=KNOWN, mechanisms=mechanisms)
    account(server).verify()
    assert server.count("MAIL FROM:<ANNA@EXAMPLE.COM>") == 1
    assert server.emails == []
    assert not any(b"AUTH" in data for data in server.plain)


def test_emails_travel_over_tls(make_server: Servers, account: Accounts, authority: Authority) -> None:
    for implicit in (True, False):
        server = make_server(tls=authority.server(), implicit=implicit, passwords=KNOWN)
        with account(server).connect() as connection:
            receipts = list(connection.send_many(email(number, 100_000) for number in range(20)))
        assert {receipt.outcome.value for receipt in receipts} == {"accepted"}
        assert [found.content for found in server.emails] == [email(n, 100_000).content for n in range(20)]


def test_another_mail_servers_library_agrees(authority: Authority, network: Network) -> None:
    server = SMTPServer(passwords={SENDER: PASSWORD}, tls=authority.server())
    try:
        settings = SMTPSettings.model_validate(
            {"host": "localhost", "port": server.port, "security": "starttls", "password": PASSWORD}
        )
        backend = SMTPBackend(SENDER, settings, network)
        backend.verify()
        with backend.connect() as connection:
            assert connection.send(email(1)).outcome.value == "accepted"
        assert server.emails[0].content == email(1).content
    finally:
        server.stop()


def test_the_login_may_differ_from_the_address(make_server: Servers, account: Accounts) -> None:
    server = make_server(passwords={"user-17": PASSWORD})
    account(server, username="user-17").verify()
    problem(account(server), LoginRefused)


def test_a_server_without_ehlo_is_greeted_the_old_way(make_server: Servers, account: Accounts) -> None:
    server = make_server()
    server.fail("ehlo", "502 5.5.1 What is that?")
    with account(server).connect() as connection:
        assert connection.send(email(1)).outcome.value == "accepted"


# Each failure has its own error with the server's reply.


def test_a_wrong_password(make_server: Servers, account: Accounts) -> None:
    for mechanism in ("PLAIN", "LOGIN"):
        server = make_server(passwords={SENDER: "another"}, mechanisms=mechanism)
        error = problem(account(server), LoginRefused)
        assert error.reply == "535 5.7.8 Wrong password"
        assert error.reply in str(error)


def test_a_server_that_cannot_check_passwords_now(make_server: Servers, account: Accounts) -> None:
    server = make_server(passwords=KNOWN)
    server.fail("auth", "454 4.7.0 Temporary authentication failure")
    assert problem(account(server), Unreachable).reply == "454 4.7.0 Temporary authentication failure"


@pytest.mark.parametrize(
    ("stage", "reply"),
    [("auth", "454 4.7.0 Too many login attempts"), ("connect", "421 4.7.0 Too many connections, slow down")],
)
def test_a_server_that_we_are_too_fast_for(
    make_server: Servers, account: Accounts, stage: str, reply: str
) -> None:
    server = make_server(passwords=KNOWN)
    server.fail(stage, reply)
    assert problem(account(server), TooFast).reply == reply


def test_an_account_that_may_not_send_from_its_address(make_server: Servers, account: Accounts) -> None:
    server = make_server(passwords=KNOWN)
    server.fail("mail", "550 5.7.1 Account is blocked")
    error = problem(account(server), SenderRefused)
    assert error.reply == "550 5.7.1 Account is blocked"


@pytest.mark.parametrize("reply", ["421 4.3.2 Busy", "554 5.7.1 Your address is on a list", "450 Later"])
@pytest.mark.parametrize("stage", ["connect", "ehlo"])
def test_a_server_that_takes_nothing_now(
    make_server: Servers, account: Accounts, stage: str, reply: str
) -> None:
    server = make_server(passwords=KNOWN)
    server.fail(stage, reply)
    assert problem(account(server), Unreachable).reply == reply


def test_a_server_that_asks_no_one_for_a_password_proves_nothing(
    make_server: Servers, account: Accounts
) -> None:
    server = make_server()
    problem(account(server, {"open_relay": "false"}), LoginRefused)
    account(server, {"open_relay": "true"}, password="").verify()


def test_without_a_password_no_server_is_asked(make_server: Servers, account: Accounts) -> None:
    server = make_server(passwords=KNOWN)
    with pytest.raises(InputError) as problem:
        account(server, password="").verify()
    assert set(problem.value.fields) == {"password"}
    assert server.commands == []


def test_a_server_with_ways_to_log_in_that_are_unknown(make_server: Servers, account: Accounts) -> None:
    problem(account(make_server(passwords=KNOWN, mechanisms="GSSAPI NTLM")), ProtocolBroken)


def test_a_closed_port(make_server: Servers, account: Accounts) -> None:
    server = make_server()
    backend = account(server)
    server.stop()
    assert "127.0.0.1" in str(problem(backend, Unreachable))


@pytest.mark.parametrize("fault", [reset, hang_up, silence])
@pytest.mark.parametrize("stage", ["connect", "ehlo", "auth", "mail"])
def test_a_server_that_breaks_off(
    make_server: Servers, account: Accounts, stage: str, fault: Callable[[Conversation], None]
) -> None:
    server = make_server(passwords=KNOWN)
    server.fail(stage, fault)
    problem(account(server), Unreachable)


@pytest.mark.parametrize(
    "banner",
    [
        b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x00\x01\x02\xff\xfe\r\n",
        b"220" + b"x" * 100_000 + b"\r\n",
        b"2 20 hello\r\n",
        b"-ERR\r\n",
        b"\r\n",
    ],
)
def test_what_is_no_mail_server(make_server: Servers, account: Accounts, banner: bytes) -> None:
    server = make_server(passwords=KNOWN)
    server.fail("connect", banner)
    problem(account(server), ProtocolBroken)


def test_an_endless_answer_is_cut(make_server: Servers, account: Accounts) -> None:
    for line in (b"220-hello there\r\n", b"x" * 1000):
        server = make_server(passwords=KNOWN)
        server.fail("connect", endless(line))
        began = time.monotonic()
        problem(account(server), ProtocolBroken)
        assert time.monotonic() - began < within(2)


@pytest.mark.parametrize("stage", ["connect", "ehlo", "auth"])
def test_an_answer_that_drips_does_not_hold_us(make_server: Servers, account: Accounts, stage: str) -> None:
    """A line per second keeps the socket's own timeout from expiring."""
    server = make_server(passwords=KNOWN)
    server.fail(stage, endless(b"250-wait\r\n" if stage != "connect" else b"220-wait\r\n", pause=0.1))
    began = time.monotonic()
    problem(account(server), Unreachable)
    assert time.monotonic() - began < within(4.5)


def test_an_answer_with_a_picture_and_colours_is_shown_as_text(
    make_server: Servers, account: Accounts
) -> None:
    server = make_server(passwords=KNOWN)
    server.fail(
        "auth", b"535-5.7.8 \x1b[31m<script>alert(1)</script>\x00\r\n535 5.7.8 " + b"y" * 3000 + b"\r\n"
    )
    reply = problem(account(server), LoginRefused).reply
    assert reply.startswith("535 5.7.8")
    assert reply.isprintable()
    assert len(reply) == 500


# Encryption.


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize(
    "bad",
    [
        {"expired": True},
        {"self_signed": True},
        {"name": "other.example.com"},
        {"newest": ssl.TLSVersion.TLSv1_1},
    ],
    ids=["expired", "self-signed", "another host's", "old TLS"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_server_that_does_not_prove_itself_gets_no_password(
    make_server: Servers, account: Accounts, authority: Authority, implicit: bool, bad: dict[str, Any]
) -> None:
    server = make_server(tls=authority.server(**bad), implicit=implicit, passwords=KNOWN)
    problem(account(server), TLSFailed)
    assert server.count("AUTH") == 0


def test_an_authority_no_one_named_is_not_trusted(
    make_server: Servers, account: Accounts, authority: Authority
) -> None:
    server = make_server(tls=authority.server(), passwords=KNOWN)
    backend = account(server)
    stranger = SMTPBackend(SENDER, backend.settings, replace(backend.network, ca_file=None))
    problem(stranger, TLSFailed)


def test_encryption_that_is_not_offered_is_not_done_without(make_server: Servers, account: Accounts) -> None:
    """An attacker who removes STARTTLS from the reply causes the same result."""
    server = make_server(passwords=KNOWN)
    problem(account(server, host="localhost", security="starttls"), TLSFailed)
    assert server.count("AUTH") == 0


@pytest.mark.parametrize("reply", ["454 4.7.0 Not now", "502 No", "501 What"])
def test_encryption_that_is_refused(
    make_server: Servers, account: Accounts, authority: Authority, reply: str
) -> None:
    server = make_server(tls=authority.server(), passwords=KNOWN)
    server.fail("starttls", reply)
    assert problem(account(server), TLSFailed).reply == reply
    assert server.count("AUTH") == 0


def test_words_said_before_the_encryption_are_not_taken_for_encrypted_ones(
    make_server: Servers, account: Accounts, authority: Authority
) -> None:
    server = make_server(tls=authority.server(), passwords=KNOWN)
    server.fail("starttls", b"220 Go\r\n250-evil\r\n250 AUTH PLAIN\r\n")
    problem(account(server), TLSFailed)
    assert server.count("AUTH") == 0


def test_the_wrong_kind_of_security_is_said_to_be_that(
    make_server: Servers, account: Accounts, authority: Authority
) -> None:
    plain = make_server(passwords=KNOWN)
    said = str(problem(account(plain, host="localhost", security="tls"), TLSFailed))
    assert "465" in said
    assert "VERSION" not in said  # the library's own term for it
    encrypted = make_server(tls=authority.server(), implicit=True, passwords=KNOWN)
    problem(account(encrypted, security="starttls"), Unreachable)


# Hosts that users may connect to.


def test_without_the_operators_leave_nothing_private_is_reached(
    make_server: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", outside._getaddrinfo)  # literal: no DNS query
    server = make_server(passwords=KNOWN)
    network = Network(ports=frozenset({server.port}))
    for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f.1", "::ffff:127.0.0.1"):
        settings = SMTPSettings.model_validate(
            {"host": host, "port": server.port, "security": "tls", "password": PASSWORD}
        )
        problem(SMTPBackend(SENDER, settings, network), HostForbidden)
    assert server.connections == 0


def test_what_is_wrong_without_asking_anyone_is_said_beside_the_field() -> None:
    def wrong(**settings: Any) -> set[str]:
        known = {"host": "smtp.example.com", "password": PASSWORD} | settings
        with pytest.raises(InputError) as caught:
            SMTPBackend(SENDER, SMTPSettings.model_validate(known), Network())
        return set(caught.value.fields)

    assert wrong(security="none") == {"security"}
    assert wrong(port=22) == {"port"}
    assert wrong(port=6379) == {"port"}


def test_plain_text_goes_to_private_hosts_only(monkeypatch: pytest.MonkeyPatch, make_server: Servers) -> None:
    """Even if the operator allows private hosts, a public one gets no unencrypted password."""
    server = make_server(passwords=KNOWN)
    monkeypatch.setattr("mailganer.backends.hosts.is_public", lambda _address: True)
    network = Network(allow_private=True, ports=frozenset({server.port}))
    settings = SMTPSettings.model_validate(
        {"host": "127.0.0.1", "port": server.port, "security": "none", "password": PASSWORD}
    )
    problem(SMTPBackend(SENDER, settings, network), HostForbidden)
    assert server.plain == []


def test_the_answer_to_every_mistake_is_the_same_conversation_apart(
    make_server: Servers, account: Accounts
) -> None:
    """A refused login ends with QUIT or a closed connection; no half-open session remains."""
    server = make_server(features=ALL, passwords={SENDER: "another"})
    problem(account(server), LoginRefused)
    until = time.monotonic() + 2
    while server._open and time.monotonic() < until:
        time.sleep(0.01)
    assert not server._open
