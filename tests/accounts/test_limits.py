"""Limits of senders, and what happens when a user changes them."""

from datetime import timedelta

from mailganer.accounts import limit_sender
from mailganer.models import Account, SenderStatus
from tests.support.factories import Factory


def test_a_raised_limit_wakes_a_sender_that_rests_because_its_day_was_full(
    make: Factory, account: Account
) -> None:
    full = make.sender(account, status=SenderStatus.sleeping, sleeps_until=make.now + timedelta(hours=5))
    limit_sender(full, per_day=1000)
    assert (full.status, full.sleeps_until) == (SenderStatus.ready, None)


def test_a_raised_limit_does_not_wake_a_sender_whose_server_is_in_trouble(
    make: Factory, account: Account
) -> None:
    later = make.now + timedelta(minutes=5)
    shaken = make.sender(account, status=SenderStatus.sleeping, sleeps_until=later, failures=2)
    limit_sender(shaken, per_day=1000)
    assert (shaken.status, shaken.sleeps_until) == (SenderStatus.sleeping, later)
