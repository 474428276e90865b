from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from threading import Event
from time import sleep

import pytest

from mailganer.backends import Outcome
from mailganer.campaigns import prepare_test, update_draft
from mailganer.campaigns import test_email as trial_emails
from mailganer.campaigns.preview import sample_recipient
from mailganer.errors import BackendError, Conflict, InputError, LimitReached
from mailganer.models import Campaign
from mailganer.quota.plan_and_sender_usage import account_usage, sender_usage
from mailganer.quota.reservations import lock, reserve
from tests.faults.conftest import at
from tests.support.ports import free_port


@pytest.fixture
def trial(session, settings, registry, vault, now):
    def trial(campaign, to, **more):
        return prepare_test(
            session, campaign, to, settings=settings, registry=registry, vault=vault, now=now, **more
        ).send()

    return trial


@pytest.fixture
def server_campaign(make, account, readers, smtp_server, campaign):
    campaign.senders = [make.sender(account, smtp_server)]
    return campaign


def test_the_email_arrives_as_a_recipient_would_get_it(session, trial, server_campaign, smtp_server, now):
    update_draft(session, server_campaign, {"html": "<p>Привет, {{ first_name }}</p>"}, now)
    reader = sample_recipient(session, server_campaign)
    receipts = trial(server_campaign, ["anna@example.com"], recipient=reader)
    assert [receipt.outcome for receipt in receipts] == [Outcome.accepted]
    email = message_from_bytes(smtp_server.emails[0].content, policy=policy.default)
    assert email["To"].addresses[0].addr_spec == "anna@example.com"
    assert email["Subject"] == "News for Ольга"
    assert email["Message-ID"].endswith("@example.com>"), "localhost is no name, and Gmail would replace it"
    assert email["List-Id"].endswith(".example.com>")
    assert "Привет, Ольга" in email.get_body(("html",)).get_content()


def test_a_test_email_counts_like_any_other(session, account, trial, server_campaign, now):
    trial(server_campaign, ["anna@example.com", "boris@example.com"])
    assert sender_usage(session, server_campaign.senders[0].id, now) == 2
    trial(server_campaign, ["anna@example.com"])
    assert account_usage(session, account.id, now) == 3


def test_the_same_address_twice_gets_one(trial, server_campaign, smtp_server):
    trial(server_campaign, ["anna@example.com", "Anna@Example.com"])
    assert len(smtp_server.emails) == 1


@pytest.mark.parametrize("to", [[], ["nobody"], [f"a{n}@example.com" for n in range(11)]])
def test_wrong_addresses_are_said_and_nothing_leaves(trial, server_campaign, smtp_server, to):
    with pytest.raises(InputError):
        trial(server_campaign, to)
    assert len(smtp_server.emails) == 0


def test_a_used_up_sender_sends_no_test_either(trial, server_campaign, smtp_server):
    server_campaign.senders[0].per_day = 1
    trial(server_campaign, ["anna@example.com"])
    with pytest.raises(LimitReached) as caught:
        trial(server_campaign, ["anna@example.com"])
    assert caught.value.frees_at is not None
    assert len(smtp_server.emails) == 1


def test_without_a_sender_there_is_nothing_to_test(trial, make, account):
    with pytest.raises(Conflict):
        trial(make.campaign(account), ["anna@example.com"])


def test_a_server_that_is_not_there_says_so(trial, make, account):
    fields = {"host": "127.0.0.1", "port": free_port(), "security": "none", "username": "anna@example.com"}
    campaign = make.campaign(account, senders=(make.sender(account, settings=fields),))
    with pytest.raises(BackendError):
        trial(campaign, ["anna@example.com"])


two_writers = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def beside(sessions, server_campaign, make, settings, registry, vault, now, monkeypatch):
    """``beside(work)``: count a test email while ``work`` is not committed yet."""
    make.commit()
    counting = Event()
    at(monkeypatch, trial_emails, "_take", 1, lambda *_: counting.set())

    def prepare():
        with sessions() as session:  # it is rendered while the session has no transaction
            campaign = session.get_one(Campaign, server_campaign.id)
            to = ["anna@example.com"]
            prepared = prepare_test(
                session, campaign, to, settings=settings, registry=registry, vault=vault, now=now
            )
            session.commit()
            return prepared

    def beside(work):
        with ThreadPoolExecutor(1) as other, sessions.begin() as session:
            work(session)
            session.flush()
            trial = other.submit(prepare)
            assert counting.wait(10)
            sleep(0.5)
            session.commit()
            return trial.result(10)

    return beside


@two_writers
def test_a_test_email_and_another_senders_emails_share_what_the_plan_allows(
    make, account, beside, settings, now
):
    other = make.sender(account, from_email="boris@example.com")
    make.commit()
    allowed = settings.plans[0].per_day

    def last_emails_leave(session):
        lock(session, other.id, account.id, sender=False, plan=True)
        reserve(session, other.id, account.id, allowed, now)

    with pytest.raises(LimitReached) as caught:
        beside(last_emails_leave)
    assert caught.value.counter == "per_day"


@two_writers
def test_a_test_email_and_a_campaigns_email_of_the_same_minute_are_both_counted(
    session, account, server_campaign, beside, now
):
    sender_id = server_campaign.senders[0].id
    beside(lambda session: reserve(session, sender_id, account.id, 1, now))
    session.rollback()
    assert sender_usage(session, sender_id, now) == 2
