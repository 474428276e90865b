"""Who a refusal is about: one recipient, or the account and its server, by what the others get."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import pytest

from mailganer.backends import (
    BackendError,
    Limits,
    Message,
    Outcome,
    Receipt,
    Scope,
    TooFast,
    Unreachable,
    load_backends,
)
from mailganer.backends.replies import Reply, Stage, classify
from mailganer.campaigns import state_changes
from mailganer.i18n.translator import translate_sentence
from mailganer.models import (
    Campaign,
    CampaignStatus,
    Delivery,
    Reason,
    Sender,
    SenderStatus,
    Subscriber,
    SubscriberStatus,
)
from mailganer.reports.explanation import why_email
from mailganer.reports.explanation.context import ExplanationContext
from mailganer.reports.explanation_steps import ExplanationCode
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker import pausing, window_planner
from mailganer.sending.worker.lane import LaneRunner
from tests.backends.faulty import Conversation, FaultyServer, hang_up
from tests.sending.scripted import Script, accept
from tests.support.statements import statements

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

RCPT, DOT = Stage.rcpt, Stage.content
LADDER = (6, 16, 61, 181, 1441)  # minutes after which a deferred recipient is tried again
FEATURES = {"one at a time": ("8BITMIME",), "chunked": ("8BITMIME", "PIPELINING", "CHUNKING")}


@pytest.fixture
def works(open_works: Callable[..., Any], clock: Any, script: Script) -> Any:
    return open_works(clock, script)


@pytest.fixture
def smtp_works(open_works: Callable[..., Any], clock: Any) -> Any:
    return open_works(clock)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer(features=FEATURES["one at a time"], passwords={"anna@example.com": "secret"})
    yield server
    server.stop()


def says(stage: Stage, reply: str) -> Callable[[Message], Receipt]:
    """What the SMTP backend makes of this answer to a recipient; ``{}`` stands for the address."""

    def answer(message: Message) -> Receipt:
        text = reply.format(message.recipient)
        return classify(Reply(int(text[:3]), text.encode()), stage).receipt(message.id, text)

    return answer


def only(numbers: set[int], answer: Callable[[Message], Receipt]) -> Callable[[Message], Receipt]:
    addresses = {f"reader{number:06}@example.org" for number in numbers}
    return lambda message: (answer if message.recipient in addresses else accept)(message)


def at_rcpt(monkeypatch: pytest.MonkeyPatch, replies: Callable[[str], str]) -> None:
    """A server that answers RCPT by the address; an empty reply takes it."""
    real = Conversation.do_rcpt

    def do_rcpt(conversation: Conversation, rest: str) -> None:
        address = rest.partition("<")[2].partition(">")[0]
        if conversation.sender is not None and (reply := replies(address)):
            conversation.say(reply)
        else:
            real(conversation, rest)

    monkeypatch.setattr(Conversation, "do_rcpt", do_rcpt)


ONE = [
    (RCPT, "451 4.3.0 <{}>: Temporary lookup failure"),
    (RCPT, "554 5.7.1 <{}>: Relay access denied"),
    (RCPT, "450 4.7.1 <{}>: rate limit for this recipient exceeded, slow down"),
    (RCPT, "452 4.3.1 Insufficient system storage"),
    (RCPT, "550 Too many messages for this user"),
    (RCPT, "550 5.1.8 <{}>: Sender address rejected: Domain not found"),
    (RCPT, "550 account suspended"),
    (DOT, "451 4.3.0 <{}>: queue file write error"),
    (DOT, "550 message sending for this account is disabled"),
]


@pytest.mark.parametrize(("stage", "reply"), ONE)
@pytest.mark.parametrize("who", [1, 4])
def test_what_one_of_four_gets_is_about_that_one(
    due: Any,
    works: Any,
    script: Script,
    clock: Any,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    stage: Stage,
    reply: str,
    who: int,
) -> None:
    script.answer = only({who}, says(stage, reply))
    campaign = due(4)
    works.run(3)
    sender = reload(campaign.senders[0])
    assert (sender.status, sender.slowed_to, sender.error) == (SenderStatus.ready, None, None)
    assert statuses(campaign.id)["sent"] == 3
    for minutes in LADDER:
        clock.forward(minutes=minutes)
        works.run(2)
    assert reload(campaign.senders[0]).status is SenderStatus.ready
    assert statuses(campaign.id) == {"sent": 3, "failed": 1}
    assert reload(campaign).status is CampaignStatus.finished
    assert deliveries(campaign.id)[who - 1].reply == reply.format(f"reader{who:06}@example.org")


def test_a_lookup_failure_of_one_of_four_stops_no_other_recipient_over_smtp(
    due: Any,
    make: Any,
    smtp_works: Any,
    server: FaultyServer,
    statuses: Any,
    deliveries: Any,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_rcpt(
        monkeypatch,
        lambda address: f"451 4.3.0 <{address}>: Temporary lookup failure" if "0001@" in address else "",
    )
    account = make.account(plan="pro")
    campaign = due(4, make.sender(account, server), account)
    smtp_works.run(3)
    assert statuses(campaign.id) == {"sent": 3, "pending": 1}
    waiting = deliveries(campaign.id)[0]
    assert (waiting.attempts, waiting.not_before) == (1, clock.now + timedelta(minutes=5))
    monkeypatch.undo()
    clock.forward(minutes=6)
    smtp_works.run(2)
    assert statuses(campaign.id) == {"sent": 4}
    assert set(server.counts.values()) == {1}


EVERYBODY = [
    ("mail", "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException"),
    ("mail", "550 5.7.0 From address is not one of your addresses"),
    ("mail", "550 message sending for this account is disabled"),
    ("mail", "550-mailbox unavailable\r\n550 Failure sending mail. Try again later"),
    ("mail", "550 5.1.0 <anna@example.com>: policy violation"),
    ("mail", "550 5.2.1 disabled"),
    ("rcpt", "550 account disabled"),
    ("rcpt", "550 message sending for this account is disabled"),
    ("rcpt", "550-mailbox unavailable\r\n550 Failure sending mail. Try again later"),
    ("rcpt", "550 5.1.1 Rejected"),
    ("rcpt", "451 4.3.0 Temporary lookup failure"),
    ("rcpt", "450 4.2.0 Not now"),
    ("dot", "554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; ABC123"),
    ("dot", "554 5.2.252 SendAsDenied; anna@example.com not allowed to send as"),
    ("dot", "550-mailbox unavailable\r\n550 Failure sending mail. Try again later"),
    ("dot", "550 5.7.0 From address is not one of your addresses"),
    ("dot", "550 5.2.0 Rejected"),
]


@pytest.mark.parametrize(
    ("stage", "reply", "people", "features"),
    [
        *((*each, 3, "one at a time") for each in EVERYBODY),
        *((*each, 25, "chunked") for each in EVERYBODY[1::4]),
    ],
)
def test_what_all_recipients_get_fails_no_recipient(
    due: Any,
    make: Any,
    smtp_works: Any,
    server: FaultyServer,
    clock: Any,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    sessions: Any,
    stage: str,
    reply: str,
    people: int,
    features: str,
) -> None:
    server.features = FEATURES[features]
    server.fail(stage, reply)
    account = make.account(plan="pro")
    campaign = due(people, make.sender(account, server), account)
    for _each in range(8):
        smtp_works.run(2)
        assert statuses(campaign.id) == {"pending": people}
        clock.forward(minutes=20)
    sender = reload(campaign.senders[0])
    assert sender.status is not SenderStatus.ready
    assert reply.rpartition("\n")[2][4:24] in translate_sentence(sender.error)
    assert reload(campaign).status is CampaignStatus.sending
    with sessions() as session:
        assert {row.status for row in session.query(Subscriber)} == {SubscriberStatus.active}
    server.faults.clear()
    with sessions.begin() as session:
        again = session.get_one(Sender, sender.id)
        again.status, again.sleeps_until = SenderStatus.ready, None
    clock.forward(minutes=30)
    smtp_works.run(6)
    clock.forward(minutes=6)
    smtp_works.run(4)
    assert statuses(campaign.id) == {"sent": people}
    assert set(server.counts.values()) == {1}


@pytest.mark.parametrize("people", [3, 25])
@pytest.mark.parametrize("reply", ["554 5.7.1 Spam {}", "550 5.7.26 DMARC", "552 5.3.4 Too big"])
def test_an_email_that_no_one_can_be_sent_pauses_a_small_campaign_too(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any, people: int, reply: str
) -> None:
    script.answer = says(DOT, reply)
    campaign = due(people)
    works.run(3)
    assert reload(campaign).status is CampaignStatus.paused
    assert reply[:9] in translate_sentence(reload(campaign).paused_reason)
    assert statuses(campaign.id) == {"pending": people}
    assert reload(campaign.senders[0]).status is SenderStatus.ready


def test_unknown_mailboxes_here_and_there_have_failed(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any, sessions: Any
) -> None:
    dead = {1, 2, 3, 4, 9, 17}
    script.answer = only(dead, says(RCPT, "550 5.1.1 <{}>: Recipient address rejected: User unknown"))
    campaign = due(20)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 14, "failed": 6}
    assert reload(campaign).status is CampaignStatus.finished
    with sessions() as session:
        gone = session.query(Subscriber).filter_by(status=SubscriberStatus.bounced).count()
    assert gone == 6


def test_three_who_are_refused_for_three_reasons_have_failed(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    words = iter(["550 No such user", "552 5.2.2 Mailbox full", "550 5.7.1 Not wanted here"])
    script.answer = lambda message: says(RCPT, next(words))(message)
    campaign = due(3)
    works.run(4)
    assert statuses(campaign.id) == {"failed": 3}
    assert reload(campaign).status is CampaignStatus.finished


def test_who_is_refused_again_when_others_are_accepted_has_failed_and_was_given_back_once(
    due: Any,
    works: Any,
    script: Script,
    clock: Any,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    sessions: Any,
    settings: Any,
) -> None:
    refuse = says(RCPT, "550 5.1.1 mailbox unavailable")
    script.answer = refuse
    campaign = due(6)
    works.run(2)
    assert statuses(campaign.id) == {"pending": 6}
    tried = {message.recipient for message in script.seen}
    script.answer = lambda message: (refuse if message.recipient in tried else accept)(message)
    number = len(tried)
    given_back = deliveries(campaign.id)[:number]
    assert {(row.attempts, row.returned_at, row.first_tried_at) for row in given_back} == {
        (0, clock.now, None)
    }
    when = clock.now
    with sessions() as session:
        assert {row.status for row in session.query(Subscriber)} == {SubscriberStatus.active}
        context = ExplanationContext(
            session, session.get_one(Campaign, campaign.id), clock.now, settings, load_backends(["smtp"])
        )
        steps = why_email(context, session.get_one(Delivery, given_back[0].id)).steps
        assert [step.since for step in steps if step.code is ExplanationCode.returned] == [when]
    clock.forward(seconds=11)
    works.run(2)
    assert statuses(campaign.id) == {"sent": 6 - number, "pending": number}, "the others go first"
    clock.forward(minutes=1)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 6 - number, "failed": number}
    assert {row.returned_at for row in deliveries(campaign.id)[:number]} == {when}
    assert {row.reason for row in deliveries(campaign.id)[:number]} == {Reason.refused}
    assert reload(campaign).status is CampaignStatus.finished
    assert reload(campaign.senders[0]).status is SenderStatus.ready


def test_those_before_are_known_when_each_turn_is_over_after_one_email(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    """Where many senders wait, a lane gives way after each window."""
    script.answer = says(RCPT, "550 mailbox unavailable")
    campaign = due(3)
    tick(works.context)
    plan(works.context, campaign.id)
    for _turn in range(3):
        yields = chain([False], repeat(True))
        LaneRunner(works.context, campaign.senders[0].id, yields=lambda: next(yields)).run(30)  # noqa: B023
    assert len(script.seen) == 3
    assert statuses(campaign.id) == {"pending": 3}
    assert reload(campaign.senders[0]).status is SenderStatus.sleeping


def test_two_campaigns_of_one_sender_are_compared_together(
    due: Any, works: Any, script: Script, make: Any, statuses: Any, clock: Any
) -> None:
    script.answer = says(RCPT, "550 mailbox unavailable")
    account = make.account(plan="pro")
    sender = make.sender(account)
    first = due(2, sender, account)
    works.run(3)
    assert statuses(first.id) == {"failed": 2}, "two cannot tell"
    lst = make.list(account, "Others")
    for _each in range(2):
        make.subscriber(account, lists=(lst,))
    second = make.campaign(account, (lst,), (sender,), status=CampaignStatus.scheduled, send_at=clock.now)
    make.commit()
    works.run(3)
    assert statuses(first.id) == {"pending": 2}
    assert statuses(second.id) == {"pending": 2}
    script.answer = accept
    clock.forward(minutes=1)
    works.run(4)
    assert statuses(first.id) == {"sent": 2}
    assert statuses(second.id) == {"sent": 2}
    assert set(script.got.values()) == {1}


FAILED, RESTS, STOPS, PAUSED, AGAIN = "failed", "rests", "stops", "paused", "again"
SMALL = [
    # a reply to all recipients, and the result for one, two, three and twenty-five of them
    ("550 5.1.1 User unknown", (FAILED, FAILED, AGAIN, PAUSED)),  # tests/sending/test_refused_recipients.py
    ("550 5.1.1 <{}>: Recipient address rejected: User unknown", (FAILED, FAILED, FAILED, PAUSED)),
    ("550 mailbox unavailable", (FAILED, FAILED, RESTS, RESTS)),
    ("550 account disabled", (FAILED, FAILED, RESTS, RESTS)),
    ("550 mailbox unavailable Failure sending mail. Try again later", (PAUSED, RESTS, RESTS, RESTS)),
    ("550 5.1.0 <anna@example.com>: policy violation", (PAUSED, RESTS, RESTS, RESTS)),
    ("554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException", (PAUSED, STOPS, STOPS, STOPS)),
    ("554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException", (PAUSED, STOPS, STOPS, STOPS)),
    ("550 message sending for this account is disabled", (PAUSED, STOPS, STOPS, STOPS)),
    ("550 5.2.2 <{}>: mailbox over quota, by our policy", (FAILED, FAILED, FAILED, RESTS)),
    ("550 5.7.0 From address is not one of your addresses", (PAUSED, STOPS, STOPS, STOPS)),
]
AT_DOT = [
    *SMALL[-4:],
    ("550 5.1.0 <anna@example.com>: policy violation", (PAUSED, RESTS, RESTS, RESTS)),
    ("554 5.7.1 Spam {}", (PAUSED, PAUSED, PAUSED, PAUSED)),
    ("550 5.7.1 Rejected by policy", (PAUSED, PAUSED, PAUSED, PAUSED)),
]


@pytest.mark.parametrize(
    ("stage", "reply", "fates"), [*((RCPT, *each) for each in SMALL), *((DOT, *each) for each in AT_DOT)]
)
def test_how_many_recipients_it_takes_until_an_answer_is_about_us(
    due: Any,
    make: Any,
    works: Any,
    script: Script,
    statuses: Any,
    reload: Any,
    stage: Stage,
    reply: str,
    fates: tuple[str, ...],
) -> None:
    script.answer = says(stage, reply)
    sizes = (1, 2, 3, 25)
    accounts = [make.account(f"owner{people}@example.com", plan="pro") for people in sizes]
    campaigns = [due(people, account=each) for people, each in zip(sizes, accounts, strict=True)]
    works.run(3)
    assert tuple(fate_of(reload(each), reload(each.senders[0])) for each in campaigns) == fates
    left = [{FAILED: "failed"}.get(fate, "pending") for fate in fates]
    counts = [{word: people} for word, people in zip(left, sizes, strict=True)]
    assert [statuses(each.id) for each in campaigns] == counts


def fate_of(campaign: Campaign, sender: Sender) -> str:
    if campaign.status is CampaignStatus.paused:
        return PAUSED
    if sender.status is SenderStatus.ready and campaign.status is CampaignStatus.sending:
        return AGAIN
    return {SenderStatus.ready: FAILED, SenderStatus.sleeping: RESTS, SenderStatus.failing: STOPS}[
        sender.status
    ]


def test_two_refused_by_policy_have_failed_when_another_is_accepted(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    script.answer = only({1, 4}, says(RCPT, "550 5.7.1 <{}>: not wanted by our policy"))
    campaign = due(4)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 2, "failed": 2}
    assert reload(campaign.senders[0]).status is SenderStatus.ready


def _continue(sessions: Any, campaign: Campaign, clock: Any) -> None:
    with sessions() as session:
        state_changes.resume(session, session.get_one(Campaign, campaign.id), clock.now)
        session.commit()


@pytest.mark.parametrize("stage", [RCPT, DOT])
@pytest.mark.parametrize("accepted", [True, False])
def test_the_only_recipient_waits_for_a_decision_once(
    due: Any,
    works: Any,
    script: Script,
    clock: Any,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    sessions: Any,
    stage: Stage,
    accepted: bool,
) -> None:
    refuse = says(stage, "550 5.7.1 Message rejected due to policy violation")
    script.answer = refuse
    campaign = due(1)
    works.run(3)
    assert statuses(campaign.id) == {"pending": 1}
    assert reload(campaign).status is CampaignStatus.paused
    assert "policy violation" in translate_sentence(reload(campaign).paused_reason)
    assert reload(campaign.senders[0]).status is SenderStatus.ready
    [waiting] = deliveries(campaign.id)
    assert (waiting.attempts, waiting.returned_at) == (0, clock.now)
    script.answer = accept if accepted else refuse
    _continue(sessions, campaign, clock)
    works.run(3)
    assert statuses(campaign.id) == {"sent" if accepted else "failed": 1}
    assert reload(campaign).status is CampaignStatus.finished
    assert len(script.seen) == 2


def test_the_last_recipient_of_another_day_waits_for_a_decision(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    script.limits = Limits(per_day=2)
    campaign = due(3)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 2, "pending": 1}
    clock.forward(hours=26)
    script.answer = says(RCPT, "550 5.7.1 Rejected: policy")
    works.run(3)
    assert statuses(campaign.id) == {"sent": 2, "pending": 1}
    assert reload(campaign).status is CampaignStatus.paused


def test_the_last_one_refused_while_others_are_accepted_has_failed(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    script.answer = only({3}, says(RCPT, "450 4.2.0 greylisted"))
    campaign = due(3)
    works.run(2)
    script.answer = says(RCPT, "550 5.7.1 Rejected: policy")
    clock.forward(hours=25)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 2, "failed": 1}
    assert reload(campaign).status is CampaignStatus.finished


WAITS = [  # what a server names, and how long the sender rests
    (Outcome.exhausted, Scope.account, 120, 120),
    (Outcome.exhausted, Scope.account, 7200, 7200),
    (Outcome.exhausted, Scope.account, 10**12, 86400),
    (Outcome.exhausted, Scope.account, 0, 3600),
    (Outcome.deferred, Scope.account, 300, 300),
    (Outcome.deferred, Scope.connection, 5, 10),
    (Outcome.deferred, Scope.recipient, 300, 300),
    (Outcome.in_doubt, Scope.connection, 900, 900),
]


@pytest.mark.parametrize(("outcome", "scope", "named", "seconds"), WAITS)
def test_a_sender_rests_as_long_as_its_server_names(
    due: Any,
    works: Any,
    script: Script,
    clock: Any,
    reload: Any,
    outcome: Outcome,
    scope: Scope,
    named: int,
    seconds: int,
) -> None:
    reply = "503 later" if outcome is Outcome.in_doubt else "429 later"
    script.answer = lambda message: Receipt(message.id, outcome, reply, named, scope)
    campaign = due(3)
    works.run(3)
    sender = reload(campaign.senders[0])
    assert sender.status is SenderStatus.sleeping
    assert sender.sleeps_until == clock.now + timedelta(seconds=seconds)


@pytest.mark.parametrize("error", [TooFast, Unreachable])
def test_a_time_that_is_named_before_the_first_email_is_kept_to_as_well(
    due: Any, works: Any, script: Script, clock: Any, reload: Any, error: type[BackendError]
) -> None:
    def connecting() -> None:
        raise error("Enough questions for now.", "429 wait", retry_after=1234)

    script.connecting = connecting
    campaign = due(2)
    works.run(3)
    sender = reload(campaign.senders[0])
    assert sender.sleeps_until == clock.now + timedelta(seconds=1234)
    script.connecting = lambda: None
    clock.forward(seconds=1235)
    works.run(3)
    assert reload(campaign).status is CampaignStatus.finished


def test_a_short_wait_that_is_named_teaches_no_limit_of_a_day(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    script.answer = lambda message: (
        Receipt(message.id, Outcome.exhausted, "429 wait", 60, Scope.account)
        if len(script.seen) == 3
        else accept(message)
    )
    campaign = due(6)
    works.run(3)
    sender = reload(campaign.senders[0])
    assert (sender.learned_per_day, sender.sleeps_until) == (None, clock.now + timedelta(seconds=60))
    clock.forward(seconds=61)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 6}


def test_a_certain_trouble_that_only_one_meets_again_and_again_is_theirs(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, deliveries: Any, reload: Any
) -> None:
    """A backend that knows no better, or a server that hangs up on one recipient."""
    trouble = Receipt(0, Outcome.deferred, "421 4.3.0 closing", None, Scope.connection)
    script.answer = only(
        {1}, lambda message: Receipt(message.id, trouble.outcome, trouble.reply, None, trouble.scope)
    )
    campaign = due(5)
    works.run(2)
    assert reload(campaign.senders[0]).status is SenderStatus.sleeping
    clock.forward(seconds=11)
    works.run(2)
    assert statuses(campaign.id) == {"sent": 4, "pending": 1}, "the others go first"
    for minutes in LADDER:
        clock.forward(minutes=minutes)
        works.run(2)
        assert reload(campaign.senders[0]).status is SenderStatus.ready
    assert statuses(campaign.id) == {"sent": 4, "failed": 1}
    assert deliveries(campaign.id)[0].reason is Reason.expired


def test_a_greylisting_server_is_asked_again_for_each(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    first: set[str] = set()

    def answer(message: Message) -> Receipt:
        if message.recipient in first:
            return accept(message)
        first.add(message.recipient)
        return says(RCPT, "450 4.2.0 <{}>: Greylisted, see http://postgrey.example")(message)

    script.answer = answer
    campaign = due(12)
    works.run(2)
    assert len(first) == 12
    assert reload(campaign.senders[0]).status is SenderStatus.ready
    clock.forward(minutes=6)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 12}


def test_a_submission_rate_slows_the_pace(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    script.answer = says(DOT, "421 4.4.2 Message submission rate for this client has exceeded the limit")
    campaign = due(3, sender_values={"per_second": 60.0})
    works.run(2)
    sender = reload(campaign.senders[0])
    assert sender.slowed_to is not None
    assert sender.status is SenderStatus.sleeping
    assert statuses(campaign.id) == {"pending": 3}


def test_a_rate_that_two_recipients_in_a_row_meet_slows_the_pace(
    due: Any, works: Any, script: Script, statuses: Any, deliveries: Any, reload: Any
) -> None:
    script.answer = says(RCPT, "450 4.7.1 Error: rate limit exceeded")
    campaign = due(4)
    works.run(2)
    sender = reload(campaign.senders[0])
    assert sender.slowed_to is not None
    assert sender.status is SenderStatus.sleeping
    assert statuses(campaign.id) == {"pending": 4}
    assert {row.attempts for row in deliveries(campaign.id)} == {0}


RATES = [
    "450 4.7.1 Too many recipient attempts",
    "450 4.7.1 <{}>: Recipient address rejected: Too many recipient attempts",
    "451 Too many messages",
    "452 try again later, sending too fast",
    "450 rate limit",
]


@pytest.mark.parametrize("reply", RATES)
def test_a_rate_that_several_recipients_meet_slows_the_pace_though_others_are_accepted(
    due: Any,
    works: Any,
    script: Script,
    clock: Any,
    statuses: Any,
    reload: Any,
    sessions: Any,
    reply: str,
) -> None:
    refuse = says(RCPT, reply)
    script.answer = lambda message: (accept if len(script.seen) % 3 else refuse)(message)
    campaign = due(40)
    works.run(2)
    sender = reload(campaign.senders[0])
    assert sender.slowed_to is not None
    assert sender.status is SenderStatus.sleeping
    limited = [message.recipient for message in script.seen if message.recipient not in script.got]
    assert len(limited) == 3
    script.answer = accept
    with sessions.begin() as session:  # so that the test does not wait for the pace
        session.get_one(Sender, sender.id).slowed_to = None
    for minutes in (1, 6):
        clock.forward(minutes=minutes)
        works.run(3)
    assert statuses(campaign.id) == {"sent": 40}
    assert set(script.got.values()) == {1}


def test_a_rate_that_one_subscriber_meets_in_several_campaigns_slows_nobody_down(
    due: Any, make: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    account = make.account(plan="pro")
    sender, lst = make.sender(account), make.list(account)
    for number in range(4):
        make.subscriber(account, f"p{number}@example.org", (lst,))
    values = {"status": CampaignStatus.scheduled, "send_at": clock.now}
    campaigns = [make.campaign(account, (lst,), (sender,), **values) for _each in range(5)]
    make.commit()
    refuse = says(RCPT, "450 4.7.1 Too many recipient attempts")
    script.answer = lambda message: (refuse if message.recipient == "p1@example.org" else accept)(message)
    works.run(5)
    assert [statuses(each.id) for each in campaigns] == [{"sent": 3, "pending": 1}] * 5
    assert (reload(sender).status, reload(sender).slowed_to) == (SenderStatus.ready, None)


@pytest.mark.parametrize("stage", [RCPT, DOT])
def test_a_rate_that_the_only_recipient_meets_slows_nobody_down(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any, stage: Stage
) -> None:
    script.answer = says(stage, "450 4.7.1 You are sending too fast")
    campaign = due(1)
    for _each in range(30):
        works.run(2)
        clock.forward(seconds=20)
    sender = reload(campaign.senders[0])
    assert (sender.status, sender.slowed_to, sender.failures) == (SenderStatus.ready, None, 0)
    assert statuses(campaign.id) == {"pending": 1}


def test_recipients_who_receive_too_much_slow_nobody_down(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    refuse = says(RCPT, "450 4.7.1 This user is receiving mail too quickly")
    script.answer = lambda message: (accept if len(script.seen) % 3 else refuse)(message)
    campaign = due(30)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 20, "pending": 10}
    assert (reload(campaign.senders[0]).status, reload(campaign.senders[0]).slowed_to) == (
        SenderStatus.ready,
        None,
    )


def test_a_connection_closed_at_the_only_recipient_delays_no_other_campaign(
    due: Any, make: Any, smtp_works: Any, server: FaultyServer, clock: Any, statuses: Any, sessions: Any
) -> None:
    account = make.account(plan="pro")
    sender = make.sender(account, server)
    alone = due(1, sender, account)
    server.fail("rcpt", hang_up)
    for _each in range(30):
        smtp_works.run(2)
        clock.forward(seconds=20)
    server.faults.clear()
    lst = make.list(account, "Others")
    for _each in range(5):
        make.subscriber(account, lists=(lst,))
    make.session.refresh(sender)
    assert sender.status is SenderStatus.sleeping
    assert sender.sleeps_until > clock.now + timedelta(minutes=1)
    good = make.campaign(account, (lst,), (sender,), status=CampaignStatus.scheduled, send_at=clock.now)
    make.commit()
    smtp_works.run(3)
    assert statuses(good.id) == {"sent": 5}
    clock.forward(minutes=1)
    smtp_works.run(2)
    assert statuses(alone.id) == {"sent": 1}


def test_a_service_that_answers_503_to_whole_emails_is_left_alone_for_seconds_at_first(
    due: Any, works: Any, script: Script, clock: Any, statuses: Any, reload: Any
) -> None:
    script.answer = lambda message: Receipt(message.id, Outcome.in_doubt, "503 no", None, Scope.connection)
    campaign = due(50)
    works.run(4)
    sender = reload(campaign.senders[0])
    assert (sender.status, sender.sleeps_until) == (SenderStatus.sleeping, clock.now + timedelta(seconds=10))
    assert statuses(campaign.id) == {"in_doubt": 1, "pending": 49}


def test_one_outage_that_several_lanes_meet_is_one_trouble(sessions: Any, make: Any, clock: Any) -> None:
    sender = make.sender(make.account())
    make.commit()
    for _lane in range(4):
        with sessions.begin() as session:
            pausing.back_off(session, sender.id, "503", clock.now)
    with sessions() as session:
        found = session.get_one(Sender, sender.id)
        assert (found.failures, found.sleeps_until) == (1, clock.now + timedelta(seconds=10))


def test_alone_what_sounds_like_the_account_waits_for_a_decision(
    due: Any, works: Any, script: Script, statuses: Any, reload: Any
) -> None:
    script.answer = says(RCPT, "554 5.7.1 <{}>: Relay access denied")
    campaign = due(1)
    works.run(4)
    assert reload(campaign).status is CampaignStatus.paused
    assert reload(campaign.senders[0]).status is SenderStatus.ready
    assert statuses(campaign.id) == {"pending": 1}


def test_a_window_with_nothing_to_compare_writes_nothing_for_it_and_locks_once(
    due: Any, works: Any, script: Script, reload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_planner, "SLOTS", 5)
    script.answer = only({50}, says(RCPT, "550 5.1.1 <{}>: User unknown"))
    campaign = due(100)
    tick(works.context)
    plan(works.context, campaign.id)
    with statements(works.context.engine) as context:
        LaneRunner(works.context, campaign.senders[0].id).run(30)
    windows = sum(each.startswith("INSERT INTO window") for each in context)
    assert windows >= 20
    # The one who is refused is noted, and forgotten with the next who is accepted.
    assert sum(each.startswith("UPDATE sender") for each in context) <= 2
    assert reload(campaign.senders[0]).refusals is None
    assert sum(each.startswith("SELECT account.id") for each in context) <= windows + 5
