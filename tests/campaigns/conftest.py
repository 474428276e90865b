import pytest

from mailganer import accounts
from mailganer.backends import load_backends


@pytest.fixture
def registry(settings):
    return load_backends(settings.backends, settings.backend_options, accounts.network_of(settings))


@pytest.fixture
def account(make):
    return make.account("anna@example.com", timezone="Europe/Moscow")


@pytest.fixture
def readers(make, account):
    return make.list(account, "Readers")


@pytest.fixture
def campaign(make, account, readers):
    """A campaign that can be sent: a sender, a list with two subscribers, an email."""
    make.subscriber(account, "olga@example.org", (readers,), first_name="Ольга", fields={"city": "Казань"})
    make.subscriber(account, "pyotr@example.org", (readers,), first_name="")
    return make.campaign(account, (readers,), (make.sender(account),))


@pytest.fixture
def checked(session, settings, registry, now):
    """``checked(campaign)`` runs the check; returns its findings by code."""
    from mailganer.campaigns import check

    def look(campaign, **more):
        return check(session, campaign, settings=settings, registry=registry, now=now, **more)

    return look
