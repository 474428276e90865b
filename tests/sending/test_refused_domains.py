"""Recipients of one domain who are refused: evidence about that domain, as long as others can be tried."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from mailganer.campaigns import state_changes
from mailganer.i18n.translator import translate_sentence
from mailganer.models import Account, Campaign, CampaignStatus, Sender, SenderStatus
from tests.backends.faulty import Conversation, FaultyServer, Gone

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

LOOKUP = ("rcpt", "451 4.3.0 Temporary lookup failure")
STORAGE = ("rcpt", "452 4.3.1 Insufficient system storage")
NO_DOMAIN = ("rcpt", "450 4.1.2 Recipient address rejected: Domain not found")
RELAY = ("rcpt", "554 5.7.1 Relay access denied")
UNSOLICITED = ("rcpt", "550 5.7.1 Our system has detected that this message is likely unsolicited mail")
TOO_FAST = ("rcpt", "450 4.7.1 Too many recipient attempts, slow down")
SEND_AS = ("dot", "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException")
UNAUTHENTICATED = ("dot", "550 5.7.26 This mail has been blocked because the sender is unauthenticated")
CLOSING = ("rcpt", "421 4.7.0 Try again later")
HANGS_UP = ("rcpt", "")

Refusal = tuple[str, str]


class DomainServer(FaultyServer):
    """A server that refuses the recipients of some domains, and counts how often each address is tried."""

    def __init__(self) -> None:
        super().__init__(features=("8BITMIME",), passwords={"anna@example.com": "secret"})
        self.refused: tuple[str, ...] = ()
        self.refusal: Refusal = LOOKUP
        self.fail("dot", self._end)

    @property
    def tried(self) -> list[str]:
        """The addresses of all RCPT commands, in order."""
        with self.lock:
            lines = [line for line in self.commands if line.startswith("RCPT")]
        return [re.findall("<(.*?)>", line)[0] for line in lines]

    def reply(self, stage: str, address: str) -> str | None:
        """Return the refusal of this address at this stage; None when it is accepted."""
        is_refused = address.rpartition("@")[2] in self.refused and self.refusal[0] == stage
        return self.refusal[1] if is_refused else None

    def _end(self, conversation: Conversation) -> None:
        assert conversation.recipient is not None
        if reply := self.reply("dot", conversation.recipient):
            conversation.say(reply)
        else:
            conversation.keep()
            conversation.say("250 2.0.0 Queued")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DomainServer]:
    server = DomainServer()
    accept = Conversation.do_rcpt

    def do_rcpt(conversation: Conversation, rest: str) -> None:
        reply = server.reply("rcpt", rest.partition("<")[2].partition(">")[0])
        if reply is None:
            accept(conversation, rest)
            return
        if reply:
            conversation.say(reply)
        if reply[:3] in ("", "421"):
            raise Gone

    monkeypatch.setattr(Conversation, "do_rcpt", do_rcpt)
    yield server
    server.stop()


@pytest.fixture
def works(open_works: Callable[..., Any], clock: Any) -> Any:
    return open_works(clock)


@pytest.fixture
def begin(make: Any, server: DomainServer, clock: Any) -> Callable[..., Campaign]:
    """``begin(["gm.test"] * 12 + ["ok.test"] * 30)``: a campaign to p0@gm.test and so on, due now."""

    def begin_one(domains: Sequence[str]) -> Campaign:
        account = make.account(plan="pro")
        sender = make.sender(account, server)
        lst = make.list(account)
        for number, domain in enumerate(domains):
            make.subscriber(account, f"p{number}@{domain}", (lst,))
        campaign: Campaign = make.campaign(
            account, (lst,), (sender,), status=CampaignStatus.scheduled, send_at=clock.now
        )
        make.commit()
        return campaign

    return begin_one


def state_of(sender: Sender) -> tuple[SenderStatus, str | None, float | None, int]:
    return sender.status, sender.error, sender.slowed_to, sender.failures


UNTROUBLED = (SenderStatus.ready, None, None, 0)


@pytest.mark.parametrize(
    "refusal",
    [LOOKUP, STORAGE, NO_DOMAIN, RELAY, UNSOLICITED, TOO_FAST, SEND_AS, UNAUTHENTICATED],
)
def test_a_refused_domain_at_the_head_of_a_list_stops_no_recipient_of_another(
    refusal: Refusal, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any, clock: Any
) -> None:
    server.refusal, server.refused = refusal, ("gm.test",)
    campaign = begin(["gm.test"] * 12 + ["ok.test"] * 30)
    works.run(4)
    assert statuses(campaign.id)["sent"] == 30
    assert len(server.tried) == 42, "each once"
    assert state_of(reload(campaign.senders[0])) == UNTROUBLED
    assert reload(campaign).status is not CampaignStatus.paused
    for minutes in (6, 16, 61, 181, 1441):
        clock.forward(minutes=minutes)
        works.run(2)
        assert state_of(reload(campaign.senders[0])) == UNTROUBLED
    assert statuses(campaign.id) == {"sent": 30, "failed": 12}
    assert reload(campaign).status is CampaignStatus.finished
    assert set(server.counts.values()) == {1}


@pytest.mark.parametrize("refusal", [CLOSING, HANGS_UP])
def test_a_domain_that_closes_the_connection_rests_the_sender_twice_at_most(
    refusal: Refusal, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any, clock: Any
) -> None:
    server.refusal, server.refused = refusal, ("gm.test",)
    campaign = begin(["gm.test"] * 12 + ["ok.test"] * 30)
    for _each in range(20):  # 421 4.7.0 slows the sender down as well
        works.run(2)
        clock.forward(seconds=11)
    assert statuses(campaign.id) == {"sent": 30, "pending": 12}
    assert max(Counter(server.tried).values()) <= 3
    assert state_of(reload(campaign.senders[0]))[0] is SenderStatus.ready
    assert server.counts.total() == 30


@pytest.mark.parametrize("refusal", [LOOKUP, RELAY])
def test_a_refused_domain_at_the_end_of_a_list_does_not_stop_the_sender(
    refusal: Refusal, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any
) -> None:
    server.refusal, server.refused = refusal, ("gm.test",)
    campaign = begin(["ok.test"] * 30 + ["gm.test"] * 12)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 30, "pending": 12}
    assert state_of(reload(campaign.senders[0])) == UNTROUBLED
    assert reload(campaign).status is CampaignStatus.sending


def test_an_email_refused_by_the_last_domain_of_a_list_pauses_with_the_domains_name(
    begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any, sessions: Any, clock: Any
) -> None:
    server.refusal, server.refused = UNAUTHENTICATED, ("gm.test",)
    campaign = begin(["ok.test"] * 30 + ["gm.test"] * 12)
    works.run(4)
    assert statuses(campaign.id) == {"sent": 30, "pending": 12}
    reason = translate_sentence(reload(campaign).paused_reason)
    assert "gm.test" in reason
    assert "every recipient" not in reason
    with sessions() as session:
        state_changes.resume(session, session.get_one(Campaign, campaign.id), clock.now)
        session.commit()
    works.run(4)
    assert statuses(campaign.id)["sent"] == 30
    assert state_of(reload(campaign.senders[0])) == UNTROUBLED


@pytest.mark.parametrize("refused_first", [30, 200])
def test_most_recipients_of_a_list_at_a_refused_domain_pause_it_not_once(
    refused_first: int, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any
) -> None:
    server.refusal, server.refused = UNAUTHENTICATED, ("gm.test",)
    campaign = begin(["gm.test"] * refused_first + ["ok.test"] * 12)
    works.run(5)
    assert statuses(campaign.id) == {"sent": 12, "failed": refused_first}
    assert reload(campaign).status is CampaignStatus.finished
    assert len(server.tried) == refused_first + 12


ABOUT_US = [LOOKUP, RELAY, SEND_AS, UNSOLICITED]


@pytest.mark.parametrize("refusal", ABOUT_US)
def test_a_refused_account_stops_after_a_few_attempts_whatever_domain_is_at_the_head(
    refusal: Refusal, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any
) -> None:
    server.refusal, server.refused = refusal, ("gm.test", "ok.test", "yandex.test")
    campaign = begin(["gm.test"] * 600 + ["ok.test"] * 5 + ["yandex.test"] * 5)
    works.run(3)
    assert statuses(campaign.id) == {"pending": 610}
    assert reload(campaign.senders[0]).status is not SenderStatus.ready
    tried = server.tried
    assert len(tried) <= 6
    assert len({each.rpartition("@")[2] for each in tried}) >= 2


@pytest.mark.parametrize("refusal", ABOUT_US)
@pytest.mark.parametrize("people", [3, 25])
def test_where_all_are_of_one_domain_it_stops_the_sender(
    refusal: Refusal, people: int, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any
) -> None:
    server.refusal, server.refused = refusal, ("example.com",)
    campaign = begin(["example.com"] * people)
    works.run(3)
    assert statuses(campaign.id) == {"pending": people}
    assert reload(campaign.senders[0]).status is not SenderStatus.ready
    assert len(server.tried) <= 4


@pytest.mark.parametrize("people", [3, 25])
def test_an_email_that_the_only_domain_refuses_pauses_the_campaign(
    people: int, begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any
) -> None:
    server.refusal, server.refused = UNAUTHENTICATED, ("example.com",)
    campaign = begin(["example.com"] * people)
    works.run(3)
    assert statuses(campaign.id) == {"pending": people}
    assert reload(campaign).status is CampaignStatus.paused
    assert "example.com" in translate_sentence(reload(campaign).paused_reason)


def test_an_email_that_three_domains_refuse_pauses_the_campaign(
    begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any
) -> None:
    server.refusal, server.refused = UNAUTHENTICATED, ("gm.test", "ok.test", "yandex.test")
    campaign = begin(["gm.test"] * 60 + ["ok.test"] * 30 + ["yandex.test"] * 30)
    works.run(3)
    assert statuses(campaign.id) == {"pending": 120}
    assert reload(campaign).status is CampaignStatus.paused
    assert "every recipient" in translate_sentence(reload(campaign).paused_reason)
    assert len(server.tried) <= 14


def test_the_other_domain_is_tried_in_another_campaign(
    begin: Any, works: Any, server: DomainServer, statuses: Any, reload: Any, make: Any, clock: Any
) -> None:
    server.refusal, server.refused = RELAY, ("gm.test",)
    first = begin(["gm.test"] * 12)
    sender = first.senders[0]
    account = make.session.get_one(Account, first.account_id)
    lst = make.list(account, "Others")
    for number in range(5):
        make.subscriber(account, f"q{number}@ok.test", (lst,))
    second = make.campaign(account, (lst,), (sender,), status=CampaignStatus.scheduled, send_at=clock.now)
    make.commit()
    works.run(4)
    assert statuses(second.id) == {"sent": 5}
    assert statuses(first.id) == {"pending": 12}
    assert state_of(reload(sender)) == UNTROUBLED


def test_a_domain_that_accepts_again_is_judged_anew(
    begin: Any, works: Any, server: DomainServer, statuses: Any, sessions: Any, clock: Any
) -> None:
    server.refusal, server.refused = LOOKUP, ("gm.test",)
    campaign = begin(["gm.test"] * 4 + ["ok.test"] * 3)
    sender_id = campaign.senders[0].id
    works.run(3)
    with sessions() as session:
        [[domain, *_rest]] = session.get_one(Sender, sender_id).refusals["of_domains"]
    assert domain == "gm.test"
    server.refused = ()
    clock.forward(minutes=6)
    works.run(3)
    assert statuses(campaign.id) == {"sent": 7}
    with sessions() as session:
        assert session.get_one(Sender, sender_id).refusals is None
