"""A refusal of one recipient stops no other, and a refusal of all fails none."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from mailganer.accounts.senders import mark_ready
from mailganer.backends import Message, Receipt
from mailganer.backends.replies import Reply, Stage, classify
from mailganer.campaigns import state_changes
from mailganer.i18n.translator import translate_sentence
from mailganer.models import (
    Account,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Sender,
    SenderStatus,
    Subscriber,
    SubscriberStatus,
)
from mailganer.sending.scheduler.due_work import TaskCall
from mailganer.sending.scheduler.plan import plan
from mailganer.sending.scheduler.tick import tick
from mailganer.sending.worker import window_planner
from mailganer.sending.worker.lane import LaneRunner
from tests.sending.scripted import Script, accept

pytestmark = pytest.mark.slow

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

RCPT, DOT = Stage.rcpt, Stage.content
NO_SUCH = (RCPT, "550 5.1.1 No such user here")
LIKE_THE_ACCOUNT = [
    (DOT, "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException"),
    (DOT, "554 5.2.0 STOREDRV OutboundSpamException"),
    (DOT, "535 5.7.8 Authentication failed"),
    (RCPT, "530 5.7.1 Client was not authenticated"),
    (RCPT, "535 5.7.139 Authentication unsuccessful"),
    (RCPT, "550 5.4.5 <{}>: recipient has exceeded daily receiving limit"),
    (RCPT, "550 5.4.5 Daily user sending limit exceeded"),
]
OTHERS = [
    NO_SUCH,
    (RCPT, "550 5.1.1 <{}>: Recipient address rejected: User unknown"),
    (RCPT, "550 mailbox unavailable"),
    (RCPT, "550 5.7.1 <{}>: not wanted by our policy"),
    (RCPT, "451 4.3.0 <{}>: Temporary lookup failure"),
]

Answer = tuple[Stage, str] | None
"""What a recipient is told; None: they are accepted."""


class Server(Script):
    """A server that gives each recipient the reply chosen by the test."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self.answers, self.everybody = answers, None  # type: tuple[dict[str, Answer], Answer]
        self.answer = self._tell

    def _tell(self, message: Message) -> Receipt:
        told = self.everybody or self.answers.get(message.recipient)
        if told is None:
            return accept(message)
        text = told[1].format(message.recipient)
        return classify(Reply(int(text[:3]), text.encode()), told[0]).receipt(message.id, text)


class Story:
    """A sender with campaigns: its owner verifies it when it stops, and continues paused campaigns."""

    def __init__(self, works: Any, server: Server, clock: Any, sessions: Any, campaigns: list[Campaign]):
        self.works, self.server, self.clock, self.sessions = works, server, clock, sessions
        self.campaigns = [each.id for each in campaigns]
        self.sender_id = campaigns[0].senders[0].id
        self.firsts: list[str] = []  # the first recipient after each rest
        self.rested, self.stops = True, 0

    def run(self, rounds: int, continues: bool = True) -> bool:
        """Return whether everything was finished within so many rounds."""
        for _each in range(rounds):
            before = len(self.server.seen)
            self.works.run(2)
            if self.rested:
                self.firsts += [each.recipient for each in self.server.seen[before : before + 1]]
            if self._go_on(continues):
                return True
        return False

    def _go_on(self, continues: bool) -> bool:
        """Act as the user and let time pass; return True when nothing is left to do."""
        with self.sessions() as session:
            sender = session.get_one(Sender, self.sender_id)
            stopped = sender.status is not SenderStatus.ready
            self.stops += stopped
            self.rested = stopped
            wait = (sender.sleeps_until or self.clock.now) - self.clock.now
            if sender.status is SenderStatus.failing and sender.sleeps_until is None:
                mark_ready(sender, now=self.clock.now)
                wait = timedelta(hours=1)
            session.commit()
            states = [session.get_one(Campaign, each) for each in self.campaigns]
            for campaign in states:
                if continues and campaign.status is CampaignStatus.paused:
                    state_changes.resume(session, campaign, self.clock.now)
            over = all(each.status is CampaignStatus.finished for each in states)
            waits = all(each.status in (CampaignStatus.sending, CampaignStatus.finished) for each in states)
            session.commit()
            first = self._first_due(session) if waits else None
        self.clock.now += max(wait, timedelta(0)) + timedelta(seconds=21)
        if not stopped:
            self.clock.forward(minutes=20)
            self.clock.now = max(self.clock.now, first or self.clock.now)
        return over

    def _first_due(self, session: Any) -> datetime | None:
        """Return when the first recipient is due; None if one is due at once, or none is left."""
        due = select(Delivery.not_before).where(
            Delivery.campaign_id.in_(self.campaigns), Delivery.status == DeliveryStatus.pending
        )
        times = session.scalars(due).all()
        session.commit()
        return None if None in times else min(times, default=None)


@pytest.fixture
def tell(
    due: Any, make: Any, open_works: Any, clock: Any, sessions: Any
) -> Callable[[list[list[Answer]]], Story]:
    """``tell([[None, NO_SUCH], [None]])``: two campaigns, with a reply for each recipient."""

    def begin(answers: list[list[Answer]]) -> Story:
        account = make.account(plan="pro")
        sender, campaigns, told = make.sender(account), [], {}
        for number, of_campaign in enumerate(answers):
            lst = make.list(account, f"L{number}")
            for person, answer in enumerate(of_campaign):
                address = f"c{number}p{person}@example.org"
                make.subscriber(account, address, (lst,))
                told[address] = answer
            values = {"status": CampaignStatus.scheduled, "send_at": clock.now}
            campaigns.append(make.campaign(account, (lst,), (sender,), **values))
        make.commit()
        server = Server(told)
        return Story(open_works(clock, server), server, clock, sessions, campaigns)

    return begin


def good(answers: Iterable[tuple[str, Answer]]) -> set[str]:
    return {address for address, answer in answers if answer is None}


@on_sqlite
@pytest.mark.parametrize("answer", LIKE_THE_ACCOUNT)
def test_one_of_six_who_is_refused_like_the_account_stops_no_other_recipient(
    tell: Any, answer: Answer, reload: Any, statuses: Any, sessions: Any
) -> None:
    story = tell([[answer, None, None, None, None, None]])
    story.works.run(2)
    assert statuses(story.campaigns[0]) == {"sent": 5, "pending": 1}
    with sessions() as session:
        sender = session.get_one(Sender, story.sender_id)
        assert (sender.status, sender.error, sender.learned_per_day) == (SenderStatus.ready, None, None)


@on_sqlite
@pytest.mark.parametrize("answer", LIKE_THE_ACCOUNT[:4:3])
def test_the_only_recipient_of_one_campaign_is_compared_with_those_of_another(
    tell: Any, answer: Answer, statuses: Any, sessions: Any
) -> None:
    story = tell([[answer], [None, None, None]])
    story.works.run(2)
    assert statuses(story.campaigns[1]) == {"sent": 3}
    assert story.run(100)
    assert story.stops == 0
    assert statuses(story.campaigns[0]) == {"failed": 1}


ALONE = [
    *LIKE_THE_ACCOUNT,
    (RCPT, "554 5.7.1 Relay access denied"),
    (RCPT, "550 message sending for this account is disabled"),
    (RCPT, "550 5.7.0 From address is not one of your addresses"),
]


@on_sqlite
@pytest.mark.parametrize("answer", ALONE)
def test_a_person_decides_when_the_only_recipient_is_refused_like_the_account(
    tell: Any, make: Any, answer: Answer, statuses: Any, sessions: Any
) -> None:
    story = tell([[answer]])
    story.works.run(3)
    assert statuses(story.campaigns[0]) == {"pending": 1}
    with sessions() as session:
        campaign = session.get_one(Campaign, story.campaigns[0])
        assert campaign.status is CampaignStatus.paused
        assert answer is not None
        assert answer[1].split("{}")[-1] in translate_sentence(campaign.paused_reason)
        sender = session.get_one(Sender, story.sender_id)
        assert (sender.status, sender.error, sender.sleeps_until) == (SenderStatus.ready, None, None)
    good_one = _second_campaign(story, make)
    story.works.run(3)
    assert statuses(good_one) == {"sent": 3}
    assert story.run(100)
    assert story.stops == 0
    assert statuses(story.campaigns[0]) == {"failed": 1}


def _second_campaign(story: Story, make: Any) -> int:
    """Start a campaign of three good recipients of the same sender."""
    sender = make.session.get_one(Sender, story.sender_id)
    account = make.session.get_one(Account, sender.account_id)
    lst = make.list(account, "Good")
    for _each in range(3):
        make.subscriber(account, lists=(lst,))
    values = {"status": CampaignStatus.scheduled, "send_at": story.clock.now}
    campaign = make.campaign(account, (lst,), (sender,), **values)
    make.commit()
    return int(campaign.id)


@on_sqlite
@pytest.mark.parametrize("answer", LIKE_THE_ACCOUNT[::3])
def test_the_only_recipient_who_is_refused_again_after_the_decision_stops_no_other_recipient(
    tell: Any, answer: Answer, statuses: Any
) -> None:
    story = tell([[answer]])
    assert story.run(120), "it ends"
    assert story.stops == 0
    assert statuses(story.campaigns[0]) == {"failed": 1}


@on_sqlite
@pytest.mark.parametrize("answer", LIKE_THE_ACCOUNT[:4:3])
@pytest.mark.parametrize("status", [CampaignStatus.sending, CampaignStatus.scheduled])
def test_the_only_recipient_waits_for_a_campaign_that_is_not_planned_yet(
    tell: Any, answer: Answer, status: CampaignStatus, statuses: Any, sessions: Any
) -> None:
    story = tell([[answer], [None, None, None]])
    solo, other = story.campaigns
    for call in tick(story.works.context):
        if call == TaskCall("plan", (solo,)):
            plan(story.works.context, solo)
    with sessions.begin() as session:
        session.get_one(Campaign, other).status = status
    LaneRunner(story.works.context, story.sender_id).run(30)
    assert len(story.server.seen) == 1
    with sessions() as session:
        assert session.get_one(Campaign, solo).status is CampaignStatus.sending
        assert session.get_one(Sender, story.sender_id).status is SenderStatus.ready
    story.works.run(3)
    assert statuses(other) == {"sent": 3}
    assert story.run(100)
    assert story.stops == 0
    assert statuses(solo) == {"failed": 1}


@on_sqlite
@pytest.mark.parametrize(
    "text", ["421 4.3.2 Closing", "421 4.4.2 The connection was closed", "451 4.3.0 Later"]
)
def test_a_rest_is_followed_by_a_recipient_from_anywhere_and_not_by_the_next_in_line(
    text: str, tell: Any, statuses: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first four of 42 close the connection: the others must not wait for four rests."""
    monkeypatch.setattr("mailganer.ledger.windows.secrets.randbelow", lambda number: number // 2)
    story = tell([[(RCPT, text)] * 4 + [None] * 38])
    for _each in range(12):
        story.works.run(1)
        clock.forward(seconds=5)
    assert statuses(story.campaigns[0])["sent"] == 38
    assert {message.recipient for message in story.server.seen[:3]} & {
        "c0p20@example.org",
        "c0p30@example.org",
    }


RESTS_ALONE = [
    (RCPT, "451 4.3.0 <{}>: Temporary lookup failure"),
    (DOT, "451 4.3.0 Try later"),
    (RCPT, "452 4.3.1 Insufficient system storage"),
    (RCPT, "421 Closing"),
    (RCPT, "421 4.7.0 Too many messages, closing"),
    (RCPT, "421 4.4.2 Message submission rate for this client has exceeded the limit"),
    (RCPT, "421 4.4.2 The connection was closed"),
]


@pytest.mark.parametrize("refused", RESTS_ALONE)
def test_a_new_campaign_is_sent_while_the_sender_rests_for_the_only_recipient_of_another(
    refused: Answer, tell: Any, statuses: Any, clock: Any
) -> None:
    story = tell([[refused], [None] * 15])
    alone, good = story.campaigns
    with story.sessions.begin() as session:
        session.get_one(Campaign, good).send_at = clock.now + timedelta(minutes=4)
    while clock.now < story_end(story, good):
        story.works.run(2)
        clock.forward(seconds=20)
    story.works.run(2)
    assert statuses(good) == {"sent": 15}
    assert statuses(alone) == {"pending": 1}


@on_sqlite
@pytest.mark.parametrize("refused", RESTS_ALONE[::3])
def test_a_resumed_campaign_is_sent_while_the_sender_rests_for_the_only_recipient_of_another(
    refused: Answer, tell: Any, statuses: Any, clock: Any
) -> None:
    story = tell([[refused], [None] * 3])
    alone, good = story.campaigns
    with story.sessions.begin() as session:
        session.get_one(Campaign, good).status = CampaignStatus.paused
    for _each in range(120):
        story.works.run(2)
        clock.forward(seconds=20)
    with story.sessions.begin() as session:
        sender = session.get_one(Sender, story.sender_id)
        assert (sender.status, sender.slowed_to) == (SenderStatus.sleeping, None)
        assert sender.sleeps_until > clock.now + timedelta(minutes=1)
        state_changes.resume(session, session.get_one(Campaign, good), clock.now)
    story.works.run(3)
    assert statuses(good) == {"sent": 3}
    assert statuses(alone) == {"pending": 1}


@on_sqlite
@pytest.mark.parametrize(
    ("refused", "minutes"),
    [*((each, 0) for each in RESTS_ALONE[::3]), *((each, 1) for each in RESTS_ALONE[::2])],
)
def test_the_only_recipient_does_not_delay_a_large_campaign_again(
    refused: Answer,
    minutes: int,
    tell: Any,
    statuses: Any,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_planner, "SLOTS", 1)
    story = tell([[refused], [None] * 60])
    with story.sessions.begin() as session:
        session.get_one(Campaign, story.campaigns[1]).send_at = clock.now + timedelta(minutes=minutes)
    story.works.run(2)
    clock.forward(seconds=61)
    answer = story.server.answer

    def slowly(message: Message) -> Receipt:
        clock.forward(seconds=1)
        return answer(message)

    story.server.answer = slowly
    for _each in range(4):
        story.works.run(2)
        with story.sessions() as session:
            sender = session.get_one(Sender, story.sender_id)
            assert (sender.status, sender.slowed_to) == (SenderStatus.ready, None)
    assert statuses(story.campaigns[1]) == {"sent": 60}
    assert statuses(story.campaigns[0]) == {"pending": 1}
    tries = sum(message.recipient == "c0p0@example.org" for message in story.server.seen)
    assert tries <= 3


@on_sqlite
def test_a_new_campaign_does_not_wake_a_sender_that_rests_for_several(
    tell: Any, statuses: Any, clock: Any
) -> None:
    story = tell([[None] * 3, [None] * 3])
    story.server.everybody = (RCPT, "421 Closing")
    with story.sessions.begin() as session:
        session.get_one(Campaign, story.campaigns[1]).send_at = clock.now + timedelta(minutes=4)
    for _each in range(15):
        story.works.run(2)
        clock.forward(seconds=20)
    seen = len(story.server.seen)
    assert seen <= 5
    story.works.run(3)
    assert len(story.server.seen) == seen
    assert statuses(story.campaigns[1]) == {"pending": 3}


def story_end(story: Story, campaign_id: int) -> Any:
    """Return the time half a minute after a campaign is due."""
    with story.sessions() as session:
        return session.get_one(Campaign, campaign_id).send_at + timedelta(seconds=30)


@on_sqlite
@pytest.mark.parametrize("answer", LIKE_THE_ACCOUNT[:4:3])
def test_two_recipients_in_a_row_of_two_campaigns_stop_the_sender(
    tell: Any, answer: Answer, statuses: Any, sessions: Any
) -> None:
    story = tell([[answer], [answer]])
    story.works.run(3)
    with sessions() as session:
        assert session.get_one(Sender, story.sender_id).status is not SenderStatus.ready
    assert [statuses(each) for each in story.campaigns] == [{"pending": 1}] * 2


FROM = (RCPT, "550 5.7.0 From address is not one of your addresses")
SEND_AS = (RCPT, "554 5.2.0 SendAsDenied")
LIMIT = (RCPT, "550 5.4.5 Daily user sending limit exceeded")
DISABLED = (RCPT, "550 message sending for this account is disabled")
RELAY = (RCPT, "554 5.7.1 Relay access denied")


@on_sqlite
@pytest.mark.parametrize(
    "alone",
    [
        (FROM, SEND_AS),
        (FROM, LIMIT),
        (LIMIT, FROM),
        (SEND_AS, LIMIT),
        (FROM, SEND_AS, LIMIT),
        (DISABLED, RELAY, FROM),
    ],
)
def test_several_only_recipients_who_are_refused_differently_stop_no_other_campaign(
    alone: tuple[Answer, ...], tell: Any, make: Any, statuses: Any, sessions: Any
) -> None:
    story = tell([[each] for each in alone])
    story.works.run(3)
    assert [statuses(each) for each in story.campaigns] == [{"pending": 1}] * len(alone)
    with sessions() as session:
        sender = session.get_one(Sender, story.sender_id)
        assert (sender.status, sender.error, sender.sleeps_until) == (SenderStatus.ready, None, None)
        last = session.get_one(Campaign, story.campaigns[-1])
        assert last.status is CampaignStatus.paused
    good_one = _second_campaign(story, make)
    story.works.run(3)
    assert statuses(good_one) == {"sent": 3}


@pytest.mark.parametrize("answer", LIKE_THE_ACCOUNT[:4:3])
def test_after_its_owners_proof_a_sender_begins_with_another_recipient(
    tell: Any, answer: Answer, statuses: Any
) -> None:
    """The first three are refused: two stop the sender, and each verification tries a new recipient."""
    story = tell([[answer, answer, answer, None, None, None]])
    story.run(4)
    assert statuses(story.campaigns[0])["sent"] == 3
    assert 2 <= len(story.firsts) == len(set(story.firsts))
    assert story.stops <= 3


@pytest.mark.parametrize("dead", [5, 12, 19])
def test_dead_addresses_at_the_head_of_a_list_delay_no_recipient(
    tell: Any, dead: int, statuses: Any, sessions: Any
) -> None:
    story = tell([[NO_SUCH] * dead + [None] * 30, [None] * 3])
    story.works.run(3)
    assert statuses(story.campaigns[0]) == {"sent": 30, "failed": dead}
    assert statuses(story.campaigns[1]) == {"sent": 3}
    assert max(Counter(each.recipient for each in story.server.seen).values()) == 1
    with sessions() as session:
        assert session.get_one(Sender, story.sender_id).failures == 0
        gone = session.query(Subscriber).filter_by(status=SubscriberStatus.bounced).count()
    assert gone == dead


@on_sqlite
@pytest.mark.parametrize("people", [2, 3, 9])
def test_a_few_recipients_without_a_mailbox_have_failed_soon(tell: Any, people: int, statuses: Any) -> None:
    story = tell([[NO_SUCH] * people])
    assert story.run(2)
    assert story.stops == 0
    assert statuses(story.campaigns[0]) == {"failed": people}
    assert len(story.server.seen) == people * (1 + (people >= 3))


@on_sqlite
@pytest.mark.parametrize("people", [3, 9])
def test_a_few_whom_the_server_does_not_know_for_a_moment_get_their_email(
    tell: Any, people: int, statuses: Any, sessions: Any
) -> None:
    story = tell([[None] * people])
    story.server.everybody = NO_SUCH
    story.works.run(3)
    assert statuses(story.campaigns[0]) == {"pending": people}
    story.server.everybody = None
    story.clock.forward(minutes=6)
    story.works.run(3)
    assert statuses(story.campaigns[0]) == {"sent": people}
    with sessions() as session:
        assert {row.status for row in session.query(Subscriber)} == {SubscriberStatus.active}


@on_sqlite
@pytest.mark.parametrize("people", [10, 60])
@pytest.mark.parametrize("heals", [True, False])
def test_where_no_one_has_a_mailbox_a_person_decides_once(
    tell: Any, people: int, heals: bool, statuses: Any, sessions: Any
) -> None:
    story = tell([[None] * people])
    story.server.everybody = NO_SUCH
    story.run(3, continues=False)
    assert statuses(story.campaigns[0]) == {"pending": people}
    tried = len(story.server.seen)
    assert tried == min(people, 20)
    if people > 20:  # half of them were chosen at random
        assert max(int(each.recipient[3:].split("@")[0]) for each in story.server.seen) > 20
    with sessions() as session:
        campaign = session.get_one(Campaign, story.campaigns[0])
        assert campaign.status is CampaignStatus.paused
        assert f"{tried} recipients" in translate_sentence(campaign.paused_reason)
        assert "No such user here" in translate_sentence(campaign.paused_reason)
        assert session.get_one(Sender, story.sender_id).status is SenderStatus.ready
        assert {row.status for row in session.query(Subscriber)} == {SubscriberStatus.active}
    if heals:
        story.server.everybody = None
    story.run(4)
    assert statuses(story.campaigns[0]) == {"sent" if heals else "failed": people}
    assert story.stops == 0


@on_sqlite
@pytest.mark.parametrize("answer", [*LIKE_THE_ACCOUNT[:4:3], *OTHERS[2:4]])
@pytest.mark.parametrize("people", [3, 8])
def test_what_all_recipients_are_told_fails_no_recipient(
    tell: Any, answer: Answer, people: int, statuses: Any
) -> None:
    story = tell([[None] * people])
    story.server.everybody = answer
    story.run(people + 3)
    assert statuses(story.campaigns[0]) == {"pending": people}
    assert set(story.firsts) == set(story.server.answers), "each rest begins with somebody else"
    assert all(one != other for one, other in pairwise(story.firsts))
    story.server.everybody = None
    assert story.run(4)
    assert statuses(story.campaigns[0]) == {"sent": people}


@on_sqlite
@pytest.mark.parametrize("seed", range(6))
def test_who_would_be_accepted_is_accepted(tell: Any, seed: int, statuses: Any) -> None:
    """Random replies for each recipient of one to three campaigns of a sender, most of them at the head."""
    random = Random(seed)
    kinds = random.sample(LIKE_THE_ACCOUNT + OTHERS, random.randint(1, 4))
    campaigns: list[list[Answer]] = []
    for _each in range(random.randint(1, 3)):
        people = random.randint(1, 25)
        refused = random.randint(0, people - 1)
        told: list[Answer] = [random.choice(kinds) for _one in range(refused)] + [None] * (people - refused)
        if random.random() < 0.5:
            random.shuffle(told)
        campaigns.append(told)
    story = tell(campaigns)
    assert story.run(250), "it ends"
    server = story.server
    assert set(server.got) == good(server.answers.items())
    assert set(server.got.values()) == {1}
    tries = Counter(each.recipient for each in server.seen)
    assert max(tries.values()) <= 60
    firsts = story.firsts
    again = [one for one, other in pairwise(firsts) if one == other]
    assert all(server.answers[each] is not None for each in again)
