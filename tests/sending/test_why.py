"""Explanations from the records of the pipeline: what a recipient waited for, and the result."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from translationstring import TranslationString

from mailganer.backends import Message, Outcome, Receipt, Scope, load_backends
from mailganer.campaigns import state_changes
from mailganer.errors import LoginRefused
from mailganer.i18n.sentences import with_reply
from mailganer.i18n.translator import translate_sentence
from mailganer.models import Campaign, Delay, Sender, Subscriber
from mailganer.reports import ExplanationContext, ExplanationStep, why_subscriber
from tests.sending.scripted import Script, accept, receipt


@pytest.fixture
def works(open_works: Callable[..., Any], clock: Any, script: Script) -> Any:
    return open_works(clock, script)


@pytest.fixture
def why(sessions: Any, settings: Any, clock: Any) -> Callable[..., list[str]]:
    """``why(campaign, "reader000002@example.org")``: the sentences at the clock's time."""

    def at(moment: datetime) -> str:
        return f"{moment:%d %H:%M}"

    def told(step: ExplanationStep) -> str:
        return " ".join(filter(None, (translate_sentence(step.sentence(at)).strip(), step.reply)))

    def ask(campaign: Campaign, email: str) -> list[str]:
        registry = load_backends(settings.backends, settings.backend_options)
        with sessions() as session:
            subscriber = session.scalar(select(Subscriber).where(Subscriber.email == email))
            asked = ExplanationContext(
                session, session.get_one(Campaign, campaign.id), clock.now, settings, registry
            )
            return [told(step) for step in why_subscriber(asked, subscriber).steps]

    return ask


def subscriber(number: int) -> str:
    return f"reader{number:06}@example.org"


def test_a_wait_for_a_quota_is_explained_with_its_end_and_the_servers_reply(
    due: Any, works: Any, clock: Any, why: Any
) -> None:
    campaign = due(8, sender_values={"per_day": 5})
    works.run(3)
    assert why(campaign, subscriber(7))[2:] == [
        "Waiting until 24 09:01 for anna@example.com, which has reached its limit for 24 hours.",
        "Waiting in the queue. Emails that may be sent before it: 1.",
    ]
    clock.forward(hours=24, minutes=1)
    works.run(3)
    assert why(campaign, subscriber(7)) == [
        "In the list “Readers” since 23 09:00.",
        f"An email to {subscriber(7)} was planned on 23 09:00.",
        "Waited until 24 09:01 for anna@example.com, which had reached its limit for 24 hours.",
        "The server of anna@example.com accepted the email on 24 09:01. 250 2.0.0 kept",
        "No opens so far.",
    ]
    assert not [each for each in why(campaign, subscriber(1)) if each.startswith("Waited")]


def test_a_wait_for_the_plan_is_explained(due: Any, works: Any, clock: Any, why: Any, make: Any) -> None:
    campaign = due(205, account=make.account(plan="free"))
    works.run(8)
    assert why(campaign, subscriber(205))[2].endswith("because your plan allows 200 emails per 24 hours.")
    clock.forward(hours=24, minutes=1)
    works.run(3)
    assert why(campaign, subscriber(205))[2] == (
        "Waited until 24 09:01 because your plan's limit for 24 hours was reached."
    )


def test_deferrals_are_explained_with_the_server_and_their_number(
    due: Any, works: Any, clock: Any, script: Script, why: Any
) -> None:
    full = receipt(Outcome.deferred, "452 4.2.2 mailbox full")
    script.answer = lambda message: (full if message.recipient == subscriber(2) else accept)(message)
    campaign = due(3)
    works.run(3)
    assert why(campaign, subscriber(2))[2:] == [
        "The server deferred the email. Next attempt not before 23 09:05. 452 4.2.2 mailbox full"
    ]
    script.answer = accept
    clock.forward(minutes=5)
    works.run(3)
    assert why(campaign, subscriber(2))[2:4] == [
        "Attempts: 2, the first on 23 09:00.",
        "The server of anna@example.com accepted the email on 23 09:05. 250 2.0.0 kept",
    ]


def test_a_servers_trouble_is_one_wait_however_often_it_was_tried(
    due: Any, works: Any, clock: Any, script: Script, why: Any, sessions: Any
) -> None:
    script.answer = receipt(Outcome.deferred, "421 4.3.2 closing", scope=Scope.connection)
    campaign = due(2)
    works.run(2)
    assert (
        "Waiting for the server of anna@example.com. Next attempt on 23 09:00."
        in why(campaign, subscriber(1))[3]
    )
    clock.forward(minutes=1)
    works.run(2)
    script.answer = accept
    clock.forward(minutes=1)
    works.run(3)
    assert why(campaign, subscriber(1))[2].startswith(
        "Waited until 23 09:01 for the server of anna@example.com, which could not be reached"
    )
    with sessions() as session:
        assert len(session.scalars(select(Delay)).all()) == 1


def test_a_refused_login_and_a_pause_are_explained_afterwards(
    due: Any, works: Any, clock: Any, script: Script, why: Any, sessions: Any
) -> None:
    def refused(message: Message) -> Receipt:
        return Receipt(message.id, Outcome.unauthorised, "535 5.7.8 gone", None, Scope.account)

    script.answer = refused
    campaign = due(2)
    works.run(2)
    assert why(campaign, subscriber(2))[2].startswith(
        "anna@example.com cannot send until its problem is fixed."
    )
    clock.forward(hours=1)
    with sessions.begin() as session:
        look_at(session, campaign.senders[0].id)
        state_changes.pause(session, session.get_one(Campaign, campaign.id), clock.now)
    script.answer = accept
    assert "The campaign is paused. Nothing is sent until it is resumed." in why(campaign, subscriber(2))
    clock.forward(hours=1)
    with sessions() as session:
        state_changes.resume(session, session.get_one(Campaign, campaign.id), clock.now)
        session.commit()
    works.run(3)
    assert why(campaign, subscriber(2))[2:5] == [
        "From 23 09:00, anna@example.com could not send until its problem was fixed.",
        "Waited until 23 11:00: the campaign was paused by a user.",
        "The server of anna@example.com accepted the email on 23 11:00. 250 2.0.0 kept",
    ]


def look_at(session: Session, sender_id: int) -> None:
    from mailganer.accounts import mark_ready

    mark_ready(session.get_one(Sender, sender_id), now=datetime.now().astimezone())


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (True, "Was in doubt. The server of anna@example.com confirmed on 23 09:01 that it has the email."),
        (
            False,
            "Was in doubt. The server of anna@example.com reported on 23 09:10 that it does not "
            "have the email, so it is sent again.",
        ),
    ],
)
def test_a_doubt_that_the_server_resolved_is_explained(
    due: Any, works: Any, clock: Any, script: Script, why: Any, found: bool, sentence: str
) -> None:
    doubtful = receipt(Outcome.in_doubt, scope=Scope.connection)
    script.answer = lambda message: (doubtful if message.recipient == subscriber(2) else accept)(message)
    script.accepted = lambda message_id: found
    campaign = due(3)
    works.run(3)
    assert [each for each in why(campaign, subscriber(2)) if each.startswith("It is not known")]
    script.answer = accept
    for _each in range(15):
        clock.forward(minutes=1)
        works.tick()
    assert sentence in why(campaign, subscriber(2))


def test_an_email_refused_for_its_content_keeps_its_recipients_waiting(
    due: Any, works: Any, clock: Any, script: Script, why: Any, sessions: Any
) -> None:
    script.answer = receipt(Outcome.refused, "554 5.7.1 looks like spam", scope=Scope.message)
    campaign = due(40)
    works.run()
    told = why(campaign, subscriber(40))
    assert [each for each in told if each.startswith("The campaign is paused because of a problem.")]
    script.answer = accept
    clock.forward(hours=2)
    with sessions() as session:
        state_changes.resume(session, session.get_one(Campaign, campaign.id), clock.now)
        session.commit()
    works.run(3)
    assert "Waited until 23 11:00: the campaign was paused because of a problem." in why(
        campaign, subscriber(40)
    )


def test_the_servers_words_are_said_once() -> None:
    said = TranslationString("h refused it. Its answer: ${reply}", mapping={"reply": "535 no"})
    refused = LoginRefused(said, "535 no")
    assert translate_sentence(with_reply(refused)) == "h refused it. Its answer: 535 no"
    assert (
        translate_sentence(with_reply(LoginRefused("It was refused.", "535 no"))) == "It was refused. 535 no"
    )
