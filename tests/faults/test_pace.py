"""A server that refuses our pace: the sender halves it, continues and recovers it."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from mailganer.backends import Limits, Message, Outcome, Receipt, Scope
from mailganer.i18n.translator import translate_sentence
from mailganer.models import CampaignStatus, SenderStatus
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker.lane import LaneRunner
from tests.backends.faulty import FaultyServer
from tests.sending.scripted import Script, accept

# Google's replies: support.google.com/a/answer/3726730
UNUSUAL = "421 4.7.28 Gmail has detected an unusual rate of email originating from your account."
TOO_FAST = "421 4.7.0 Try again later, closing connection. (MAIL) - gsmtp"
LOGINS = "454 4.7.0 Too many login attempts, please try again later. - gsmtp"
MANY = "452 4.5.3 Your message has too many recipients. - gsmtp"
ONE_MAILBOX = "450 4.2.1 The user you are trying to contact is receiving mail too quickly. - gsmtp"

PASSWORD = "abcdefghijklmnop"


@pytest.fixture
def server(ini_values: dict[str, str]) -> Any:
    """A server at the address where the ``gmail`` backend expects Google's."""
    server = FaultyServer(features=("8BITMIME",), passwords={"anna@gmail.com": PASSWORD})
    options = {"host": "127.0.0.1", "port": str(server.port), "security": "none"}
    ini_values.update({f"mailganer.backend.gmail.{name}": value for name, value in options.items()})
    yield server
    server.stop()


@pytest.fixture
def works(server: FaultyServer, open_works: Callable[..., Any], clock: Any) -> Any:
    return open_works(clock)


@pytest.fixture
def campaign_to(due: Any, make: Any) -> Callable[..., Any]:
    def make_one(people: int, **sender_values: Any) -> Any:
        account = make.account(plan="pro")
        secrets = make.vault.encrypt(account.id, {"password": PASSWORD})
        values = {"backend": "gmail", "from_email": "anna@gmail.com", "settings": {}, "secrets": secrets}
        return due(people, make.sender(account, **{**values, **sender_values}), account)

    return make_one


def until_finished(works: Any, clock: Any, campaign: Any, reload: Any) -> None:
    for _each in range(60):
        works.run(2)
        if reload(campaign).status is CampaignStatus.finished:
            return
        clock.forward(seconds=20)


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("connect", TOO_FAST),
        ("auth", LOGINS),
        ("mail", TOO_FAST),
        ("rcpt", MANY),
        ("data", UNUSUAL),
        ("dot", UNUSUAL),
    ],
)
def test_googles_words_for_too_fast_halve_the_pace_and_fail_no_recipient(
    campaign_to: Any,
    works: Any,
    clock: Any,
    server: FaultyServer,
    statuses: Any,
    deliveries: Any,
    reload: Any,
    stage: str,
    reply: str,
) -> None:
    server.fail(stage, reply, times=1)
    campaign = campaign_to(4, per_second=60)
    works.run(2)
    sender = reload(campaign.senders[0])
    assert (sender.slowed_to, sender.slowed_from) == (30, 60), sender.error
    assert (sender.status, sender.sleeps_until) == (SenderStatus.sleeping, clock.now + timedelta(seconds=10))
    assert reply in translate_sentence(sender.error)
    assert statuses(campaign.id) == {"pending": 4}
    assert {row.attempts for row in deliveries(campaign.id)} == {0}
    until_finished(works, clock, campaign, reload)
    assert statuses(campaign.id) == {"sent": 4}
    assert set(server.counts.values()) == {1}
    assert 30 < reload(sender).slowed_to < 60


def test_one_mailbox_that_gets_too_much_is_put_off_alone(
    campaign_to: Any,
    works: Any,
    clock: Any,
    server: FaultyServer,
    statuses: Any,
    deliveries: Any,
    reload: Any,
) -> None:
    server.fail("rcpt", ONE_MAILBOX, skip=1, times=1)
    campaign = campaign_to(4, per_second=60)
    works.run(3)
    sender = reload(campaign.senders[0])
    assert (sender.status, sender.slowed_to) == (SenderStatus.ready, None)
    assert statuses(campaign.id) == {"sent": 3, "pending": 1}
    put_off = next(row for row in deliveries(campaign.id) if row.status == "pending")
    assert (put_off.attempts, put_off.not_before) == (1, clock.now + timedelta(minutes=5))


def too_fast(message: Message) -> Receipt:
    return Receipt(message.id, Outcome.deferred, TOO_FAST, None, Scope.account)


def test_a_sender_asked_again_slows_down_again_and_never_fails(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any, statuses: Any
) -> None:
    script.answer = too_fast
    works = open_works(clock, script)
    script.limits = Limits(per_second=2.0)
    campaign = due(3)
    paces = []
    for _each in range(8):
        works.run(3)
        sender = reload(campaign.senders[0])
        paces.append(sender.slowed_to)
        assert sender.status is SenderStatus.sleeping
        clock.now = sender.sleeps_until
    assert paces == [1.0, 0.5, 0.25, 0.125, 0.1, 0.1, 0.1, 0.1]
    assert statuses(campaign.id) == {"pending": 3}


def test_a_slowed_sender_wins_its_pace_back_email_by_email(
    due: Any, open_works: Any, script: Script, reload: Any, statuses: Any
) -> None:
    campaign = due(360, sender_values={"slowed_to": 200.0, "slowed_from": 400.0})
    open_works(script=script).run(4)
    assert statuses(campaign.id) == {"sent": 360}
    # A minute of emails at whatever pace brings a thirtieth of the old one: 360 emails at 200 a second are
    # 1.8 seconds of it.
    assert reload(campaign.senders[0]).slowed_to == pytest.approx(200.4, abs=0.01)


def test_who_has_its_old_pace_again_is_slowed_no_more(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any, statuses: Any
) -> None:
    campaign = due(20, sender_values={"slowed_to": 399.999, "slowed_from": 400.0})
    open_works(clock, script).run(4)
    sender = reload(campaign.senders[0])
    assert (sender.slowed_to, sender.slowed_from) == (None, None)
    assert statuses(campaign.id) == {"sent": 20}


def test_a_slowed_sender_really_sends_slower(
    due: Any, open_works: Any, script: Script, statuses: Any
) -> None:
    moments: list[float] = []

    def answer(message: Message) -> Receipt:
        moments.append(monotonic())
        return accept(message)

    script.answer = answer
    campaign = due(20, sender_values={"slowed_to": 20.0, "slowed_from": 400.0})
    open_works(script=script).run(4)
    assert statuses(campaign.id) == {"sent": 20}
    assert moments[-1] - moments[0] >= 0.9  # nineteen gaps of a twentieth of a second


def test_where_no_pace_is_known_that_of_the_turn_is_halved(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    script.answer = lambda message: accept(message) if len(script.seen) < 50 else too_fast(message)
    campaign = due(100)
    open_works(clock, script).run(2)
    sender = reload(campaign.senders[0])
    # Fifty emails in less than a second count as fifty a second.
    assert 0 < sender.slowed_from <= 50
    assert sender.slowed_to == sender.slowed_from / 2


def test_what_is_said_to_several_lanes_at_once_is_said_once(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    from threading import Barrier, Thread

    both = Barrier(2)

    def answer(message: Message) -> Receipt:
        both.wait(20)
        return too_fast(message)

    script.answer = answer
    script.limits = Limits(per_second=40.0)
    campaign = due(600)
    works = open_works(clock, script)
    tick(works.context)
    plan(works.context, campaign.id)
    offices = [open_works(clock, script).context for _lane in range(2)]
    lanes = [
        Thread(target=LaneRunner(context, campaign.senders[0].id, number).run, args=(30,))
        for number, context in enumerate(offices)
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert reload(campaign.senders[0]).slowed_to == 20.0
