"""Classification of SMTP replies: what the answer is about, and what follows.

The enhanced status code (RFC 3463, RFC 5248, RFC 7372) decides first; then the text, because half of the
servers use 550 for what is only a limit; then the three digits and the stage at which they came. A backend
whose provider uses a code in another sense puts its own rules in front.

Before a recipient is named no answer can be about one. After that, an answer that sounds like the account or
the server is mostly not ``sure``, and one that would stop the account never is: servers quote what the
recipient's own server replied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from .messages import Outcome, Receipt, Scope, clean

# "550 5.4.5 text", and Google's "550-5.4.5 text" after lines are joined.
_ENHANCED = re.compile(rb"^\d{3}[ -]([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


class Stage(StrEnum):
    """The command that was answered."""

    greeting = "greeting"
    hello = "hello"
    login = "login"
    mail = "mail"
    rcpt = "rcpt"
    data = "data"  # DATA itself, before the content
    content = "content"  # the final dot, or the last BDAT


class Reply(NamedTuple):
    """One complete answer. ``raw`` keeps the bytes of all its lines, without line ends, joined by spaces."""

    code: int
    raw: bytes

    @property
    def ok(self) -> bool:
        """Whether the code is 2yz: success."""
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        """The text, cleaned for storing and showing."""
        return clean(self.raw)

    @property
    def enhanced(self) -> tuple[int, int, int] | None:
        """Class, subject and detail of the enhanced status code, if there is one."""
        found = _ENHANCED.match(self.raw)
        return (int(found[1]), int(found[2]), int(found[3])) if found else None


class ReplyOutcome(NamedTuple):
    """The meaning of an answer."""

    outcome: Outcome
    scope: Scope
    retry_after: int | None = None
    sure: bool = True  # false: it may be about the recipient after all

    def receipt(self, message_id: int | str, reply: str) -> Receipt:
        """Return the receipt of one message."""
        return Receipt(message_id, self.outcome, reply, self.retry_after, self.scope, self.sure)


ACCEPTED = ReplyOutcome(Outcome.accepted, Scope.recipient)
REFUSED_RECIPIENT = ReplyOutcome(Outcome.refused, Scope.recipient)
REFUSED_MESSAGE = ReplyOutcome(Outcome.refused, Scope.message)
REFUSED_DOMAIN = ReplyOutcome(Outcome.refused, Scope.domain)
LATER_RECIPIENT = ReplyOutcome(Outcome.deferred, Scope.recipient)
LATER_MESSAGE = ReplyOutcome(Outcome.deferred, Scope.message)
LATER_DOMAIN = ReplyOutcome(Outcome.deferred, Scope.domain)
LATER_ACCOUNT = ReplyOutcome(Outcome.deferred, Scope.account)
LATER_CONNECTION = ReplyOutcome(Outcome.deferred, Scope.connection)
EXHAUSTED = ReplyOutcome(Outcome.exhausted, Scope.account)
UNAUTHORISED = ReplyOutcome(Outcome.unauthorised, Scope.account)


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """One line of the table. The first line whose every condition matches decides."""

    verdict: ReplyOutcome
    code: str = ""  # the three digits, "5.." for any permanent one
    enhanced: str = ""  # "5.4.5", or "x.1.1" for 4.1.1 and 5.1.1, or "5.7.*"
    stages: frozenset[Stage] = frozenset()  # empty: any
    words: str = ""  # a regular expression, searched without regard to case

    def holds(self, reply: Reply, status: str, stage: Stage) -> bool:
        """Return whether this rule matches that answer."""
        if self.stages and stage not in self.stages:
            return False
        if self.code and not re.fullmatch(self.code, str(reply.code)):
            return False
        if self.enhanced and not _matches(self.enhanced, status):
            return False
        return not self.words or re.search(self.words, reply.text, re.IGNORECASE) is not None


def _matches(pattern: str, status: str) -> bool:
    wanted, found = pattern.split("."), status.split(".")
    return len(found) == 3 and all(
        want in ("*", have) or (want == "x" and have in "45")
        for want, have in zip(wanted, found, strict=True)
    )


_MAIL = frozenset({Stage.mail})
_RCPT = frozenset({Stage.rcpt})
_CONTENT = frozenset({Stage.data, Stage.content})

# Texts that mean "you have sent enough" and not "the recipient's mailbox is full".
_TOO_MUCH = (
    r"(daily|hourly|per (day|hour)|24 hours|sending|outgoing|submission|smtp|user|account|sender).{0,40}"
    r"(limit|quota).{0,20}(exceed|reach|hit)"
    r"|(exceed|reach).{0,40}(daily|hourly|sending|outgoing|submission|rate).{0,20}(limit|quota)"
    r"|too many (messages|mails|e-?mails|letters)"
)
_TOO_FAST = (
    r"\brate\b.{0,60}(limit|exceed)|rate.?limit|throttl|slow(ing)? down"
    r"|too (fast|quickly|many ((recipient )?attempts|requests|connections|concurrent|sessions))"
)
# The same about one mailbox, for all who write to it.
_RECEIVES_TOO_MUCH = (
    r"receiv(ing|es?|ed)\b.{0,40}(too (fast|quickly|many|much)|rate)"
    r"|(rate|limit|too (many|much|fast|quickly)).{0,40}\b(for|to|of) (this|that|the|your) "
    r"(recipient|user|mailbox)"
)
_NOT_OURS = (
    r"relay(ing)? (access )?(denied|not permitted)|relaying denied|authentication (is )?required"
    r"|must authenticate|not logged in|log ?in first|not authori[sz]ed to (send|relay)|"
    r"sender (address )?(rejected|denied|not allowed|verify failed)|not owned by|"
    r"from.{0,20}(address|header).{0,30}(not|n't|rejected|denied|mismatch)|"
    r"(sending|outgoing|submission).{0,40}(blocked|disabled|suspended|not allowed|not permitted)"
)
# At RCPT this may be about the recipient's account.
_ACCOUNT = r"account.{0,30}(blocked|suspended|locked)"
# Exchange: STOREDRV.Submission.Exception:SendAsDeniedException, :OutboundSpamException.
_SUBMISSION = r"send ?as ?denied|outbound ?spam|storedrv\.submission|submission\.exception"
_NOT_IMPLEMENTED = (
    r"(command|verb).{0,20}(not (implemented|recogni[sz]ed|supported)|un(known|recogni[sz]ed|implemented))"
    r"|un(known|recogni[sz]ed|implemented) (command|verb)"
)
_TOO_BIG = (
    r"(message|mail|letter|content|size).{0,30}(too (big|large)|exceeds?.{0,30}(size|limit|maximum))"
    r"|maximum.{0,20}size"
)
_NO_SUCH_USER = (
    r"(user|recipient|mailbox|address|account).{0,30}"
    r"(unknown|not found|unavailable|does ?n.t exist|disabled)"
    r"|no such"
)
_FULL = r"(mailbox|inbox|user|recipient).{0,30}(full|over ?quota|quota)|over quota|insufficient.{0,10}space"
_SPAM = r"spam|unsolicited|virus|malware|phish|black ?list|block ?list|content reject|dmarc|\bspf\b|dkim"

RULES: tuple[ReplyRule, ...] = (
    # The account: its login, its rights, its limits.
    ReplyRule(UNAUTHORISED, code="53[045]|538"),
    ReplyRule(UNAUTHORISED, enhanced="5.7.8"),  # credentials are wrong
    ReplyRule(UNAUTHORISED, enhanced="5.7.9"),  # mechanism too weak, or "log in with a browser first"
    ReplyRule(UNAUTHORISED, enhanced="5.7.11"),
    ReplyRule(UNAUTHORISED, enhanced="5.7.13"),  # account disabled
    ReplyRule(UNAUTHORISED, enhanced="5.7.14"),
    # RFC 4954, section 4.7: the server cannot reach its own password database.
    ReplyRule(LATER_CONNECTION, code="454", stages=frozenset({Stage.login}), words="temporary auth"),
    ReplyRule(LATER_ACCOUNT, code="454", enhanced="4.7.*"),
    ReplyRule(EXHAUSTED, enhanced="5.4.5"),  # looks permanent, passes within a day
    ReplyRule(LATER_ACCOUNT, code="4..", enhanced="4.4.5"),
    ReplyRule(LATER_ACCOUNT, enhanced="x.7.28"),  # too much from this account or IP address lately
    # A command that the server does not know, or does not allow now, is never about a recipient. Only Postfix
    # answers 504 for a recipient without a full domain; a bad recipient address is 501, as RFC 5321 requires.
    ReplyRule(REFUSED_RECIPIENT, code="504", stages=_RCPT, words=r"recipient"),
    ReplyRule(LATER_CONNECTION, code="50[0234]"),
    ReplyRule(LATER_CONNECTION, code="501", stages=frozenset({Stage.data})),
    ReplyRule(LATER_CONNECTION, code="555", stages=_MAIL),  # parameters of MAIL
    ReplyRule(LATER_CONNECTION, code="5..", words=_NOT_IMPLEMENTED),
    ReplyRule(UNAUTHORISED, code="5..", words=_SUBMISSION),
    ReplyRule(REFUSED_MESSAGE, code="5..", words=_TOO_BIG),
    # RFC 3463, section 3.3: the recipient's mailbox, also when it is "over quota" or "receiving too quickly".
    *(ReplyRule(REFUSED_RECIPIENT, stages=_RCPT, code="55.", enhanced=f"5.2.{detail}") for detail in (1, 2)),
    *(ReplyRule(LATER_RECIPIENT, stages=_RCPT, code="45.", enhanced=f"4.2.{detail}") for detail in (1, 2)),
    ReplyRule(EXHAUSTED, code="5..", words=_TOO_MUCH),
    ReplyRule(LATER_RECIPIENT, code="45.", stages=_RCPT | _CONTENT, words=_RECEIVES_TOO_MUCH),
    ReplyRule(LATER_ACCOUNT, code="4..", words=_TOO_MUCH),
    # The server is about to close the connection; only the code shows whether the account or the server is
    # the cause.
    ReplyRule(LATER_ACCOUNT, code="421", enhanced="4.7.*"),
    ReplyRule(LATER_ACCOUNT, code="421", words=_TOO_FAST),
    ReplyRule(LATER_CONNECTION, code="421"),
    ReplyRule(LATER_ACCOUNT, code="4..", stages=_MAIL | _RCPT | _CONTENT, words=_TOO_FAST),
    # Permission of the sender address. Some servers check the sender only after RCPT.
    ReplyRule(UNAUTHORISED, code="5..", stages=_MAIL | _RCPT, words=_NOT_OURS),
    ReplyRule(UNAUTHORISED, code="5..", enhanced="5.1.7"),
    ReplyRule(UNAUTHORISED, code="5..", enhanced="5.1.8"),
    ReplyRule(UNAUTHORISED, code="5..", enhanced="5.7.60"),  # send as denied
    ReplyRule(LATER_ACCOUNT, enhanced="4.1.7"),
    ReplyRule(LATER_ACCOUNT, enhanced="4.1.8"),
    # MAIL names no recipient yet: the answer is about the email's size or form, or else about the account.
    ReplyRule(REFUSED_MESSAGE, stages=_MAIL, code="552"),
    ReplyRule(REFUSED_MESSAGE, stages=_MAIL, enhanced="5.3.4"),
    ReplyRule(REFUSED_MESSAGE, stages=_MAIL, enhanced="5.6.*"),
    ReplyRule(LATER_CONNECTION, stages=_MAIL, enhanced="4.3.*"),
    ReplyRule(LATER_ACCOUNT, stages=_MAIL, code="4.."),
    ReplyRule(UNAUTHORISED, stages=_MAIL, code="5.."),
    # The recipient.
    ReplyRule(REFUSED_MESSAGE, enhanced="5.2.3"),
    ReplyRule(REFUSED_RECIPIENT, enhanced="5.1.*"),
    ReplyRule(REFUSED_RECIPIENT, enhanced="5.2.*"),
    ReplyRule(LATER_RECIPIENT, enhanced="4.1.*"),
    ReplyRule(LATER_RECIPIENT, enhanced="4.2.*"),
    ReplyRule(LATER_CONNECTION, enhanced="4.5.3"),  # too many recipients for one connection
    ReplyRule(LATER_ACCOUNT, code="45.", stages=_RCPT | _CONTENT, words=r"too many recipients"),
    # The sender's domain: SPF, DKIM, DMARC, reverse DNS.
    *(ReplyRule(REFUSED_DOMAIN, enhanced=f"5.7.{detail}") for detail in (*range(20, 28), 29, 30, 509, 515)),
    *(ReplyRule(LATER_DOMAIN, enhanced=f"4.7.{detail}") for detail in (*range(20, 28), 29, 30)),
    ReplyRule(UNAUTHORISED, code="5..", stages=_CONTENT, words=f"{_NOT_OURS}|{_ACCOUNT}"),
    # The email: its size and its content.
    ReplyRule(REFUSED_MESSAGE, enhanced="5.3.4"),
    ReplyRule(REFUSED_RECIPIENT, enhanced="5.6.7"),  # an address that only SMTPUTF8 can carry
    ReplyRule(REFUSED_MESSAGE, enhanced="5.6.*"),
    ReplyRule(LATER_MESSAGE, enhanced="4.6.*"),
    # The server or the network behind it.
    ReplyRule(LATER_CONNECTION, enhanced="4.3.*"),
    ReplyRule(LATER_RECIPIENT, enhanced="4.4.*"),
    ReplyRule(REFUSED_RECIPIENT, stages=_RCPT, enhanced="5.4.*"),
    # Policy: about the recipient while only the recipient was named, about the email once it was read.
    ReplyRule(REFUSED_RECIPIENT, stages=_RCPT, enhanced="5.7.*"),
    ReplyRule(LATER_RECIPIENT, stages=_RCPT, enhanced="4.7.*"),  # greylisting
    ReplyRule(REFUSED_MESSAGE, stages=_CONTENT, enhanced="5.7.*"),
    # No enhanced code, or one without meaning: the text, then the digits.
    ReplyRule(REFUSED_RECIPIENT, stages=_CONTENT, code="5..", words=_NO_SUCH_USER),
    ReplyRule(REFUSED_RECIPIENT, stages=_CONTENT, code="5..", words=_FULL),
    ReplyRule(LATER_RECIPIENT, stages=_CONTENT, code="4..", words=_FULL),
    ReplyRule(REFUSED_MESSAGE, stages=_CONTENT, code="5..", words=_SPAM),
    ReplyRule(REFUSED_RECIPIENT, stages=_RCPT, code="5.."),
    ReplyRule(LATER_RECIPIENT, stages=_RCPT, code="4.."),
    ReplyRule(REFUSED_MESSAGE, stages=_CONTENT, code="5.."),
    ReplyRule(LATER_MESSAGE, stages=_CONTENT, code="4.."),
)


def classify(reply: Reply, stage: Stage, own_rules: Sequence[ReplyRule] = ()) -> ReplyOutcome:
    """Return the meaning of an answer other than the expected one.

    An answer that makes no sense at its stage (3yz, or 2yz where it cannot be) counts as a failure of the
    connection.
    """
    status = ".".join(map(str, reply.enhanced or ()))
    if status and int(status[0]) != reply.code // 100:
        status = ""  # "250 5.1.1" or "550 2.0.0": one of the two is wrong, so the digits count
    for rule in own_rules:
        if rule.holds(reply, status, stage):
            if stage not in _NAMED:
                return _before_recipient(rule.verdict)
            return rule.verdict._replace(sure=rule.verdict.outcome not in _COMPARED)
    for rule in RULES:
        if rule.holds(reply, status, stage):
            if stage not in _NAMED:
                return _before_recipient(rule.verdict)
            return rule.verdict._replace(sure=_is_sure(rule.verdict, reply, status))
    return LATER_CONNECTION


_NAMED = _RCPT | _CONTENT  # stages at which there is a recipient
# What would stop the account: a second recipient is tried first.
_COMPARED = (Outcome.unauthorised, Outcome.exhausted)


def _before_recipient(verdict: ReplyOutcome) -> ReplyOutcome:
    """Return the verdict on an answer given before a recipient was named."""
    if verdict.scope not in (Scope.recipient, Scope.domain):
        return verdict
    return UNAUTHORISED if verdict.outcome is Outcome.refused else LATER_ACCOUNT


def _is_sure(verdict: ReplyOutcome, reply: Reply, status: str) -> bool:
    """Return whether an answer is about the account or the server although a recipient was named."""
    if verdict.scope not in (Scope.account, Scope.connection):
        return True
    if verdict.outcome in _COMPARED:
        return False
    if reply.code == 421 or reply.code // 10 == 50 or status in ("4.7.28", "5.7.28"):
        return True
    return re.search(_NOT_IMPLEMENTED, reply.text, re.IGNORECASE) is not None
