"""``mailganer counts``: compare the kept counts of subscribers with the subscribers, and correct them."""

import pytest
from sqlalchemy import update

from mailganer.models import Subscriber, SubscriberStatus


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_wrong_counts_are_named_and_corrected(command, session, account, make_list, make_subscriber):
    lst = make_list(account)
    make_subscriber(account, "anna@example.com", lists=(lst,))
    account_id, list_id = account.id, lst.id
    assert command("counts") == (0, "All kept counts are right (1 account).\n")
    session.execute(update(Subscriber).values(status=SubscriberStatus.bounced))
    code, output = command("counts")
    assert code == 1
    assert output.splitlines() == [
        f"Account {account_id}, all subscribers, active: 1 too many.",
        f"Account {account_id}, all subscribers, bounced: 1 too few.",
        f"Account {account_id}, list {list_id}, active: 1 too many.",
        f"Account {account_id}, list {list_id}, bounced: 1 too few.",
        "Correct them with: mailganer counts --correct",
    ]
    code, output = command("counts", "--correct")
    assert (code, output.count(", corrected.")) == (0, 4)
    assert command("counts") == (0, "All kept counts are right (1 account).\n")
