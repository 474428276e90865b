"""Accounts and their mail logins: sign-in, and what remains after closing an account."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from mailganer import accounts
from mailganer.backends import Network, Registry, load_backends
from mailganer.campaigns import pause
from mailganer.errors import InputError, LoginRefused, NotFound
from mailganer.models import Account, CampaignStatus, Delay, DelayCause, Identity, Sender, SenderStatus
from mailganer.quota import reservations
from mailganer.settings import Plan, Settings
from mailganer.vault import Vault

from ..support.factories import Factory
from ..support.pigeon import KEY, PigeonBackend
from ..support.smtp import SMTPServer


@pytest.fixture
def registry() -> Registry:
    return load_backends(("gmail", "smtp"), {}, Network(allow_private=True))


@pytest.fixture
def come(session: Session, registry: Registry, vault: Vault, smtp_server: SMTPServer, now: datetime) -> Any:
    def come(email: str = "anna@example.com", **values: Any) -> accounts.SignIn:
        fields = dict(smtp_server.settings) | values.pop("fields", {})
        proven = registry.open("smtp", email, fields)
        proven.verify()
        return accounts.admit(session, registry, vault, proven, now=now, **{"plan": "free", **values})

    return come


def test_the_first_sign_in_creates_an_account_in_the_users_language(come: Any) -> None:
    opened = come(locale="ru", timezone="Europe/Moscow")
    assert opened.created
    assert (opened.account.locale, opened.account.timezone) == ("ru", "Europe/Moscow")
    assert opened.sender.status is SenderStatus.ready


def test_the_same_login_comes_into_the_same_account(come: Any) -> None:
    first, second = come(), come("ANNA@Example.com", fields={"username": "anna@example.com"})
    assert not second.created
    assert second.account is first.account


def test_a_plugin_without_identities_opens_one_account_per_address(
    session: Session, vault: Vault, now: datetime
) -> None:
    registry = Registry((PigeonBackend,))

    def come(email: str, **fields: str) -> Account:
        proven = registry.open("pigeon", email, {"key": KEY} | fields)
        proven.verify()
        return accounts.admit(session, registry, vault, proven, now=now, plan="free").account

    anna = come("anna@pigeon.example")
    assert come("Anna@Pigeon.example") is anna
    assert come("boris@pigeon.example") is not anna
    assert come("anna@pigeon.example", loft="of somebody else") is not anna


def test_a_refused_password_leaves_nothing_behind(come: Any, session: Session) -> None:
    with pytest.raises(LoginRefused):
        come(fields={"password": "wrong"})
    assert session.scalars(select(Account)).all() == []


def test_two_addresses_behind_one_login_are_two_senders_of_one_account(come: Any, session: Session) -> None:
    first = come()
    second = come("news@example.com", fields={"username": "anna@example.com"})
    assert second.account is first.account
    assert [sender.from_email for sender in session.scalars(select(Sender).order_by(Sender.id))] == [
        "anna@example.com",
        "news@example.com",
    ]


def test_a_failing_sender_is_ready_again_after_signing_in(
    come: Any, smtp_server: SMTPServer, session: Session, now: datetime
) -> None:
    sender = come().sender
    accounts.mark_failing(session, sender, LoginRefused("no", "535 5.7.8 no"), now=now)
    smtp_server.passwords["anna@example.com"] = "changed"
    opened = come(fields={"password": "changed"})
    assert opened.sender is sender
    assert (sender.status, sender.error) == (SenderStatus.ready, None)
    assert opened.account.session_epoch == 1


def test_the_password_is_kept_for_the_sender_and_opens_its_mail_account(
    come: Any, registry: Registry, vault: Vault
) -> None:
    backend = accounts.sender_backend(come().sender, registry, vault)
    backend.verify()
    assert "secret" not in repr(backend.settings)


def test_a_sender_that_rests_after_errors_is_ready_when_it_is_proven(come: Any, now: datetime) -> None:
    sender = come().sender
    sender.status, sender.sleeps_until = SenderStatus.sleeping, now + timedelta(minutes=10)
    sender.failures, sender.error = 4, "The server closed the connection."
    come()
    assert (sender.status, sender.sleeps_until) == (SenderStatus.ready, None)
    assert (sender.failures, sender.error) == (0, None)


def test_a_sender_that_rests_keeps_resting_when_it_is_proven(come: Any, now: datetime) -> None:
    sender = come().sender
    sender.status, sender.sleeps_until = SenderStatus.sleeping, now + timedelta(hours=3)
    come()
    assert (sender.status, sender.sleeps_until) == (SenderStatus.sleeping, now + timedelta(hours=3))


def test_a_senders_limit_is_the_smallest_of_what_is_known(
    make: Factory, account: Account, registry: Registry
) -> None:
    gmail = make.sender(account, backend="gmail", from_email="anna@gmail.com", settings={})
    smtp = make.sender(account)
    assert accounts.day_limit(gmail, registry) == 500
    assert accounts.day_limit(smtp, registry) is None
    accounts.limit_sender(gmail, per_day=100)
    assert accounts.day_limit(gmail, registry) == 100
    gmail.learned_per_day = 80
    assert accounts.day_limit(gmail, registry) == 80
    accounts.limit_sender(gmail, per_second=2.0)
    assert gmail.per_day == 100, "what is not said stays"
    with pytest.raises(InputError):
        accounts.limit_sender(gmail, per_day=0)


def test_a_workspace_address_may_send_more(make: Factory, account: Account, registry: Registry) -> None:
    sender = make.sender(account, backend="gmail", from_email="anna@firma.example", settings={})
    assert accounts.day_limit(sender, registry) == 2000


def test_an_empty_password_keeps_the_stored_one(come: Any, registry: Registry, vault: Vault) -> None:
    sender = come().sender
    changed = accounts.changed_backend(
        sender, registry, vault, {"password": "", "username": "anna@example.com"}
    )
    changed.verify()


def test_a_token_opens_its_account_and_is_kept_as_a_digest(
    session: Session, account: Account, now: datetime
) -> None:
    token, row = accounts.create_api_token(session, account, name="CRM", now=now)
    assert token.encode() not in row.digest
    assert accounts.account_of_token(session, token, now=now) is account
    assert row.last_used_at == now
    assert accounts.account_of_token(session, token + "x", now=now) is None
    assert accounts.account_of_token(session, "", now=now) is None


def test_logging_out_everywhere_ends_tokens_too(session: Session, account: Account, now: datetime) -> None:
    token, _row = accounts.create_api_token(session, account, name="CRM", now=now)
    accounts.log_out_everywhere(session, account)
    assert accounts.account_of_token(session, token, now=now) is None
    assert list(accounts.account_tokens(session, account.id)) == []


def test_another_accounts_token_cannot_be_ended(
    session: Session, make: Factory, account: Account, now: datetime
) -> None:
    _token, row = accounts.create_api_token(session, account, name="CRM", now=now)
    with pytest.raises(NotFound):
        accounts.delete_api_token(session, make.account().id, row.id)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_token_says_what_it_is_for(session: Session, account: Account, now: datetime, name: str) -> None:
    with pytest.raises(InputError):
        accounts.create_api_token(session, account, name=name, now=now)


def test_closing_an_account_stops_everything_and_forgets_passwords(
    come: Any, session: Session, make: Factory, now: datetime
) -> None:
    opened = come()
    campaign = make.campaign(opened.account, senders=(opened.sender,), status=CampaignStatus.scheduled)
    token, _row = accounts.create_api_token(session, opened.account, name="CRM", now=now)
    accounts.close_account(session, opened.account, now=now)
    assert campaign.status is CampaignStatus.cancelled
    assert opened.sender.secrets is None
    assert session.scalars(select(Identity)).all() == []
    assert accounts.account_of_token(session, token, now=now) is None
    again = come()
    assert again.created
    assert again.account is not opened.account


def test_closing_the_account_cancels_a_campaign_as_its_user_would(
    session: Session, make: Factory, account: Account, now: datetime
) -> None:
    campaign = make.campaign(account, senders=(make.sender(account),), status=CampaignStatus.sending)
    pause(session, campaign, now)
    later = now + timedelta(hours=1)
    accounts.close_account(session, account, now=later)
    session.expire_all()
    assert (campaign.status, campaign.finished_at, campaign.updated_at) == (
        CampaignStatus.cancelled,
        later,
        later,
    )
    assert [hold.until for hold in session.scalars(select(Delay))] == [later]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_account_is_closed_while_a_lane_sends_and_neither_has_to_give_way(
    session: Session, sessions: sessionmaker[Session], make: Factory, account: Account, now: datetime
) -> None:
    sender = make.sender(account)
    make.campaign(account, senders=(sender,), status=CampaignStatus.sending)
    session.commit()

    def close() -> None:
        with sessions.begin() as other:
            accounts.close_account(other, other.get_one(Account, account.id), now=now)

    with ThreadPoolExecutor(1) as pool, sessions() as lane:
        reservations.lock(lane, sender.id, account.id, sender=True, plan=False)
        closing = pool.submit(close)
        assert not wait([closing], timeout=0.5).done, "it waits for the window that is being opened"
        reservations.lock(lane, sender.id, account.id, sender=True, plan=True)
        lane.commit()
        closing.result(timeout=20)
    session.expire_all()
    assert account.closed_at == now


def test_a_sender_that_is_refused_on_a_page_is_noted_once_as_one_that_is_refused_while_sending(
    come: Any, session: Session, now: datetime
) -> None:
    sender = come().sender
    for minutes in (0, 1):
        error = LoginRefused("no", "535 5.7.8 no")
        accounts.mark_failing(session, sender, error, now=now + timedelta(minutes=minutes))
        assert (sender.status, sender.error) == (SenderStatus.failing, "no")
    held = session.scalars(select(Delay)).one()
    assert (held.sender_id, held.cause, held.since) == (sender.id, DelayCause.failing, now)


def test_new_accounts_get_the_plan_they_are_given(come: Any, settings: Settings) -> None:
    assert settings.plans[0] == Plan("free", "Free", 200, 1000)
    assert come(plan="pro").account.plan == "pro"
