"""Sending over a connection that fails at every stage: one correct receipt per email."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator

import pytest

from mailganer.backends import Connection, Message, Outcome, Receipt, Scope, extensions, smtp_pipeline
from mailganer.backends.smtp import SMTPBackend
from tests.support.pace import within

from .conftest import email
from .faulty import ALL, Conversation, FaultyServer, hang_up, reset, silence, take_and_reset

MODES = {
    "command by command": ((), 1),
    "in groups": (("PIPELINING",), 1),
    "in groups though more is offered": (ALL, 1),
    "overlapped": (("PIPELINING", "8BITMIME"), 8),
    "chunked": (ALL, 8),
}
BEFORE_CONTENT = ("mail", "rcpt", "data")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(mode: str, make_server: Callable[..., FaultyServer]) -> FaultyServer:
    return make_server(features=MODES[mode][0])


@pytest.fixture
def connection(mode: str, server: FaultyServer, account: Callable[..., SMTPBackend]) -> Iterator[Connection]:
    with account(server, {"depth": str(MODES[mode][1])}).connect() as connection:
        yield connection


def send(connection: Connection, count: int = 5, size: int = 0) -> list[Receipt]:
    return list(connection.send_many(email(number, size) for number in range(count)))


def outcomes(receipts: list[Receipt]) -> list[str]:
    return [receipt.outcome.value for receipt in receipts]


def check_truth(receipts: list[Receipt], server: FaultyServer) -> None:
    """Check that the receipts match what the server accepted."""
    assert [receipt.message_id for receipt in receipts] == list(range(len(receipts)))
    time.sleep(0.02)  # the server may still be reading after the client closed the connection
    counts = server.counts
    for receipt in receipts:
        arrived = counts[f"r{receipt.message_id}@example.org"]
        if receipt.outcome is Outcome.accepted:
            assert arrived == 1, receipt
        elif receipt.outcome is Outcome.in_doubt:
            assert arrived <= 1, receipt
        else:
            assert arrived == 0, receipt
    assert sum(counts.values()) <= len(receipts)


def test_emails_arrive_byte_for_byte(connection: Connection, server: FaultyServer) -> None:
    emails = [email(number, size) for number, size in enumerate((0, 10, 30_000, 0, 1_000_000))]
    receipts = list(connection.send_many(emails))
    assert outcomes(receipts) == ["accepted"] * 5
    assert receipts[0].reply == "250 2.0.0 Queued"
    assert [(found.recipient, found.content) for found in server.emails] == [
        (sent.recipient, sent.content) for sent in emails
    ]


def test_one_connection_serves_many_emails(mode: str, connection: Connection, server: FaultyServer) -> None:
    assert outcomes(send(connection, 40)) == ["accepted"] * 40
    assert (
        outcomes(list(connection.send_many(email(number) for number in range(40, 60)))) == ["accepted"] * 20
    )
    assert server.connections == 1
    assert server.count("RSET") == (60 if mode == "chunked" else 0)


@pytest.mark.parametrize(
    ("reply", "outcome", "scope"),
    [
        ("550 5.1.1 No such user", Outcome.refused, Scope.recipient),
        ("553 Bad name", Outcome.refused, Scope.recipient),
        ("554 5.7.1 Not to him", Outcome.refused, Scope.recipient),
        ("450 4.2.1 Later", Outcome.deferred, Scope.recipient),
        ("451 Greylisted", Outcome.deferred, Scope.recipient),
        ("452 4.2.2 Full", Outcome.deferred, Scope.recipient),
    ],
)
def test_a_refused_recipient_does_not_harm_the_next(
    connection: Connection, server: FaultyServer, reply: str, outcome: Outcome, scope: Scope
) -> None:
    server.fail("rcpt", reply, skip=1, times=1)
    receipts = send(connection, 6)
    assert outcomes(receipts) == ["accepted", outcome, "accepted", "accepted", "accepted", "accepted"]
    assert receipts[1].reply == reply
    assert receipts[1].scope is scope
    assert server.connections == 1
    check_truth(receipts, server)


@pytest.mark.parametrize(
    "reply", ["552 5.3.4 Too big", "554 5.7.1 Looks like spam", "550 5.7.26 Unauthenticated"]
)
def test_an_email_refused_at_its_end_was_not_taken(
    connection: Connection, server: FaultyServer, reply: str
) -> None:
    server.fail("dot", reply, skip=2, times=1)
    receipts = send(connection, 5)
    assert outcomes(receipts) == ["accepted", "accepted", "refused", "accepted", "accepted"]
    assert receipts[2].scope in (Scope.message, Scope.domain)
    assert receipts[2].reply == reply
    check_truth(receipts, server)


def test_a_server_that_wants_a_reset_after_failure_gets_it_and_no_one_is_lost(
    mode: str, make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    server = make_server(features=MODES[mode][0], needs_reset=True)
    server.fail("rcpt", "550 5.1.1 No", skip=1, times=1)
    server.fail("dot", "451 4.7.1 Later", skip=4, times=1)
    with account(server, {"depth": str(MODES[mode][1])}).connect() as connection:
        receipts = send(connection, 30)
    assert outcomes(receipts).count("accepted") == 28
    assert outcomes(receipts)[1] == "refused"
    assert outcomes(receipts)[5] == "deferred"
    assert server.connections == 1
    check_truth(receipts, server)


def test_the_accounts_daily_limit_stops_the_connection_and_consumes_no_one(
    connection: Connection, server: FaultyServer
) -> None:
    server.fail("rcpt", "550 5.4.5 Daily user sending limit exceeded", skip=3)
    receipts = send(connection, 40)
    assert outcomes(receipts)[:4] == ["accepted"] * 3 + ["exhausted"]
    assert set(outcomes(receipts)[3:]) == {"exhausted"}
    assert len(receipts) <= 3 + 8, "nothing is pulled once the limit is known"
    check_truth(receipts, server)


@pytest.mark.parametrize("stage", BEFORE_CONTENT)
def test_a_421_before_the_content_defers_for_the_connections_sake(
    connection: Connection, server: FaultyServer, stage: str, mode: str
) -> None:
    if mode == "chunked" and stage == "data":
        stage = "mail"
    server.fail(stage, "421 4.3.2 Shutting down")
    receipts = send(connection)
    assert set(outcomes(receipts)) == {"deferred"}
    assert {receipt.scope for receipt in receipts} == {Scope.connection}
    assert receipts[0].reply == "421 4.3.2 Shutting down"
    assert server.connections == 1, "coming back at once is not what 421 asks for"
    check_truth(receipts, server)


def test_a_421_after_the_dot_says_that_the_email_was_not_taken(
    connection: Connection, server: FaultyServer
) -> None:
    server.fail("dot", "421 4.3.0 Later")
    receipts = send(connection)
    assert outcomes(receipts)[0] == "deferred"
    assert receipts[0].scope is Scope.connection
    assert server.emails == []
    check_truth(receipts, server)


def test_a_421_between_emails_is_tried_once_more_on_a_new_connection(
    connection: Connection, server: FaultyServer
) -> None:
    server.fail("mail", "421 4.4.2 Idle for too long", skip=3, times=1)
    receipts = send(connection, 12)
    assert outcomes(receipts) == ["accepted"] * 12
    assert server.connections == 2
    check_truth(receipts, server)


def test_googles_421_for_pace_is_not_answered_by_a_new_connection(
    connection: Connection, server: FaultyServer
) -> None:
    server.fail("mail", "421 4.7.0 Try again later, closing connection", skip=2)
    receipts = send(connection, 30)
    assert outcomes(receipts)[:3] == ["accepted", "accepted", "deferred"]
    assert receipts[2].scope is Scope.account
    assert server.connections == 1
    check_truth(receipts, server)


@pytest.mark.parametrize("fault", [reset, hang_up, silence])
@pytest.mark.parametrize("stage", BEFORE_CONTENT)
def test_a_connection_lost_before_the_content_leaves_nothing_in_doubt(
    server: FaultyServer, connection: Connection, mode: str, stage: str, fault: Callable[..., None]
) -> None:
    if mode == "chunked":
        return  # there the content is sent with the envelope: see the next test
    server.fail(stage, fault)
    receipts = send(connection)
    assert set(outcomes(receipts)) == {"deferred"}
    assert {receipt.scope for receipt in receipts} == {Scope.connection}
    check_truth(receipts, server)


@pytest.mark.parametrize("fault", [reset, hang_up])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "content"])
def test_chunked_emails_handed_over_and_unanswered_are_in_doubt(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    stage: str,
    fault: Callable[..., None],
) -> None:
    server = make_server()
    server.fail(stage, fault, skip=2)
    with account(server, {"depth": "4"}).connect() as connection:
        receipts = send(connection, 30)
    assert outcomes(receipts)[:2] == ["accepted", "accepted"]
    assert 1 <= outcomes(receipts).count("in_doubt") <= 4
    assert len(receipts) <= 2 + 4
    check_truth(receipts, server)


def test_a_server_that_left_while_nothing_was_said_leaves_no_doubt(
    connection: Connection, server: FaultyServer
) -> None:
    assert outcomes(send(connection, 3)) == ["accepted"] * 3
    server.hang_up_on_all()
    time.sleep(0.1)
    again = list(connection.send_many(email(number) for number in range(10, 30)))
    assert outcomes(again) == ["accepted"] * 20
    assert server.connections == 2


def test_a_line_that_died_in_silence_is_noticed_before_an_email_is_written(
    connection: Connection, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that dropped the connection state: no packet gets through in either direction."""
    assert outcomes(send(connection, 3)) == ["accepted"] * 3
    monkeypatch.setattr("mailganer.backends.session.PROBE_AFTER", 0.0)
    server.fail("rset", silence, times=1)
    again = list(connection.send_many(email(number) for number in range(10, 30)))
    assert outcomes(again) == ["accepted"] * 20
    assert server.connections == 2


def test_a_connection_lost_between_emails_is_opened_again(
    mode: str, connection: Connection, server: FaultyServer
) -> None:
    assert outcomes(send(connection, 3)) == ["accepted"] * 3
    server.fail("mail", hang_up, times=1)
    if mode == "chunked":
        return
    receipts = send(connection, 3)
    assert outcomes(receipts) == ["accepted"] * 3
    assert server.connections == 2


def test_a_connection_lost_while_the_content_is_written_is_no_doubt(
    mode: str,
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
) -> None:
    """Larger than all buffers, so the end of the email cannot have been sent."""

    def read_a_little(conversation: Conversation) -> None:
        time.sleep(0.2)
        reset(conversation)

    server = make_server(features=MODES[mode][0], receive_buffer=4096)
    server.fail("content", read_a_little)
    with account(server, {"depth": str(MODES[mode][1])}).connect() as connection:
        receipts = list(connection.send_many([email(0, size=9_000_000)]))
    assert outcomes(receipts) == ["deferred"]
    assert receipts[0].scope is Scope.connection
    check_truth(receipts, server)


@pytest.mark.parametrize("fault", [take_and_reset, reset, hang_up, silence])
def test_a_connection_lost_after_the_final_dot_is_a_doubt(
    mode: str, connection: Connection, server: FaultyServer, fault: Callable[..., None]
) -> None:
    server.fail("dot", fault, skip=2)
    receipts = send(connection, 30)
    assert outcomes(receipts)[:3] == ["accepted", "accepted", "in_doubt"]
    assert outcomes(receipts).count("in_doubt") <= (8 if mode == "chunked" else 1)
    assert server.connections == 1, "what may have been sent is never sent again"
    check_truth(receipts, server)


def test_a_server_that_hangs_up_at_quit_changes_nothing(connection: Connection, server: FaultyServer) -> None:
    server.fail("quit", reset)
    assert outcomes(send(connection)) == ["accepted"] * 5
    connection.close()


@pytest.mark.parametrize(
    "reply", ["354 no", "250", "2500 ok", "HTTP/1.1 400 Bad Request", "\x00\x01\x02", "999 x"]
)
def test_nonsense_after_the_final_dot_is_a_doubt(
    connection: Connection, server: FaultyServer, reply: str
) -> None:
    server.fail("dot", reply)
    receipts = send(connection, 1)
    assert outcomes(receipts) == (["accepted"] if reply == "250" else ["in_doubt"])


@pytest.mark.parametrize("reply", ["354 what", "199 x", "garbage"])
def test_nonsense_before_the_content_defers(connection: Connection, server: FaultyServer, reply: str) -> None:
    server.fail("mail", reply)
    receipts = send(connection, 1)
    assert receipts[0].outcome in (Outcome.deferred, Outcome.in_doubt)
    check_truth(receipts, server)


def test_content_is_given_to_no_one_when_the_server_asks_for_it_all_the_same(
    make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    """RFC 2920, section 3.1: all RCPT failed, and the server still replies 354."""

    def ask(conversation: Conversation) -> None:
        conversation.say("354 Go ahead")
        conversation.take_data()

    server = make_server(features=("PIPELINING",))
    server.fail("rcpt", "550 5.1.1 No such user", skip=1, times=1)
    server.fail("nobody", ask)
    with account(server).connect() as connection:
        receipts = send(connection, 3)
    assert outcomes(receipts) == ["accepted", "refused", "accepted"]
    check_truth(receipts, server)


def test_a_connection_is_renewed_after_its_number_of_emails(
    mode: str, server: FaultyServer, account: Callable[..., SMTPBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = account(server, {"depth": str(MODES[mode][1])})
    few = type(backend.limits)(max_connections=1, per_connection=7)
    monkeypatch.setattr(type(backend), "limits", few)
    with backend.connect() as connection:
        receipts = send(connection, 30)
    assert outcomes(receipts) == ["accepted"] * 30
    assert server.connections == 5
    assert server.count("QUIT") == 5


def test_a_login_that_fails_on_the_next_connection_stops_without_touching_the_rest(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_server(passwords={"anna@example.com": "Canary-Passw0rd-1f9c"})
    backend = account(server, {"depth": "1"})
    monkeypatch.setattr(type(backend), "limits", type(backend.limits)(max_connections=1, per_connection=3))
    server.fail("auth", "535 5.7.8 Password was changed", skip=1)
    pulled: list[int] = []

    def emails() -> Iterator[Message]:
        for number in range(100):
            pulled.append(number)
            yield email(number)

    with backend.connect() as connection:
        receipts = list(connection.send_many(emails()))
    assert outcomes(receipts) == ["accepted"] * 3 + ["unauthorised"]
    assert receipts[-1].reply == "535 5.7.8 Password was changed"
    assert pulled == [0, 1, 2, 3]


def test_a_bad_address_is_refused_before_it_is_on_the_wire(
    connection: Connection, server: FaultyServer
) -> None:
    bad = [
        "a@b>\r\nRCPT TO:<v@example.org",
        "a b@example.org",
        "no-at",
        "",
        "a@b> NOTIFY=NEVER",
        "@example.org",
        "jos\u00e9@example.org",
    ]
    emails = [
        email(0),
        *(email(number, recipient=text) for number, text in enumerate(bad, start=1)),
        email(99),
    ]
    receipts = list(connection.send_many(emails))
    assert outcomes(receipts) == ["accepted", *["refused"] * len(bad), "accepted"]
    assert {found.recipient for found in server.emails} == {"r0@example.org", "r99@example.org"}
    assert not any("v@example.org" in line or "NOTIFY" in line for line in server.commands)


def test_a_domain_in_another_script_is_written_in_ascii(connection: Connection, server: FaultyServer) -> None:
    connection.send(email(0, recipient="анна@почта.рф".replace("анна", "anna")))
    assert server.emails[0].recipient == "anna@xn--80a1acny.xn--p1ai"


def test_an_address_in_another_script_travels_where_the_server_takes_it(
    make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    server = make_server(features=("SMTPUTF8", "8BITMIME"))
    with account(server).connect() as connection:
        receipt = connection.send(email(0, recipient="анна@example.org"))
    assert receipt.outcome is Outcome.accepted
    assert server.emails[0].recipient == "анна@example.org"
    assert server.commands[1].endswith("SMTPUTF8")


def test_an_email_larger_than_the_server_takes_is_not_even_begun(
    make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    server = make_server(features=("SIZE 1000", "PIPELINING"))
    with account(server).connect() as connection:
        receipts = list(connection.send_many([email(0, 5000), email(1)]))
    assert outcomes(receipts) == ["refused", "accepted"]
    assert receipts[0].scope is Scope.message
    assert server.count("MAIL") == 1


@pytest.mark.parametrize("poison", [b"\n.\r\nMAIL FROM:<evil@x>", b"\r.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r"])
def test_an_email_whose_end_could_be_misread_is_not_sent_by_data(
    make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend], poison: bytes
) -> None:
    """SMTP smuggling: sequences that only some servers treat as the end of the email."""
    server = make_server(features=("PIPELINING",))
    content = email(0).content + b"text" + poison + b"more\r\n"
    with account(server).connect() as connection:
        receipt = connection.send(Message(0, "anna@example.com", "r0@example.org", content))
    if poison == b"\r\n.\n":
        assert receipt.outcome is Outcome.accepted  # a doubled dot, which ends the email on no server
        assert server.emails[0].content == content
    else:
        assert receipt.outcome is Outcome.refused
        assert receipt.scope is Scope.message
        assert server.emails == []


def test_an_email_without_dots_at_line_starts_is_not_searched_for_them(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(smtp_pipeline, "_stuff")
    server = make_server(features=("PIPELINING",))
    content = b"Subject: x\r\n\r\n=2E\r\ntext.\r\n"
    with account(server).connect() as connection:
        message = Message(0, "anna@example.com", "r0@example.org", content, no_leading_dots=True)
        assert connection.send(message).outcome is Outcome.accepted
    assert [found.content for found in server.emails] == [content]


def test_waiting_is_ended_by_abort_from_another_thread(connection: Connection, server: FaultyServer) -> None:
    server.fail("dot", silence)
    threading.Timer(0.3, connection.abort).start()
    began = time.monotonic()
    receipts = send(connection, 1)
    assert outcomes(receipts) == ["in_doubt"]
    assert time.monotonic() - began < within(1.5)
    assert outcomes(send(connection, 3)) == ["deferred"], "an aborted connection stays closed"


def test_a_caller_that_stops_early_leaves_a_connection_that_still_works(
    connection: Connection, server: FaultyServer
) -> None:
    receipts = connection.send_many(email(number) for number in range(50))
    assert next(receipts).outcome is Outcome.accepted
    assert isinstance(receipts, Generator)
    receipts.close()
    again = list(connection.send_many(email(number) for number in range(100, 103)))
    assert outcomes(again) == ["accepted"] * 3
    assert max(server.counts.values()) == 1


def test_several_emails_are_in_flight_at_once_when_chunked(
    make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    """Exactly eight emails are taken before the first reply is awaited."""
    server = make_server()
    pulled = 0

    def emails() -> Iterator[Message]:
        nonlocal pulled
        for number in range(50):
            pulled += 1
            yield email(number)

    with account(server, {"depth": "8"}).connect() as connection:
        receipts = connection.send_many(emails())
        next(receipts)
        assert pulled == 8
        assert len(list(receipts)) == 49


@pytest.mark.parametrize("seed", range(40))
def test_whatever_goes_wrong_the_receipts_tell_the_truth(
    seed: int, make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    chance = random.Random(seed)
    features, depth = chance.choice(list(MODES.values()))
    server = make_server(features=features, needs_reset=chance.random() < 0.5)
    replies = (
        "421 4.3.2 Bye",
        "421 4.7.0 Slow down",
        "450 4.2.1 Later",
        "451 Later",
        "550 5.1.1 No",
        "554 5.7.1 No",
        "550 5.4.5 Limit",
        "452 4.5.3 Many",
    )
    for _number in range(chance.randint(1, 8)):
        stage = chance.choice(("mail", "rcpt", "data", "dot", "content", "rcpt", "dot"))
        actions = [reset, hang_up] if stage == "content" else [*replies, reset, hang_up]
        if stage == "dot":
            actions.append(take_and_reset)
        server.fail(stage, chance.choice(actions), skip=chance.randint(0, 60), times=chance.randint(1, 3))
    backend = account(server, {"depth": str(depth)})
    todo = [email(number, chance.choice((0, 0, 20_000))) for number in range(80)]
    settled: dict[int | str, Receipt] = {}
    for _attempt in range(60):
        waiting = [one for one in todo if one.id not in settled]
        if not waiting:
            break
        pulled: list[Message] = []

        def pull(waiting: list[Message] = waiting, pulled: list[Message] = pulled) -> Iterator[Message]:
            for one in waiting:
                pulled.append(one)
                yield one

        with backend.connect() as connection:
            receipts = list(connection.send_many(pull()))
        assert [receipt.message_id for receipt in receipts] == [one.id for one in pulled]
        for receipt in receipts:
            if receipt.outcome in (Outcome.accepted, Outcome.refused, Outcome.in_doubt):
                settled[receipt.message_id] = receipt
    time.sleep(0.05)
    counts = server.counts
    assert len(settled) == 80
    assert max(counts.values(), default=0) <= 1
    for number, receipt in settled.items():
        arrived = counts[f"r{number}@example.org"]
        expected = {Outcome.accepted: {1}, Outcome.refused: {0}, Outcome.in_doubt: {0, 1}}[receipt.outcome]
        assert arrived in expected, receipt


class NoBdat:
    """Refuse BDAT without reading its content, which is then read as commands."""

    def __init__(self, reply: str, skip: int = 0) -> None:
        self.reply, self.left = reply, skip

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Conversation.do_bdat

        def do_bdat(conversation: Conversation, rest: str) -> None:
            if self.left:
                self.left -= 1
                real(conversation, rest)
            else:
                conversation.say(self.reply)

        monkeypatch.setattr(Conversation, "do_bdat", do_bdat)


@pytest.mark.parametrize("reads", ["the content", "commands"])
@pytest.mark.parametrize("skip", [0, 5])
@pytest.mark.parametrize(
    "reply",
    [
        "502 5.5.1 Command not implemented",
        "500 5.5.2 Syntax error, command unrecognized",
        "503 What",
        "550 5.5.1 Command not implemented",
        "554 5.5.4 Invalid arguments",
        "550 BDAT not supported",
    ],
)
def test_a_server_that_refuses_bdat_gets_data_and_every_email(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    monkeypatch: pytest.MonkeyPatch,
    reply: str,
    skip: int,
    reads: str,
) -> None:
    server = make_server()
    if reads == "commands":
        NoBdat(reply, skip).patch(monkeypatch)
    else:
        monkeypatch.setattr(Conversation, "do_data", with_real_dot)
        server.fail("dot", reply, skip=skip)
    backend = account(server)
    with backend.connect() as connection:
        receipts = send(connection, 20)
    assert outcomes(receipts) == ["accepted"] * 20
    check_truth(receipts, server)
    asked = server.count("BDAT")
    with backend.connect() as connection:
        assert (
            outcomes(list(connection.send_many(email(number) for number in range(20, 40))))
            == ["accepted"] * 20
        )
    assert server.count("BDAT") == asked, "remembered for this server"


def with_real_dot(conversation: Conversation, rest: str) -> None:
    """DATA works where BDAT does not."""
    conversation.say("354 Go ahead")
    lines = []
    while (line := conversation._line(keep=True)) != b".\r\n":
        lines.append(line[1:] if line.startswith(b".") else line)
    conversation.content = b"".join(lines)
    conversation.keep()
    conversation.sender = conversation.recipient = None
    conversation.say("250 2.0.0 Queued")


def test_a_server_that_hangs_up_after_refusing_bdat_leaves_no_delivery_in_doubt(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse_and_go(conversation: Conversation) -> None:
        conversation.say("502 5.5.1 Not here")
        hang_up(conversation)

    server = make_server()
    monkeypatch.setattr(Conversation, "do_data", with_real_dot)
    server.fail("dot", refuse_and_go)
    with account(server).connect() as connection:
        receipts = send(connection, 20)
    assert outcomes(receipts) == ["accepted"] * 20
    check_truth(receipts, server)


def test_a_chunk_that_is_taken_behind_one_that_was_refused_is_not_sent_again(
    make_server: Callable[..., FaultyServer], account: Callable[..., SMTPBackend]
) -> None:
    server = make_server()
    server.fail("dot", "502 5.5.1 Not now", skip=3, times=1)
    with account(server).connect() as connection:
        receipts = send(connection, 20)
    assert outcomes(receipts) == ["accepted"] * 20
    check_truth(receipts, server)


def test_a_recipient_refused_where_bdat_is_unknown_has_failed_alone(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    NoBdat("502 5.5.1 Not here").patch(monkeypatch)
    server = make_server()
    server.fail("rcpt", "550 5.1.1 No such user", times=1)
    with account(server).connect() as connection:
        receipts = send(connection, 10)
    assert outcomes(receipts) == ["refused"] + ["accepted"] * 9
    check_truth(receipts, server)


def improper(conversation: Conversation) -> None:
    """Refuse RCPT that comes before the reply to MAIL, like a proxy that reads line by line."""
    if conversation.buffer:
        conversation.say("503 5.5.0 Improper use of SMTP command pipelining")
    else:
        conversation.say("250 2.1.0 Ok")
        conversation.sender = "anna@example.com"


def deaf(conversation: Conversation) -> None:
    """Discard everything that came together with the command."""
    again = not conversation.buffer
    conversation.buffer = b""
    conversation.say("250 2.1.0 Ok")
    conversation.sender = "anna@example.com"
    if not again:
        silence(conversation)


def leaving(conversation: Conversation) -> None:
    """Close the connection when more than one command arrives at once."""
    if conversation.buffer:
        hang_up(conversation)
    conversation.say("250 2.1.0 Ok")
    conversation.sender = "anna@example.com"


@pytest.mark.parametrize("broken", [improper, deaf, leaving])
@pytest.mark.parametrize("depth", [1, 8])
def test_a_server_with_broken_pipelining_gets_command_by_command(
    make_server: Callable[..., FaultyServer],
    account: Callable[..., SMTPBackend],
    broken: Callable[..., None],
    depth: int,
) -> None:
    server = make_server(features=("PIPELINING", "8BITMIME"))
    server.fail("mail", broken)
    backend = account(server, {"depth": str(depth)})
    with backend.connect() as connection:
        receipts = send(connection, 6)
    assert outcomes(receipts) == ["accepted"] * 6
    assert server.connections == 2
    check_truth(receipts, server)
    with backend.connect() as connection:
        assert connection.send(email(7)).outcome is Outcome.accepted
    assert server.connections == 3, "remembered for this server"


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("reply", ["500 What?", "502 5.5.1 Not implemented", "503 Not now", "504 5.5.4 No"])
def test_a_command_that_the_server_does_not_know_fails_no_recipient(
    connection: Connection, server: FaultyServer, mode: str, stage: str, reply: str
) -> None:
    server.fail(stage, reply)
    receipts = send(connection, 4)
    if mode == "chunked" and stage == "data":
        assert outcomes(receipts) == ["accepted"] * 4
        return
    assert set(outcomes(receipts)) == {"deferred"}
    assert {receipt.scope for receipt in receipts} == {Scope.connection}
    check_truth(receipts, server)


@pytest.mark.parametrize("fails", ["", "rcpt", "dot"])
@pytest.mark.parametrize("reply", ["500 What?", "502 5.5.1 Not implemented"])
def test_a_server_that_does_not_know_rset_gets_every_email_once(
    connection: Connection,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    reply: str,
    fails: str,
) -> None:
    monkeypatch.setattr(Conversation, "do_rset", lambda conversation, rest: conversation.say(reply))
    if fails:
        server.fail(fails, "550 5.1.1 No such user", skip=2, times=1)
    receipts = send(connection, 10)
    assert outcomes(receipts).count("accepted") == 10 - bool(fails)
    assert outcomes(receipts).count("refused") == bool(fails)
    check_truth(receipts, server)


def test_what_is_known_about_servers_is_bounded_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(extensions.MOST_SERVERS + 5):
        extensions.avoid(f"host{number}.example", 25, extensions.CHUNKING)
    assert not extensions.is_avoided("host0.example", 25, extensions.CHUNKING)
    assert extensions.is_avoided("host9.example", 25, extensions.CHUNKING)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + extensions.REFUSED_FOR + 1)
    assert not extensions.is_avoided("host9.example", 25, extensions.CHUNKING)
