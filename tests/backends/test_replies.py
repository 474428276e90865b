"""The meaning of replies. The texts are from providers' pages and from public logs."""

import pytest

from mailganer.backends import Outcome, Scope
from mailganer.backends.gmail import RULES as GMAIL
from mailganer.backends.replies import Reply, ReplyRule, Stage, classify

MAIL, RCPT, DATA, DOT = Stage.mail, Stage.rcpt, Stage.data, Stage.content
REFUSED, DEFERRED, EXHAUSTED, UNAUTHORISED = (
    Outcome.refused,
    Outcome.deferred,
    Outcome.exhausted,
    Outcome.unauthorised,
)

ANY_SERVER = [
    # The recipient.
    (RCPT, "550 5.1.1 <x@y>: Recipient address rejected: User unknown", REFUSED, Scope.recipient),
    (RCPT, "550 No such user here", REFUSED, Scope.recipient),
    (RCPT, "551 User not local", REFUSED, Scope.recipient),
    (RCPT, "552 5.2.2 Mailbox full", REFUSED, Scope.recipient),
    (RCPT, "553 5.1.2 Bad destination", REFUSED, Scope.recipient),
    (RCPT, "554 5.4.1 Recipient address rejected: Access denied", REFUSED, Scope.recipient),
    (RCPT, "550 5.4.4 Host not found", REFUSED, Scope.recipient),
    (RCPT, "550 5.7.1 Recipient does not want this", REFUSED, Scope.recipient),
    (RCPT, "450 4.2.0 <x@y>: Greylisted", DEFERRED, Scope.recipient),
    (RCPT, "451 4.7.1 Greylisting in action", DEFERRED, Scope.recipient),
    (RCPT, "452 4.2.2 Over quota", DEFERRED, Scope.recipient),
    (RCPT, "450 4.2.1 The user is receiving mail too quickly", DEFERRED, Scope.recipient),
    (RCPT, "452 4.2.2 User quota exceeded", DEFERRED, Scope.recipient),
    (RCPT, "552 5.2.2 User account quota exceeded", REFUSED, Scope.recipient),
    (RCPT, "451 4.4.4 Temporary server error", DEFERRED, Scope.recipient),
    (RCPT, "450 Try later", DEFERRED, Scope.recipient),
    (DOT, "552 5.2.2 Mailbox full", REFUSED, Scope.recipient),
    (DOT, "550 5.1.1 unknown", REFUSED, Scope.recipient),
    (DOT, "550 mailbox unavailable", REFUSED, Scope.recipient),
    (DOT, "452 4.2.2 Over quota", DEFERRED, Scope.recipient),
    # The email.
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", REFUSED, Scope.message),
    (MAIL, "552 Message size exceeds maximum permitted", REFUSED, Scope.message),
    (DOT, "552 5.3.4 Message too big", REFUSED, Scope.message),
    (DOT, "554 5.7.1 Message scored as spam", REFUSED, Scope.message),
    (DOT, "554 Transaction failed", REFUSED, Scope.message),
    (DOT, "550 5.6.0 Bad MIME", REFUSED, Scope.message),
    (DOT, "554 5.7.0 Virus found", REFUSED, Scope.message),
    (DOT, "451 Cannot scan now", DEFERRED, Scope.message),
    # The sender's domain.
    (DOT, "550 5.7.26 Unauthenticated mail is not accepted, DMARC policy", REFUSED, Scope.domain),
    (RCPT, "550 5.7.23 SPF validation failed", REFUSED, Scope.domain),
    (DOT, "550 5.7.509 DMARC verification did not pass", REFUSED, Scope.domain),
    (DOT, "421 4.7.26 No SPF, no DKIM", DEFERRED, Scope.account),
    # The account.
    (MAIL, "530 5.7.0 Authentication required", UNAUTHORISED, Scope.account),
    (MAIL, "535 5.7.8 Bad credentials", UNAUTHORISED, Scope.account),
    (MAIL, "534 5.7.14 Log in by browser", UNAUTHORISED, Scope.account),
    (
        MAIL,
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        UNAUTHORISED,
        Scope.account,
    ),
    (RCPT, "554 5.7.1 <x@y>: Relay access denied", UNAUTHORISED, Scope.account),
    (RCPT, "550 relaying denied", UNAUTHORISED, Scope.account),
    (RCPT, "553 5.7.1 <a@x>: Sender address rejected: not owned by user b", UNAUTHORISED, Scope.account),
    (RCPT, "550 5.1.8 Sender domain not found", UNAUTHORISED, Scope.account),
    (MAIL, "553 sorry, that address is not allowed here", UNAUTHORISED, Scope.account),
    (RCPT, "550 5.4.5 Daily sending quota exceeded", EXHAUSTED, Scope.account),
    (DOT, "550 5.4.5 Daily user sending limit exceeded", EXHAUSTED, Scope.account),
    (RCPT, "554 5.7.1 Hourly sending limit reached", EXHAUSTED, Scope.account),
    (
        RCPT,
        "550 You have exceeded your daily limit of outgoing mail: sending limit",
        EXHAUSTED,
        Scope.account,
    ),
    (MAIL, "550 Too many messages from this account", EXHAUSTED, Scope.account),
    (RCPT, "451 4.7.1 Outgoing rate limit exceeded", DEFERRED, Scope.account),
    (
        RCPT,
        "450 4.7.1 <x@y>: Recipient address rejected: Too many recipient attempts",
        DEFERRED,
        Scope.account,
    ),
    (RCPT, "452 Too many messages", DEFERRED, Scope.account),
    (RCPT, "451 try again later, sending too fast", DEFERRED, Scope.account),
    (RCPT, "451 4.7.1 You are ratelimited", DEFERRED, Scope.account),
    (RCPT, "452 4.7.1 Too many recipients", DEFERRED, Scope.account),
    (DOT, "450 4.7.1 You are sending too fast", DEFERRED, Scope.account),
    (RCPT, "450 4.7.1 This user is receiving mail too quickly", DEFERRED, Scope.recipient),
    (RCPT, "451 4.7.1 Too many messages for this recipient, slow down", DEFERRED, Scope.recipient),
    (DOT, "452 Your recipient receives too many messages, rate limit", DEFERRED, Scope.recipient),
    (MAIL, "450 4.7.1 Too many messages", DEFERRED, Scope.account),
    (MAIL, "451 4.1.8 Sender domain has no address now", DEFERRED, Scope.account),
    (MAIL, "421 4.7.0 Too many concurrent sessions", DEFERRED, Scope.account),
    # The server.
    (MAIL, "452 4.3.1 Insufficient system storage", DEFERRED, Scope.connection),
    (RCPT, "421 4.3.2 System shutting down", DEFERRED, Scope.connection),
    (DOT, "421 Service not available", DEFERRED, Scope.connection),
    (DOT, "451 4.3.0 Queue file write error", DEFERRED, Scope.connection),
    (MAIL, "503 5.5.1 Nested MAIL command", DEFERRED, Scope.connection),
    (MAIL, "500 5.5.2 Unknown command", DEFERRED, Scope.connection),
    (RCPT, "452 4.5.3 Too many recipients", DEFERRED, Scope.connection),
    # An unknown command is about no recipient; a syntax error in an address is about that address.
    (RCPT, "502 5.5.1 Command not implemented", DEFERRED, Scope.connection),
    (DATA, "502 5.5.1 Command not implemented", DEFERRED, Scope.connection),
    (DOT, "502 5.5.1 Command not implemented", DEFERRED, Scope.connection),
    (RCPT, "500 5.5.2 Error: bad syntax", DEFERRED, Scope.connection),
    (DOT, "550 Unrecognized command", DEFERRED, Scope.connection),
    (RCPT, "503 5.5.1 Improper use of SMTP command pipelining", DEFERRED, Scope.connection),
    (MAIL, "555 5.5.4 Unsupported option: SIZE=1200", DEFERRED, Scope.connection),
    (RCPT, "501 5.1.3 Bad recipient address syntax", REFUSED, Scope.recipient),
    (
        RCPT,
        "504 5.5.2 <x>: Recipient address rejected: need fully-qualified address",
        REFUSED,
        Scope.recipient,
    ),
    (
        RCPT,
        "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
        DEFERRED,
        Scope.connection,
    ),
]


@pytest.mark.parametrize(("stage", "text", "outcome", "scope"), ANY_SERVER)
def test_any_servers_answer(stage: Stage, text: str, outcome: Outcome, scope: Scope) -> None:
    verdict = classify(Reply(int(text[:3]), text.encode()), stage)
    assert (verdict.outcome, verdict.scope) == (outcome, scope)


GOOGLES = [
    (RCPT, "550 5.4.5 Daily user sending limit exceeded. For more information", EXHAUSTED, Scope.account),
    (DOT, "550 5.4.5 Daily SMTP relay sending limit exceeded for customer.", EXHAUSTED, Scope.account),
    (MAIL, "421 4.7.0 Try again later, closing connection. (MAIL)", DEFERRED, Scope.account),
    (DOT, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", DEFERRED, Scope.account),
    (DOT, "550 5.7.28 unusual rate of unsolicited mail originating from your IP", DEFERRED, Scope.account),
    (
        RCPT,
        "450 4.2.1 The user you are trying to contact is receiving mail at a rate",
        DEFERRED,
        Scope.recipient,
    ),
    (RCPT, "452 4.2.2 The recipient's inbox is out of storage space.", DEFERRED, Scope.recipient),
    (RCPT, "452 4.5.3 Your message has too many recipients.", DEFERRED, Scope.account),
    (MAIL, "454 4.7.0 Too many login attempts, please try again later.", DEFERRED, Scope.account),
    (MAIL, "451 4.3.0 Multiple destination domains per transaction", DEFERRED, Scope.account),
    (DOT, "451 4.3.0 Mail server temporarily rejected message.", DEFERRED, Scope.connection),
    (RCPT, "421 4.4.5 Server busy, try again later.", DEFERRED, Scope.connection),
    (MAIL, "530 5.5.1 Authentication Required.", UNAUTHORISED, Scope.account),
    (MAIL, "530 5.7.0 Must issue a STARTTLS command first.", UNAUTHORISED, Scope.account),
    (MAIL, "534 5.7.9 Application-specific password required.", UNAUTHORISED, Scope.account),
    (MAIL, "534 5.7.14 Please log in via your web browser and then try again.", UNAUTHORISED, Scope.account),
    (MAIL, "535 5.7.8 Username and Password not accepted.", UNAUTHORISED, Scope.account),
    (RCPT, "550 5.1.1 The email account that you tried to reach does not exist.", REFUSED, Scope.recipient),
    (RCPT, "550 5.2.1 The email account that you tried to reach is disabled.", REFUSED, Scope.recipient),
    (RCPT, "553 5.1.3 The recipient address is not a valid RFC-5321 address.", REFUSED, Scope.recipient),
    (
        DOT,
        "550 5.7.1 Our system has detected that this message is likely unsolicited",
        REFUSED,
        Scope.message,
    ),
    (DOT, "552 5.7.0 This message was blocked because its content presents a risk", REFUSED, Scope.message),
    (DOT, "552 5.2.3 Your message exceeded Google's message size limits.", REFUSED, Scope.message),
    (
        DOT,
        "550 5.7.26 This mail has been blocked because the sender is unauthenticated",
        REFUSED,
        Scope.domain,
    ),
]


@pytest.mark.parametrize(("stage", "text", "outcome", "scope"), GOOGLES)
def test_googles_answer(stage: Stage, text: str, outcome: Outcome, scope: Scope) -> None:
    verdict = classify(Reply(int(text[:3]), text.encode()), stage, GMAIL)
    assert (verdict.outcome, verdict.scope) == (outcome, scope)


@pytest.mark.parametrize("stage", [MAIL, RCPT, DATA, DOT])
@pytest.mark.parametrize("code", [*range(400, 460), *range(500, 560)])
def test_every_bad_answer_has_a_meaning_and_temporary_ones_refuse_no_one(stage: Stage, code: int) -> None:
    verdict = classify(Reply(code, b"%d" % code), stage)
    assert verdict.outcome is not Outcome.accepted
    assert verdict.outcome is not Outcome.in_doubt
    if code < 500:
        assert verdict.outcome is Outcome.deferred or code in (430,)


def test_a_code_that_contradicts_the_digits_does_not_count() -> None:
    assert classify(Reply(450, b"450 5.1.1 odd"), RCPT).outcome is Outcome.deferred
    assert classify(Reply(550, b"550 2.1.5 odd"), RCPT).outcome is Outcome.refused


@pytest.mark.parametrize("stage", [Stage.greeting, Stage.hello, Stage.login, Stage.mail])
@pytest.mark.parametrize("rules", [(), GMAIL], ids=["any", "google"])
def test_before_a_recipient_is_named_no_answer_is_about_one(
    stage: Stage, rules: tuple[ReplyRule, ...]
) -> None:
    for code in (*range(400, 460), *range(500, 560)):
        for status in ("", "{}.1.1 ", "{}.2.1 ", "{}.2.2 ", "{}.7.1 ", "{}.7.26 ", "{}.4.1 ", "{}.6.7 "):
            text = f"{code} {status.format(code // 100)}mailbox unavailable"
            verdict = classify(Reply(code, text.encode()), stage, rules)
            assert verdict.scope not in (Scope.recipient, Scope.domain), text
            assert verdict.sure, text


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("550 5.4.5 Daily user sending limit exceeded", False),
        ("421 4.7.0 Try later", True),
        ("535 5.7.8 Log in first", False),
        ("530 5.7.1 Client was not authenticated", False),
        ("554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException", False),
        ("550 5.4.5 recipient has exceeded daily receiving limit", False),
        ("502 5.5.1 Command not implemented", True),
        ("451 4.3.0 Temporary lookup failure", False),
        ("554 5.7.1 Relay access denied", False),
        ("450 4.7.1 Rate limit exceeded", False),
        ("550 Too many messages for this user", False),
    ],
)
def test_at_rcpt_only_what_cannot_be_about_the_recipient_is_sure(text: str, sure: bool) -> None:
    verdict = classify(Reply(int(text[:3]), text.encode()), RCPT)
    assert verdict.scope in (Scope.account, Scope.connection)
    assert verdict.sure is sure
